"""Cameras that run free: by how much they are apart, from the motion itself, and joints brought to a common time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median

import numpy as np

from ...calibration.people import MAX_OFFSET_S, time_offset
from ...models.pose import Pose2D
from ..frames import FramePair

# The offset is looked for in so much of the past, again after every so many pairs, and not before so much was seen.
WINDOW_S = 10.0
ESTIMATE_EVERY = 30
FIRST_ESTIMATE_S = 4.0
# The answer is the median of the last estimates.
ESTIMATES = 5
# Below this a joint is not sure enough to tell anything about time.
CONFIDENT = 0.5
# Pairs this near in time are taken as they are: less than what detectors and time stamps tremble.
IN_STEP_S = 0.004
# Time stamps of network cameras tremble with the network; a pair counts as being like the last ones within this.
SKEW_TREMBLE_S = 0.012
SKEW_PAIRS = 31
# More pairs than cameras take in the greatest offset that is looked for.
REACH_PAIRS = 64
# Joints are not interpolated over longer gaps than this; after a longer one somebody else may be there.
LONGEST_GAP_S = 0.2
# An offset has to take this share off what remains of the row difference; less than for a recording that is judged
# once, as a wrong answer does little harm here and the next one follows.
MIN_GAIN = 0.08
# An offset found earlier is dropped when the views agree better by this much without it.
WORSE = 1.1


@dataclass(frozen=True, slots=True)
class _Moment:
    """Both views of one pair, rectified pixels. Times: stamps of the cameras."""

    left_s: float
    right_s: float
    left: Pose2D
    right: Pose2D


class SoftSync:
    """A `ViewAligner` that learns the constant offset between two clocks while somebody moves.

    Everything follows from the pairs alone: the same pairs give the same answers.
    """

    def __init__(self) -> None:
        self._moments: deque[_Moment] = deque()
        self._skews_s: deque[float] = deque(maxlen=SKEW_PAIRS)
        self._estimates_s: deque[float] = deque(maxlen=ESTIMATES)
        self._since_estimate = 0

    @property
    def offset_s(self) -> float | None:
        """How much later the right pictures show things than their time stamps say (left alike: negative); None while
        nothing is known, or nothing needs to be."""
        return median(self._estimates_s) if self._estimates_s else None

    def align(self, left: Pose2D, right: Pose2D, pair: FramePair) -> tuple[Pose2D, Pose2D, float]:
        """Both views at the earlier of their two times, the later one interpolated, and that time.

        left, right: body17 in rectified pixels. As they came when the cameras are in step, or the past is missing.
        """
        now = _Moment(pair.timestamp_s - pair.skew_s / 2, pair.timestamp_s + pair.skew_s / 2, left, right)
        self._remember(now)
        lag_s = self._usual_skew_s(pair.skew_s) - (self.offset_s or 0.0)
        if abs(lag_s) <= IN_STEP_S:
            return left, right, pair.timestamp_s
        moved = self._view_at(int(lag_s > 0), -abs(lag_s))
        if moved is None:
            return left, right, pair.timestamp_s
        # A right view that is later goes back to the time of the left one; else the other way round.
        return (left, moved, now.left_s) if lag_s > 0 else (moved, right, now.left_s + lag_s)

    def _usual_skew_s(self, skew_s: float) -> float:
        self._skews_s.append(skew_s)
        usual_s = median(self._skews_s)
        return usual_s if abs(skew_s - usual_s) < SKEW_TREMBLE_S else skew_s

    def _remember(self, now: _Moment) -> None:
        if self._moments and not 0 < now.left_s - self._moments[-1].left_s < WINDOW_S / 2:
            # A camera was away, or it is another recording: what was seen before belongs to another time.
            self._moments.clear()
            self._skews_s.clear()
        self._moments.append(now)
        while self._moments[0].left_s < now.left_s - WINDOW_S:
            self._moments.popleft()
        self._since_estimate += 1
        seen_s = now.left_s - self._moments[0].left_s
        if self._since_estimate >= ESTIMATE_EVERY and seen_s >= FIRST_ESTIMATE_S:
            self._since_estimate = 0
            self._estimate()

    def _view_at(self, view: int, later_s: float) -> Pose2D | None:
        """The left (0) or right (1) view, moved in time from its newest one; None when the past does not reach."""
        lately = list(self._moments)[-REACH_PAIRS:]
        poses = [(moment.left, moment.right)[view] for moment in lately]
        times_s = np.array([(moment.left_s, moment.right_s)[view] for moment in lately])
        wanted_s = times_s[-1] + later_s
        after = int(np.searchsorted(times_s, wanted_s))
        if after == 0 or times_s[after] - times_s[after - 1] > LONGEST_GAP_S:
            return None
        share = (wanted_s - times_s[after - 1]) / (times_s[after] - times_s[after - 1])
        before, behind = poses[after - 1], poses[after]
        points_px = (1 - share) * before.points_px + share * behind.points_px
        known = np.isfinite(points_px).all(axis=1)
        confidence = np.where(known, np.minimum(before.confidence, behind.confidence), 0.0)
        return Pose2D(np.where(confidence[:, None] > 0, points_px, np.nan), confidence, before.skeleton)

    def _estimate(self) -> None:
        left_s = np.array([moment.left_s for moment in self._moments])
        right_s = np.array([moment.right_s for moment in self._moments])
        left_px = np.stack([_sure_px(moment.left) for moment in self._moments])
        right_px = _resampled(right_s, np.stack([_sure_px(moment.right) for moment in self._moments]), left_s)
        # What a joint shows all the time is the calibration, or the detector; only the rest has to do with time.
        right_px[..., 1] += _steady_px(left_px[..., 1] - right_px[..., 1])
        offset_s, _ = time_offset(left_s, np.stack([left_px, right_px], axis=1), MIN_GAIN)
        if offset_s is not None and abs(offset_s) <= MAX_OFFSET_S:
            self._estimates_s.append(offset_s)
        elif self.offset_s is not None and self._is_outdated(self.offset_s, left_s, left_px, right_px):
            self._estimates_s.clear()

    def _is_outdated(self, offset_s: float, left_s: np.ndarray, left_px: np.ndarray, right_px: np.ndarray) -> bool:
        """Whether the views agree better without the offset than with it."""
        moved_px = _resampled(left_s, right_px, left_s + offset_s)
        without_px, with_px = (left_px[..., 1] - each[..., 1] for each in (right_px, moved_px))
        both = np.isfinite(without_px) & np.isfinite(with_px)
        return bool(both.any()) and float(np.std(with_px[both])) > WORSE * float(np.std(without_px[both]))


def _sure_px(pose: Pose2D) -> np.ndarray:
    """(J, 2), NaN where the detector is not sure."""
    return np.where(pose.confidence[:, None] > CONFIDENT, pose.points_px, np.nan)


def _steady_px(rows_px: np.ndarray) -> np.ndarray:
    """Median over time of each joint, 0 where there is none. (T, J) -> (J,)."""
    seen = np.isfinite(rows_px).any(axis=0)
    steady_px = np.zeros(rows_px.shape[1])
    steady_px[seen] = np.nanmedian(rows_px[:, seen], axis=0)
    return steady_px


def _resampled(times_s: np.ndarray, points_px: np.ndarray, wanted_s: np.ndarray) -> np.ndarray:
    """Tracks (T, J, 2) at other times, interpolated; NaN over gaps and beyond the ends."""
    if len(times_s) == len(wanted_s) and np.array_equal(times_s, wanted_s):
        return points_px.copy()
    after = np.clip(np.searchsorted(times_s, wanted_s), 1, len(times_s) - 1)
    before_s, step_s = times_s[after - 1], times_s[after] - times_s[after - 1]
    share = (wanted_s - before_s) / step_s
    # Stamps that tremble put the ends a little outside.
    known = (share > -0.5) & (share < 1.5) & (step_s < LONGEST_GAP_S)
    share = share[:, None, None]
    return np.where(known[:, None, None], (1 - share) * points_px[after - 1] + share * points_px[after], np.nan)
