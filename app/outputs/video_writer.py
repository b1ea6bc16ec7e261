"""overlay.mp4: encodes the composed pictures beside the main loop."""

from __future__ import annotations

import importlib.util
import logging
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from .files import OutputError

log = logging.getLogger(__name__)

# Pictures that may wait for the encoder (3 MB each); beyond that `write` waits, so nothing is ever lost.
WAITING_PICTURES = 4


class VideoEncoder(Protocol):
    """Turns pictures into a file, one after the other, in one thread."""

    def encode(self, image: np.ndarray, timestamp_s: float) -> None:
        """Add one picture. image: (H, W, 3) uint8 BGR. Raises OutputError."""
        ...

    def close(self) -> None:
        """Finish the file. Raises OutputError."""
        ...


class VideoWriter:
    """Hands pictures to an encoder that runs in a thread of its own; a context manager that finishes the file."""

    def __init__(self, encoder: VideoEncoder, size_px: tuple[int, int]) -> None:
        self._encoder = encoder
        self._shape = (size_px[1], size_px[0], 3)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="video")
        self._waiting: deque[Future[None]] = deque()
        self._closed = False

    def write(self, image: np.ndarray, timestamp_s: float) -> None:
        """Add one picture shown from `timestamp_s` on. image: (H, W, 3) uint8 BGR, not to be changed afterwards.

        Raises OutputError when an earlier picture could not be written.
        """
        if image.shape != self._shape or image.dtype != np.uint8:
            raise ValueError(f"image: expected {self._shape} uint8, got {image.shape} {image.dtype}")
        while len(self._waiting) >= WAITING_PICTURES or (self._waiting and self._waiting[0].done()):
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._encoder.encode, image, timestamp_s))

    @property
    def busy(self) -> bool:
        """Whether `write` would have to wait."""
        return len(self._waiting) >= WAITING_PICTURES and not self._waiting[0].done()

    def close(self) -> None:
        """Encode what waits and finish the file, also after an error; then raise the first error, if any."""
        if self._closed:
            return
        self._closed = True
        failure: OutputError | None = None
        try:
            while self._waiting:
                self._waiting.popleft().result()
        except OutputError as error:
            failure = error
            self._thread.shutdown(cancel_futures=True)
        try:
            self._thread.shutdown()
            self._encoder.close()
        except OutputError as error:
            failure = failure or error
        if failure:
            raise failure

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_video_writer(path: Path, size_px: tuple[int, int], frames_per_second: float) -> VideoWriter:
    """Open an mp4 for pictures of `size_px` (width, height), both even.

    H.264 with the given times of the pictures when PyAV is installed, and playable even after a kill; otherwise
    MPEG-4 part 2 at the constant rate `frames_per_second`.
    """
    if size_px[0] % 2 or size_px[1] % 2:
        raise ValueError(f"size_px: expected an even width and height, got {size_px}")
    return VideoWriter(_open_encoder(path, size_px, frames_per_second), size_px)


def _open_encoder(path: Path, size_px: tuple[int, int], frames_per_second: float) -> VideoEncoder:
    if importlib.util.find_spec("av") is not None:
        from .h264_encoder import H264Encoder

        return H264Encoder(path, size_px, frames_per_second)
    from .mpeg4_encoder import Mpeg4Encoder

    log.warning(
        "%s: PyAV is not installed, so the video is written as MPEG-4 part 2 (larger, and lost if the program is "
        "killed); pip install av gives H.264",
        path,
    )
    return Mpeg4Encoder(path, size_px, frames_per_second)
