"""MPEG-4 part 2 through OpenCV, for installations without PyAV."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from .files import OutputError, free_bytes

# OpenCV says nothing when the disk is full, so the room is looked at now and then: enough left to finish the file.
CHECK_EVERY_FRAMES = 60
RESERVE_BYTES = 32_000_000


class Mpeg4Encoder:
    """Writes an mp4 of constant frame rate; it can be played only after `close`."""

    def __init__(self, path: Path, size_px: tuple[int, int], frames_per_second: float) -> None:
        self._path = path
        self.frames = 0
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), frames_per_second, size_px)
        if not self._writer.isOpened():
            raise OutputError(
                f"{path}: OpenCV cannot write a video of {size_px[0]} x {size_px[1]} there; "
                "choose another output folder, or install PyAV (pip install av)"
            )

    def encode(self, image: np.ndarray, timestamp_s: float) -> None:
        """Add one picture. image: (H, W, 3) uint8 BGR; the time is not used."""
        if self.frames % CHECK_EVERY_FRAMES == 0 and free_bytes(self._path) < RESERVE_BYTES:
            raise OutputError(
                f"{self._path}: less than {RESERVE_BYTES // 1_000_000} MB are free there, the video ends after "
                f"{self.frames} pictures. Free space or choose another output folder, then run again"
            )
        self._writer.write(image)
        self.frames += 1

    def close(self) -> None:
        """Finish the file, and look whether it can be read."""
        self._writer.release()
        check = cv2.VideoCapture(str(self._path))
        readable = check.isOpened()
        check.release()
        if self.frames and not readable:
            raise OutputError(f"{self._path}: OpenCV could not finish the video; is the disk full?")
