"""Streams from the network: MJPEG read directly, everything else (RTSP, MPEG-TS, ...) by cv2's FFmpeg."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

import cv2
import numpy as np

from .errors import CaptureError
from .mjpeg import MjpegSource, NotMultipart, without_password

OPEN_TIMEOUT_MS = 4000
READ_TIMEOUT_MS = 2000
# Frames that come at less than this part of their interval have been waiting; they are passed over for so long at most.
WAITING_INTERVALS = 0.4
CATCH_UP_S = 3.0
DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "rtmp": 1935}


class FfmpegSource:
    """A stream that FFmpeg opens by its URL. Follows `Source`; times are those of arrival."""

    def __init__(self, url: str) -> None:
        self.name = without_password(url)
        self.skipped_frames = 0
        self.notes: tuple[str, ...] = ()
        self._url = url
        self._capture = cv2.VideoCapture()
        self._grabbed_s: float | None = None

    def open(self) -> None:
        """Open the stream; raises CaptureError with what a plain connection tells, as FFmpeg gives no reason."""
        self._reach_host()
        # With several decoder threads FFmpeg holds back one frame for each.
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS]
        if not self._capture.open(self._url, cv2.CAP_FFMPEG, [*limits, cv2.CAP_PROP_N_THREADS, 1]):
            raise CaptureError(
                f"{self.name}: no video stream could be opened within {OPEN_TIMEOUT_MS / 1e3:g} s; check the path, and "
                "user and password (as rtsp://user:password@...)"
            )
        self._catch_up()

    def _catch_up(self) -> None:
        """Pass over what piled up while FFmpeg examined the stream (a second or more): it would come all at once, late
        and with wrong times."""
        rate_hz = self._capture.get(cv2.CAP_PROP_FPS)
        waited_s = WAITING_INTERVALS / (rate_hz if 1 < rate_hz < 240 else 30.0)
        deadline_s = time.monotonic() + CATCH_UP_S
        now_s = time.monotonic()
        while now_s < deadline_s:
            began_s, now_s = now_s, self._grab()
            if now_s - began_s > waited_s:
                break
            self.skipped_frames += 1
        self._grabbed_s = now_s

    def _reach_host(self) -> None:
        parts = urlsplit(self._url)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname or not port:
            return
        try:
            socket.create_connection((parts.hostname, port), timeout=3).close()
        except OSError as error:
            raise CaptureError(
                f"{self.name}: no connection to {parts.hostname}, port {port} ({error.strerror or error}); is the "
                "camera switched on and in this network?"
            ) from error

    def grab(self) -> float:
        """Wait for a frame, at most the read timeout."""
        grabbed_s, self._grabbed_s = self._grabbed_s, None
        return self._grab() if grabbed_s is None else grabbed_s

    def _grab(self) -> float:
        if not self._capture.grab():
            raise CaptureError(f"{self.name}: the stream ended or stalls (no frame for {READ_TIMEOUT_MS / 1e3:g} s)")
        return time.monotonic()

    def retrieve(self) -> np.ndarray | None:
        """The frame in BGR."""
        read, image = self._capture.retrieve()
        return image if read else None

    def jpeg(self) -> None:
        """Pictures come decoded."""

    def interrupt(self) -> None:
        """Nothing interrupts FFmpeg but its own timeouts."""

    def close(self) -> None:
        """Close the stream."""
        self._grabbed_s = None
        self._capture.release()


class HttpSource:
    """A stream behind an http address: MJPEG if that is what answers, else whatever FFmpeg makes of it."""

    def __init__(self, url: str) -> None:
        self.name = without_password(url)
        self._mjpeg = MjpegSource(url)
        self._other = FfmpegSource(url)
        self._active: MjpegSource | FfmpegSource = self._mjpeg

    @property
    def skipped_frames(self) -> int:
        """See `Source`."""
        return self._active.skipped_frames

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Source`."""
        return self._active.notes

    def open(self) -> None:
        """Ask the address what it is and open it accordingly."""
        self._active = self._mjpeg
        try:
            self._mjpeg.open()
        except NotMultipart:
            self._mjpeg.close()
            self._active = self._other
            self._other.open()

    def grab(self) -> float:
        """See `Source`."""
        return self._active.grab()

    def retrieve(self) -> np.ndarray | None:
        """See `Source`."""
        return self._active.retrieve()

    def jpeg(self) -> bytes | None:
        """See `Source`."""
        return self._active.jpeg()

    def interrupt(self) -> None:
        """See `Source`."""
        self._mjpeg.interrupt()

    def close(self) -> None:
        """See `Source`."""
        self._mjpeg.close()
        self._other.close()
