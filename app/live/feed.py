"""Where the loop gets its pairs: cameras, of which it wants the newest, or a recording, of which it wants them all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Protocol

from ..capture import StereoCapture, StereoStatus
from ..frames import FramePair
from .recorded import RecordedStreams

# A replay that is later than this is not made up for: it goes on from where it is.
MOST_BEHIND_S = 0.5


class Feed(Protocol):
    """Pairs in order of time."""

    @property
    def over(self) -> bool:
        """Whether no pair is left and none will come."""
        ...

    @property
    def on_our_clock(self) -> bool:
        """Whether timestamps are of time.monotonic(), so that latency can be told."""
        ...

    def next(self, timeout_s: float) -> FramePair | None:
        """The next pair to work on, waited for. Raises CaptureError for pictures that can never be used."""
        ...

    def status(self) -> StereoStatus | None:
        """How the cameras are doing; None without cameras."""
        ...

    def close(self) -> None:
        """Let go of the source."""
        ...


class CameraFeed:
    """The newest pair of running cameras; what nobody had time for is dropped."""

    on_our_clock = True

    def __init__(self, capture: StereoCapture) -> None:
        self.capture = capture

    @property
    def over(self) -> bool:
        """A file played in real time has ended, or the capture was closed."""
        return self.capture.over

    def next(self, timeout_s: float) -> FramePair | None:
        """See `Feed`."""
        captured = self.capture.newest(timeout_s)
        return None if captured is None else captured.pair

    def status(self) -> StereoStatus:
        """See `Feed`."""
        return self.capture.status()

    def close(self) -> None:
        """Stop the cameras."""
        self.capture.close()


class ReplayFeed:
    """Every pair of a recording, at the time it was taken or as soon as the loop has time."""

    on_our_clock = False

    def __init__(self, recording: RecordedStreams) -> None:
        self._recording = recording
        self._pairs: Iterator[FramePair] = iter(recording)
        self._ahead = next(self._pairs, None)
        self._start_s: float | None = None

    @property
    def over(self) -> bool:
        """The recording is at its end."""
        return self._ahead is None

    def next(self, timeout_s: float) -> FramePair | None:
        """See `Feed`."""
        pair = self._ahead
        if pair is None:
            return None
        now_s = time.monotonic()
        if self._start_s is None or now_s - (self._start_s + pair.timestamp_s) > MOST_BEHIND_S:
            self._start_s = now_s - pair.timestamp_s
        early_s = self._start_s + pair.timestamp_s - now_s
        if early_s > timeout_s:
            time.sleep(timeout_s)
            return None
        if early_s > 0:
            time.sleep(early_s)
        self._ahead = next(self._pairs, None)
        return pair

    def status(self) -> None:
        """There are no cameras."""

    def close(self) -> None:
        """Close the files."""
        self._recording.close()
