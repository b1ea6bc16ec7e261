"""What a camera thread needs of whatever delivers the pictures."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Source(Protocol):
    """Frames of one camera. Used by one thread, except `interrupt`; `open` and `close` may alternate any number of
    times, and `close` also follows an `open` that failed.

    name: what messages call it.
    """

    name: str

    @property
    def skipped_frames(self) -> int:
        """Frames passed over so far because newer ones were there already."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What the source did not do as asked, in sentences."""
        ...

    def open(self) -> None:
        """Begin; raises CaptureError."""
        ...

    def grab(self) -> float:
        """Wait for the next frame and return when it was taken, in seconds of time.monotonic().

        Raises CaptureError when the source has failed or is silent for too long, SourceEnded at the end of a file.
        """
        ...

    def retrieve(self) -> np.ndarray | None:
        """The frame grabbed last: (H, W, 3) uint8 BGR, an array of its own; None when it cannot be decoded."""
        ...

    def jpeg(self) -> bytes | None:
        """The frame grabbed last as it arrived, if that was a JPEG; for recording without encoding again."""
        ...

    def interrupt(self) -> None:
        """From another thread: make a waiting `open` or `grab` come back soon, if that can be done."""
        ...

    def close(self) -> None:
        """Let go of the device, connection or file."""
        ...
