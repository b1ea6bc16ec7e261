"""A camera plugged into this machine, through cv2."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from .devices import device_backend, device_error, offered_text
from .errors import CaptureError
from .options import CameraOptions, size_text

# A driver's time stamp older than this, or from the future, is of another clock.
MAX_DRIVER_AGE_S = 0.5
RATE_TOLERANCE = 0.05


class DeviceSource:
    """One device. Follows `Source`.

    source: a number, or a path such as /dev/video0. cv2 gives up on a device that sends nothing after ten seconds;
    until then it cannot be interrupted.
    """

    def __init__(self, source: str, options: CameraOptions) -> None:
        self.name = f"camera {source}"
        self.skipped_frames = 0
        self.notes: tuple[str, ...] = ()
        self._source, self._options = source, options
        self._node = Path(f"/dev/video{source}" if source.isdigit() else source)
        self._capture = cv2.VideoCapture()

    def open(self) -> None:
        """Open the device and set format, size, rate and exposure, in the order drivers need."""
        target = int(self._source) if self._source.isdigit() else self._source
        # cv2 complains on standard error about devices that do not exist; the reason follows in an exception.
        if sys.platform.startswith("linux") and not self._node.exists():
            raise device_error(self._source, self._node)
        if not self._capture.open(target, device_backend()):
            raise device_error(self._source, self._node)
        # The driver's few buffers are left as they are: one alone costs every second frame, and the thread that
        # empties them at once keeps them from adding delay.
        notes = [self._set_format(), self._set_exposure()]
        self.notes = tuple(note for note in notes if note)

    def _set_format(self) -> str:
        wanted = self._options
        self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*wanted.fourcc))
        if wanted.size_px is not None:
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, wanted.size_px[0])
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, wanted.size_px[1])
        if wanted.rate_hz is not None:
            self._capture.set(cv2.CAP_PROP_FPS, wanted.rate_hz)
        self._check_delivered()
        code = int(self._capture.get(cv2.CAP_PROP_FOURCC))
        given = code.to_bytes(4, "little", signed=code < 0).decode("latin-1").strip("\0 ")
        if not given.isalnum() or given == wanted.fourcc:
            return ""
        return f"{self.name}: sends {given} and not {wanted.fourcc}, which may limit size and rate"

    def _check_delivered(self) -> None:
        wanted = self._options
        size = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        rate_hz = self._capture.get(cv2.CAP_PROP_FPS)
        if wanted.size_px is not None and size != wanted.size_px:
            raise CaptureError(
                f"{self.name}: asked for {size_text(wanted.size_px)}, delivers {size_text(size)}; choose another size"
                + offered_text(self._node),
                True,
            )
        # Many drivers do not know their rate and say 0 or -1; the measured rate tells then.
        if wanted.rate_hz is not None and rate_hz > 0 and abs(rate_hz / wanted.rate_hz - 1) > RATE_TOLERANCE:
            raise CaptureError(
                f"{self.name}: asked for {wanted.rate_hz:g} frames per second, delivers {rate_hz:g} at "
                f"{size_text(size)}; choose another rate or a smaller size" + offered_text(self._node),
                True,
            )

    def _set_exposure(self) -> str:
        if self._options.exposure_ms is None:
            return ""
        if sys.platform.startswith("linux"):
            manual, value = 1, self._options.exposure_ms * 10  # V4L2_EXPOSURE_MANUAL; units of 100 microseconds
        elif sys.platform == "win32":
            manual, value = 0, math.log2(self._options.exposure_ms / 1e3)  # DirectShow: powers of two of a second
        else:
            return f"{self.name}: the exposure cannot be set on this system"
        automatic_off = self._capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, manual)
        if not (self._capture.set(cv2.CAP_PROP_EXPOSURE, value) and automatic_off):
            return f"{self.name}: did not accept an exposure of {self._options.exposure_ms:g} ms"
        return ""

    def grab(self) -> float:
        """Wait for a frame."""
        if not self._capture.grab():
            if sys.platform.startswith("linux") and not self._node.exists():
                raise device_error(self._source, self._node)
            raise CaptureError(f"{self.name}: no frame arrives; unplugged, or too many cameras on one USB port?")
        now_s = time.monotonic()
        if not sys.platform.startswith("linux"):
            return now_s
        return driver_time_s(self._capture.get(cv2.CAP_PROP_POS_MSEC), now_s)

    def retrieve(self) -> np.ndarray | None:
        """Decode the frame."""
        try:
            read, image = self._capture.retrieve()
        except cv2.error:  # raised for some damaged frames
            return None
        return image if read else None

    def jpeg(self) -> None:
        """Pictures come decoded."""

    def interrupt(self) -> None:
        """Nothing interrupts cv2's wait for a device."""

    def close(self) -> None:
        """Give the device back."""
        self._capture.release()


def driver_time_s(stamp_ms: float, now_s: float) -> float:
    """When a frame was taken: the driver's stamp where it is of the monotonic clock, else now.

    The stamp does not depend on when the thread came to run, which on a busy machine is tens of milliseconds.
    """
    stamp_s = stamp_ms / 1e3
    return stamp_s if 0 <= now_s - stamp_s <= MAX_DRIVER_AGE_S else now_s
