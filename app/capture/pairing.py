"""Which frames of two free-running cameras belong together: by time, nothing else."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median

from .camera import CapturedFrame

INTERVALS = 31
# A camera counts as the slower one when its intervals are longer by this factor: equal cameras never change places.
CLEARLY_SLOWER = 1.1
# Half an interval of the slower camera is the most a nearest partner can be off; the rest is room for jitter.
TOLERATED_INTERVALS = 0.65
# As long as the rates are unknown.
TOLERATED_AT_FIRST_S = 0.05
INTERVAL_AT_FIRST_S = 0.1
# Frames kept for a partner that may still come.
KEPT_S = 0.5
KEPT_FRAMES = 32


@dataclass(slots=True)
class _View:
    """Frames of one camera that have no partner yet, oldest first."""

    waiting: deque[CapturedFrame]
    intervals_s: deque[float]
    last_s: float | None = None
    received: int = 0
    paired: int = 0

    def interval_s(self) -> float | None:
        return median(self.intervals_s) if len(self.intervals_s) >= 3 else None


class PairMatcher:
    """Pairs frames of the left (0) and the right (1) camera as they come.

    Each frame of the slower camera gets the nearest frame of the other, at once when no nearer one can follow and else
    with the next frame. No frame is used twice and pairs are in order of time. Threads: the caller's care.
    """

    def __init__(self) -> None:
        self._views = tuple(_View(deque(maxlen=KEPT_FRAMES), deque(maxlen=INTERVALS)) for _ in range(2))
        self._slower = 0

    def add(self, side: int, frame: CapturedFrame) -> list[tuple[CapturedFrame, CapturedFrame]]:
        """Take a frame; the (left, right) pairs that are certain now, oldest first."""
        view = self._views[side]
        view.received += 1
        if view.last_s is not None:
            if frame.timestamp_s <= view.last_s:  # a clock that steps back would put pairs out of order
                return []
            view.intervals_s.append(frame.timestamp_s - view.last_s)
        view.last_s = frame.timestamp_s
        view.waiting.append(frame)
        while view.waiting[0].timestamp_s < frame.timestamp_s - KEPT_S:
            view.waiting.popleft()
        self._choose_slower()
        pairs = []
        while (pair := self._next_pair()) is not None:
            pairs.append(pair)
        return pairs

    def unpaired(self) -> tuple[int, int]:
        """Frames of each camera without a partner, those still waiting for one left out."""
        left, right = (view.received - view.paired - len(view.waiting) for view in self._views)
        return left, right

    def _choose_slower(self) -> None:
        slow, fast = (self._views[k].interval_s() for k in (self._slower, 1 - self._slower))
        if slow is not None and fast is not None and fast > slow * CLEARLY_SLOWER:
            self._slower = 1 - self._slower

    def _next_pair(self) -> tuple[CapturedFrame, CapturedFrame] | None:
        """The next pair that is certain; gives up frames on the way for which no partner can come any more."""
        slow, fast = self._views[self._slower], self._views[1 - self._slower]
        slow_interval_s, fast_interval_s = slow.interval_s(), fast.interval_s()
        tolerated_s = slow_interval_s * TOLERATED_INTERVALS if slow_interval_s else TOLERATED_AT_FIRST_S
        patience_s = tolerated_s + (fast_interval_s or INTERVAL_AT_FIRST_S)
        while slow.waiting:
            frame = slow.waiting[0]
            before = [other for other in fast.waiting if other.timestamp_s <= frame.timestamp_s][-1:]
            after = [other for other in fast.waiting if other.timestamp_s > frame.timestamp_s][:1]
            since_s = frame.timestamp_s - before[0].timestamp_s if before else float("inf")
            certain = bool(after) or (fast_interval_s is not None and since_s <= fast_interval_s / 2)
            if not certain and self._newest_s() <= frame.timestamp_s + patience_s:
                return None
            slow.waiting.popleft()
            nearest = min(before + after, key=lambda other: abs(other.timestamp_s - frame.timestamp_s), default=None)
            if nearest is None or abs(nearest.timestamp_s - frame.timestamp_s) > tolerated_s:
                continue
            while fast.waiting[0].timestamp_s < nearest.timestamp_s:
                fast.waiting.popleft()
            fast.waiting.popleft()
            slow.paired += 1
            fast.paired += 1
            return (nearest, frame) if self._slower else (frame, nearest)
        return None

    def _newest_s(self) -> float:
        return max(view.last_s for view in self._views if view.last_s is not None)
