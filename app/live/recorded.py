"""A recording of live streams as a source of pairs: the same pairs, whoever reads it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np

from ...calibration.toml_file import read_toml
from ..capture import CapturedFrame
from ..capture.pairing import PairMatcher
from ..frames import FramePair
from .raw_streams import FORMAT, MANIFEST, SIDE_BY_SIDE, TWO_CAMERAS, RecordingError, StoredFrame, StreamFile

_NO_PICTURE = np.empty((0, 0, 3), np.uint8)
_Moment = tuple[StoredFrame, ...]  # one frame of each stream


class RecordedStreams:
    """Pairs of a folder that `--record` has written; follows `processing.PairSource`. Use as a context manager.

    Frames are paired by their times with the rule of the live capture, but nothing is dropped: every reader gets the
    same pairs.
    """

    def __init__(self, folder: Path) -> None:
        """Raises RecordingError when the folder holds no recording that can be read."""
        manifest = read_toml(folder / MANIFEST, RecordingError, "a folder written by `binopose live --record`")
        if manifest.get("format") != FORMAT or not isinstance(manifest.get("side_by_side"), bool):
            raise RecordingError(
                f"{folder / MANIFEST}: expected format = {FORMAT} and side_by_side, found {manifest}; "
                "was it recorded by a newer program?"
            )
        self._folder = folder
        names = SIDE_BY_SIDE if manifest["side_by_side"] else TWO_CAMERAS
        self._files: list[StreamFile] = []
        try:
            for name in names:
                self._files.append(StreamFile(folder, name))
            self._moments = _pair(self._files) if len(names) == 2 else [(frame,) for frame in self._files[0].frames]
            if not self._moments:
                raise RecordingError(f"{folder}: no two pictures of the same time were recorded")
            self._shapes = [file.picture(file.frames[0]).shape for file in self._files]
            if len(names) == 1 and self._shapes[0][1] % 2:
                raise RecordingError(f"{self._files[0].path}: a side-by-side picture has an even width")
        except RecordingError:
            self.close()
            raise
        self.frames: int | None = len(self._moments)
        self.frames_per_second = min(file.rate_hz for file in self._files)
        self.warnings: list[str] = []
        self.incomplete = False
        self.read_ms = 0.0

    @property
    def sizes_px(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(width, height) of the left and the right view."""
        if len(self._shapes) == 1:
            height, width, _ = self._shapes[0]
            return (width // 2, height), (width // 2, height)
        left, right = ((shape[1], shape[0]) for shape in self._shapes)
        return left, right

    def __iter__(self) -> Iterator[FramePair]:
        damaged = 0
        with ThreadPoolExecutor(max_workers=len(self._files), thread_name_prefix="decode") as pool:
            ahead = self._decode(pool, self._moments[0])
            for number, moment in enumerate(self._moments):
                began_s = time.perf_counter()
                pictures = [self._result(future) for future in ahead]
                self.read_ms = (time.perf_counter() - began_s) * 1e3
                if number + 1 < len(self._moments):
                    ahead = self._decode(pool, self._moments[number + 1])
                if any(picture is None for picture in pictures):
                    damaged += 1
                    continue
                yield _frame_pair(pictures, moment, number)
        if damaged:
            self.incomplete = True
            self.warnings.append(f"{self._folder}: {damaged} of {self.frames} pairs are damaged and were left out")

    def _decode(self, pool: ThreadPoolExecutor, moment: _Moment) -> list[Future[np.ndarray]]:
        return [pool.submit(file.picture, frame) for file, frame in zip(self._files, moment, strict=True)]

    @staticmethod
    def _result(future: Future[np.ndarray]) -> np.ndarray | None:
        try:
            return future.result()
        except RecordingError:
            return None

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _frame_pair(pictures: list[np.ndarray | None], moment: _Moment, number: int) -> FramePair:
    images = [picture for picture in pictures if picture is not None]
    if len(images) == 1:
        half = images[0].shape[1] // 2
        left, right = (np.ascontiguousarray(part) for part in (images[0][:, :half], images[0][:, half:]))
        return FramePair(left, right, moment[0].timestamp_s, number)
    left_s, right_s = (frame.timestamp_s for frame in moment)
    return FramePair(images[0], images[1], (left_s + right_s) / 2, number, right_s - left_s)


def _pair(files: list[StreamFile]) -> list[_Moment]:
    """Frames of two streams that belong together."""
    matcher = PairMatcher()
    arrivals = sorted(
        (frame.timestamp_s, side, place) for side, file in enumerate(files) for place, frame in enumerate(file.frames)
    )
    moments: list[_Moment] = []
    for timestamp_s, side, place in arrivals:
        for left, right in matcher.add(side, CapturedFrame(_NO_PICTURE, timestamp_s, place)):
            moments.append((files[0].frames[left.number], files[1].frames[right.number]))
    return moments
