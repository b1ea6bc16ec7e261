"""Smooths the joints of a whole recording without lag, leaves out spikes, and closes short gaps.

A Butterworth low-pass run forward and backward: the phase of the second pass undoes that of the first. The order is
that of both passes together, and the cut-off the frequency at which both together pass 1 / sqrt(2) (each alone has to
be designed for a higher one; Winter, "Biomechanics and Motor Control of Human Movement", chapter on kinematics). A
linear filter smears gross errors over their neighbours, so these are taken out, the worst ones first, and the rest is
smoothed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

PASS_ORDER = 2
# Of the largest cut-off that a frame rate allows, half of it, this share is of use.
USABLE_CUTOFF = 0.8
# A joint is a spike when it is further than SPIKE_M from its smoothed course, SPIKE_FACTOR times the median of the
# frames up to SPIKE_AROUND_S before and after, and nearly the furthest of those that its own pull may have spoilt.
# Tried on motion capture with drifting noise and errors of 0.2 m in 1 % of the joints, 1 to 3 frames long: at 60
# frames/s 94 % of these are found and the mean error is 29.8 mm (29.7 without such errors, 32.7 with them and no
# search), at 30 frames/s 61 % and 32.6 mm (30.6, 34.0); without noise 2 joints in 10,000 are taken out.
SPIKE_M, SPIKE_FACTOR, SPIKE_AROUND_S = 0.04, 4.0, 0.3
SPIKE_REACH_S, NEARLY = 0.1, 0.7
# Each round takes out the worst; what they had pulled along then shows.
SPIKE_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Smoothed:
    """A smoothed recording.

    points_m: (N, J, 3), NaN where a joint has no place; filled: (N, J) joints whose place comes from the frames around,
    because they had none or (`spikes`) an impossible one; rate_hz: the frame
    rate it was smoothed at; cutoff_hz: None when the frames are too far apart for the cut-off asked for, and gaps were
    closed only.
    """

    points_m: np.ndarray
    filled: np.ndarray
    spikes: np.ndarray
    rate_hz: float
    cutoff_hz: float | None


def smooth(
    points_m: np.ndarray,
    time_s: np.ndarray,
    cutoff_hz: float,
    longest_gap_s: float = 0.2,
    starts: np.ndarray | None = None,
) -> Smoothed:
    """Smooth every joint over time, without its spikes; close gaps in which it is missing for up to `longest_gap_s`.

    points_m: (N, J, 3), NaN where unknown; time_s: (N,), any steps: the motion is resampled to the median step and
    back; starts: (N,) true where something new starts that has nothing to do with what came before (another person).
    A time that does not increase starts anew too. Nothing is filled before the first or after the last known place.
    """
    if not cutoff_hz > 0:
        raise ValueError(f"cutoff_hz: expected a positive number, got {cutoff_hz}")
    points_m = np.array(points_m, dtype=np.float64)
    known = np.isfinite(points_m.sum(axis=2))
    steps_s = np.diff(time_s)
    forward = steps_s > 0
    step_s = float(np.median(steps_s[forward])) if forward.any() else 1.0
    usable = cutoff_hz <= USABLE_CUTOFF / (2 * step_s)
    first = np.concatenate([[True], ~forward])[: len(time_s)]
    first |= starts if starts is not None else False
    result_m, spikes = np.full(points_m.shape, np.nan), np.zeros(known.shape, dtype=bool)
    for begin, end in _stretches(np.flatnonzero(first), len(time_s)):
        for joint in range(points_m.shape[1]):
            frames = begin + np.flatnonzero(known[begin:end, joint])
            longer = np.diff(time_s[frames]) > longest_gap_s + 1.01 * step_s
            for a, b in _stretches(np.concatenate([[0], 1 + np.flatnonzero(longer)]), len(frames)):
                run, inside = frames[a:b], slice(frames[a], frames[b - 1] + 1)
                course = _Course(points_m[run, joint], time_s[run], step_s, cutoff_hz if usable else None)
                result_m[inside, joint] = course.at(time_s[inside])
                spikes[run, joint] = course.spikes
    filled = np.isfinite(result_m[..., 0]) & (~known | spikes)
    return Smoothed(result_m, filled, spikes, 1 / step_s, cutoff_hz if usable else None)


def _stretches(firsts: np.ndarray, end: int) -> list[tuple[int, int]]:
    """Begin and end of what starts at each of `firsts`, without empty ones."""
    return [(begin, stop) for begin, stop in pairwise([*firsts.tolist(), end]) if begin < stop]


class _Course:
    """One joint without long gaps, smoothed. spikes: (K,) which of its points were left out."""

    def __init__(self, points_m: np.ndarray, time_s: np.ndarray, step_s: float, cutoff_hz: float | None) -> None:
        """points_m: (K, 3) at time_s: (K,); cutoff_hz: None closes gaps and does nothing else."""
        self._points_m, self._time_s, self._step_s, self._cutoff_hz = points_m, time_s, step_s, cutoff_hz
        self.spikes = np.zeros(len(points_m), dtype=bool)
        for _ in range(SPIKE_ROUNDS if cutoff_hz is not None else 0):
            found = self._apart()
            if not found.any():
                break
            self.spikes |= found
        # What is apart for longer is no spike but a course of its own, and nobody knows which of the two is right.
        edges = np.flatnonzero(np.diff(self.spikes.astype(int), prepend=0, append=0)).reshape(-1, 2)
        for begin, end in edges:
            if time_s[end] - time_s[begin - 1] > 2 * SPIKE_REACH_S + 1.01 * step_s:
                self.spikes[begin:end] = False

    def at(self, wanted_s: np.ndarray) -> np.ndarray:
        """The place at any time from the first to the last point, (M,) -> (M, 3)."""
        from scipy.interpolate import CubicSpline, PchipInterpolator
        from scipy.signal import sosfiltfilt

        points_m, time_s = self._points_m[~self.spikes], self._time_s[~self.spikes]
        if len(time_s) < 2:
            return np.broadcast_to(points_m, (len(wanted_s), points_m.shape[1]))
        # Not overshooting: a spline through the noisy ends of a gap would.
        course_m = PchipInterpolator(time_s, points_m)
        span_s = time_s[-1] - time_s[0]
        intervals = int(np.ceil(span_s / self._step_s - 0.01))
        if self._cutoff_hz is None or intervals < 2:
            return course_m(wanted_s)
        grid_s = np.linspace(time_s[0], time_s[-1], intervals + 1)
        sections = _butterworth(self._cutoff_hz, intervals / span_s)
        # Both ends are continued by their point reflection, for a period of the cut-off.
        padding = min(round(intervals / span_s / self._cutoff_hz), intervals)
        smooth_m = sosfiltfilt(sections, course_m(grid_s), axis=0, padtype="odd", padlen=padding)
        return CubicSpline(grid_s, smooth_m)(wanted_s)

    def _apart(self) -> np.ndarray:
        """Points that lie apart from their smoothed course, (K,); never the first and the last one."""
        away_m = np.linalg.norm(self._points_m - self.at(self._time_s), axis=1)
        away_m[self.spikes] = 0.0
        around, reach = (max(2, round(span_s / self._step_s)) for span_s in (SPIKE_AROUND_S, SPIKE_REACH_S))
        limit_m = np.maximum(SPIKE_M, SPIKE_FACTOR * np.median(_windows(away_m, around), axis=1))
        apart = (away_m > limit_m) & (away_m >= NEARLY * _windows(away_m, reach).max(axis=1))
        apart[[0, -1]] = False
        return apart


def _windows(values: np.ndarray, around: int) -> np.ndarray:
    """Each entry with so many before and after it, the ends repeated. (K,) -> (K, 2 around + 1)."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(values, around, mode="edge"), 2 * around + 1)


def _butterworth(cutoff_hz: float, rate_hz: float) -> np.ndarray:
    """Second-order sections of one pass, such that two passes have their -3 dB at `cutoff_hz`."""
    from scipy.signal import butter

    # |H|^2 of one pass is 1 / (1 + (w / w_c)^(2 n)) with w = tan(pi f / rate); two passes give 1 / sqrt(2) where that
    # is 1 / sqrt(2).
    warped = np.tan(np.pi * cutoff_hz / rate_hz) / (np.sqrt(2) - 1) ** (1 / (2 * PASS_ORDER))
    return np.asarray(butter(PASS_ORDER, 2 * np.arctan(warped) / np.pi, output="sos"))
