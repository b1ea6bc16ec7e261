"""Recorded stereo video: two files, or one with both views side by side, as pairs of frames."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from ..calibration.errors import UserError
from .frames import FramePair

QUEUE_FRAMES = 4
# Rates closer than this are the same rate, and frames are paired by number.
SAME_RATE = 0.005


class VideoFileError(UserError):
    """A video that cannot be read."""


class VideoFile:
    """One video, decoded ahead in a thread of its own.

    Frames come as (picture, timestamp_s) with the first at 0 s; rotation tags of telephones are applied.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise VideoFileError(f"{path}: no such file; expected a video")
        self.path = path
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        first_read, first = self._capture.read() if self._capture.isOpened() else (False, None)
        if not first_read or first is None:
            self._capture.release()
            raise VideoFileError(
                f"{path}: cannot be read as a video ({path.stat().st_size} bytes): cut off, or no video at all"
            )
        self._first = first
        self.size_px: tuple[int, int] = (first.shape[1], first.shape[0])
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.frames_per_second: float = rate if 0.5 < rate < 2000 else 30.0
        self.frames_announced = max(int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        self.frames_read = 0
        self.complaint = ""
        self._queue: queue.Queue[tuple[np.ndarray, float, float] | None] = queue.Queue(QUEUE_FRAMES)
        self._stop = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._decode, name=f"decode {path.name}", daemon=True)
        self._thread.start()

    def _decode(self) -> None:
        try:
            self._decode_all()
        except cv2.error as error:
            self.complaint = f"decoding stopped at frame {self.frames_read}: {error.err}"
        finally:
            self._put(None)  # whatever happens, nobody waits for a frame that never comes

    def _decode_all(self) -> None:
        start_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
        last_s, image, began_s = -1.0, self._first, time.perf_counter()
        while not self._stop.is_set():
            stamp_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3 - start_s
            # Some files carry no usable time stamps; the nominal rate then has to do.
            if stamp_s <= last_s:
                stamp_s = last_s + 1 / self.frames_per_second if last_s >= 0 else 0.0
            last_s = stamp_s
            if image.shape[:2] != self._first.shape[:2]:
                self.complaint = f"the picture size changes at frame {self.frames_read}"
                break
            self.frames_read += 1
            self._put((image, stamp_s, (time.perf_counter() - began_s) * 1e3))
            began_s = time.perf_counter()
            read, image = self._capture.read()
            if not read or image is None:
                break

    def _put(self, item: tuple[np.ndarray, float, float] | None) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def next(self) -> tuple[np.ndarray, float, float] | None:
        """The next frame: picture, timestamp_s, milliseconds it took to decode; None at the end and once closed."""
        while not (self._stop.is_set() or self._ended):
            try:
                item = self._queue.get(timeout=0.1)
            except queue.Empty:
                continue
            self._ended = item is None
            return item
        return None

    @property
    def missing_frames(self) -> int:
        """After the end: frames that the header announces and the file does not have (0 within its rounding)."""
        missing = self.frames_announced - self.frames_read
        return missing if missing > max(2, 0.01 * self.frames_announced) else 0

    def close(self) -> None:
        """Stop decoding and let go of the file."""
        self._stop.set()
        self._thread.join()
        self._capture.release()


class StereoRecording:
    """Pairs of frames from two videos, or from one that holds both views side by side (`right` None).

    Views of the same rate are paired by number; else every frame of the slower one gets the nearest in time of the
    faster one. Use as a context manager; iterate once. `warnings` grows while reading; `incomplete` tells after the
    end whether a file broke off early. `read_ms` is what decoding the last pair took.
    """

    def __init__(self, left: Path, right: Path | None) -> None:
        self.warnings: list[str] = []
        self.incomplete = False
        self.read_ms = 0.0
        self._files = [VideoFile(left)]
        if right is not None:
            try:
                self._files.append(VideoFile(right))
            except VideoFileError:
                self._files[0].close()
                raise
        rates = [file.frames_per_second for file in self._files]
        self.frames_per_second = min(rates)
        self._by_time = max(rates) / min(rates) > 1 + SAME_RATE
        lengths = [file.frames_announced for file in self._files]
        drift_frames = (max(rates) / min(rates) - 1) * max(lengths)
        if not self._by_time and drift_frames > 0.5:
            # 29.97 and 30: one clock written down in two ways if there are as many frames, else two clocks.
            self._by_time = abs(lengths[0] - lengths[-1]) > 2
            if not self._by_time:
                self.warnings.append(
                    f"the views state {rates[0]:.5g} and {rates[-1]:.5g} frames per second but have as many frames: "
                    "paired by number"
                )
        if self._by_time:
            self.warnings.append(
                f"the views have {rates[0]:.5g} and {rates[1]:.5g} frames per second: paired by time stamp; "
                "without a common clock the views may be up to half a frame apart"
            )
        announced = [int(file.frames_announced * min(rates) / file.frames_per_second) for file in self._files]
        self.frames: int | None = min(announced) or None
        if len(announced) == 2 and abs(announced[0] - announced[1]) > max(2, 0.01 * max(announced)):
            self.warnings.append(
                f"the views differ in length ({announced[0]} and {announced[1]} frames): the shorter one counts; "
                "if they did not start together, cut them to a common start"
            )
        if right is None and self._files[0].size_px[0] % 2:
            self.close()
            raise VideoFileError(
                f"{left}: {self._files[0].size_px[0]} pixels wide; a side-by-side picture has an even width"
            )

    @property
    def sizes_px(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(width, height) of the left and the right view."""
        if len(self._files) == 1:
            width, height = self._files[0].size_px
            return (width // 2, height), (width // 2, height)
        return self._files[0].size_px, self._files[1].size_px

    def __iter__(self) -> Iterator[FramePair]:
        pairs = self._single() if len(self._files) == 1 else self._timed() if self._by_time else self._numbered()
        for index, (left, right, timestamp_s) in enumerate(pairs):
            yield FramePair(left, right, timestamp_s, index)
        self._conclude()

    def _single(self) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
        while (frame := self._files[0].next()) is not None:
            image, timestamp_s, self.read_ms = frame
            half = image.shape[1] // 2
            yield np.ascontiguousarray(image[:, :half]), np.ascontiguousarray(image[:, half:]), timestamp_s

    def _numbered(self) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
        while (left := self._files[0].next()) is not None and (right := self._files[1].next()) is not None:
            self.read_ms = left[2] + right[2]
            yield left[0], right[0], left[1]

    def _timed(self) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
        slow = int(self._files[1].frames_per_second < self._files[0].frames_per_second)
        ahead = self._files[1 - slow].next()
        nearest = ahead
        while (frame := self._files[slow].next()) is not None and nearest is not None:
            while ahead is not None and abs(ahead[1] - frame[1]) <= abs(nearest[1] - frame[1]):
                nearest, ahead = ahead, self._files[1 - slow].next()
            if ahead is None and frame[1] - nearest[1] > 1 / self.frames_per_second:
                return
            self.read_ms = frame[2] + nearest[2]
            both = (nearest[0], frame[0]) if slow else (frame[0], nearest[0])
            yield both[0], both[1], frame[1]

    def _conclude(self) -> None:
        for file in self._files:
            if file.complaint:
                self.incomplete = True
                self.warnings.append(f"{file.path}: {file.complaint}; what came before was used")
            # Only the file that ended the loop is known to have ended; the other may have frames left.
            elif file.next() is None and file.missing_frames:
                self.incomplete = True
                self.warnings.append(
                    f"{file.path}: breaks off after {file.frames_read} of {file.frames_announced} frames; "
                    "what could be read was used"
                )

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
