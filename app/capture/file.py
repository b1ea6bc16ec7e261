"""A video file played in real time, as if it were a camera."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import cv2
import numpy as np

from .errors import CaptureError, SourceEnded

# Frames later than this are passed over; a short hiccup of the machine is made up for without losing any.
MAX_LATE_S = 0.15
# After so many frames passed over in a row one is shown, however late: a machine too slow for the file shows it still.
MAX_SKIPPED_IN_A_ROW = 10


def open_video(path: Path) -> cv2.VideoCapture:
    """The file opened by FFmpeg; raises CaptureError when it is missing or no video."""
    if not path.is_file():
        raise CaptureError(
            f"{path}: no such file; expected a video, a device such as 0, or an address (rtsp://, http://)", True
        )
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise CaptureError(
            f"{path}: cannot be opened as a video ({path.stat().st_size} bytes): cut off, or no video at all", True
        )
    return capture


def duration_s(path: Path) -> float | None:
    """How long a video lasts by its header; None when the header does not say. Raises CaptureError."""
    capture = open_video(path)
    frames, rate_hz = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return frames / rate_hz if frames > 0 and 0.5 < rate_hz < 2000 else None


class FileSource:
    """One video file, each frame at the time its stamp says. Follows `Source`.

    start_s: time.monotonic() of the first frame, None for when it is opened; period_s: begin again after so long, None
    plays once. Two files given the same two numbers stay in step, round after round.
    """

    def __init__(self, path: Path, start_s: float | None = None, period_s: float | None = None) -> None:
        self.name = str(path)
        self.skipped_frames = 0
        self.notes: tuple[str, ...] = ()
        self._path, self._round_start_s, self._period_s = path, start_s, period_s
        self._stop = threading.Event()
        self._capture: cv2.VideoCapture | None = None
        self._frames = 0
        self._rewind()

    def _rewind(self) -> None:
        # Opened anew and not sought: seeking lands on another frame in many files.
        self.close()
        capture = open_video(self._path)
        rate_hz = capture.get(cv2.CAP_PROP_FPS)
        self._interval_s = 1 / rate_hz if 0.5 < rate_hz < 2000 else 1 / 30
        self._first_s: float | None = None
        self._position_s = -self._interval_s
        self._capture = capture

    def open(self) -> None:
        """Start the clock, unless it was given."""
        if self._round_start_s is None:
            self._round_start_s = time.monotonic()

    def grab(self) -> float:
        """Wait until the next frame is due; frames that are much too late are skipped."""
        due_s = self._advance()
        for _ in range(MAX_SKIPPED_IN_A_ROW):
            if time.monotonic() - due_s <= MAX_LATE_S:
                break
            self.skipped_frames += 1
            due_s = self._advance()
        early_s = due_s - time.monotonic()
        if early_s > 0 and self._stop.wait(early_s):
            raise CaptureError(f"{self.name}: closed")
        return due_s

    def _advance(self) -> float:
        """Read the next frame, of the next round if need be, and say when it is due."""
        if not self._next_of_round():
            if self._period_s is None:
                raise SourceEnded(f"{self.name}: played to its end ({self._frames} frames)")
            self._rewind()
            assert self._round_start_s is not None
            self._round_start_s += self._period_s
            if not self._next_of_round():
                raise CaptureError(f"{self.name}: no frame can be read; the file is damaged", True)
        assert self._round_start_s is not None
        return self._round_start_s + self._position_s

    def _next_of_round(self) -> bool:
        if self._capture is None or not self._capture.grab():
            return False
        stamp_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
        if self._first_s is None:
            self._first_s = stamp_s
        # Some files carry no usable time stamps; the nominal rate then has to do.
        expected_s = self._position_s + self._interval_s
        position_s = stamp_s - self._first_s
        self._position_s = position_s if position_s > self._position_s else expected_s
        self._frames += 1
        return self._period_s is None or self._position_s < self._period_s - self._interval_s / 4

    def retrieve(self) -> np.ndarray | None:
        """The frame in BGR, turned as the file's rotation tag says."""
        assert self._capture is not None
        read, image = self._capture.retrieve()
        return image if read else None

    def jpeg(self) -> None:
        """Pictures come decoded."""

    def interrupt(self) -> None:
        """End a waiting `grab`."""
        self._stop.set()

    def close(self) -> None:
        """Let go of the file."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None
