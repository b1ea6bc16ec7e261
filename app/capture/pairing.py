"""Which frames of two free-running cameras belong together: by time, nothing else."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median

from .camera import CapturedFrame

INTERVALS = 31
# A camera counts as the slower one when its intervals are longer by this factor: equal cameras never change places.
CLEARLY_SLOWER = 1.1
# How far apart partners may be, in intervals of the slower and of the faster camera (the larger counts): half an
# interval is the most the nearest frame can be off; of equal cameras half out of step the jitter comes on top.
TOLERATED_SLOW, TOLERATED_FAST = 0.5, 0.75
TOLERATED_AT_FIRST_S = 0.05  # as long as the rates are unknown
# Equal cameras keep the order they have found (left first or right first) until the other order is nearer by more than
# jitter: mean skew of the last pairs, in intervals.
TURN_OVER = 0.55
TURN_PAIRS = 10
# Frames are kept so long for a partner that is still being decoded.
KEPT_S = 0.25
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
        self._late_by_s: deque[float] = deque(maxlen=TURN_PAIRS)  # the faster camera's frame after the slower one's

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
            self._late_by_s.clear()

    def _next_pair(self) -> tuple[CapturedFrame, CapturedFrame] | None:
        """The next pair that is certain; gives up frames on the way for which no partner can come any more."""
        slow, fast = self._views[self._slower], self._views[1 - self._slower]
        slow_interval_s, fast_interval_s = slow.interval_s(), fast.interval_s()
        tolerated_s = TOLERATED_AT_FIRST_S
        if slow_interval_s is not None and fast_interval_s is not None:
            tolerated_s = max(TOLERATED_SLOW * slow_interval_s, TOLERATED_FAST * fast_interval_s)
        while slow.waiting:
            frame = slow.waiting[0]
            before = [other for other in fast.waiting if other.timestamp_s <= frame.timestamp_s][-1:]
            after = [other for other in fast.waiting if other.timestamp_s > frame.timestamp_s][:1]
            since_s = frame.timestamp_s - before[0].timestamp_s if before else float("inf")
            certain = bool(after) or (fast_interval_s is not None and since_s <= fast_interval_s / 2)
            if not certain and self._newest_s() <= frame.timestamp_s + KEPT_S:
                return None
            slow.waiting.popleft()
            if self._better_turned_over(slow_interval_s):
                self._late_by_s.clear()
                continue
            nearest = min(before + after, key=lambda other: abs(other.timestamp_s - frame.timestamp_s), default=None)
            if nearest is None or abs(nearest.timestamp_s - frame.timestamp_s) > tolerated_s:
                continue
            while fast.waiting[0].timestamp_s < nearest.timestamp_s:
                fast.waiting.popleft()
            fast.waiting.popleft()
            self._late_by_s.append(nearest.timestamp_s - frame.timestamp_s)
            slow.paired += 1
            fast.paired += 1
            return (nearest, frame) if self._slower else (frame, nearest)
        return None

    def _better_turned_over(self, interval_s: float | None) -> bool:
        """Whether leaving out one frame of the slower camera brings all later pairs nearer together."""
        if interval_s is None or len(self._late_by_s) < TURN_PAIRS:
            return False
        return sum(self._late_by_s) / TURN_PAIRS > TURN_OVER * interval_s

    def _newest_s(self) -> float:
        return max(view.last_s for view in self._views if view.last_s is not None)
