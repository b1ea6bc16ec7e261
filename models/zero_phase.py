"""Smooths the joints of a whole recording without lag, and closes short gaps.

A Butterworth low-pass run forward and backward: the phase of the second pass undoes that of the first. The order is
that of both passes together, and the cut-off the frequency at which both together pass 1 / sqrt(2) (each alone has to
be designed for a higher one; Winter, "Biomechanics and Motor Control of Human Movement", chapter on kinematics).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

PASS_ORDER = 2
# Of the largest cut-off that a frame rate allows, half of it, this share is of use.
USABLE_CUTOFF = 0.8


@dataclass(frozen=True, slots=True)
class Smoothed:
    """A smoothed recording.

    points_m: (N, J, 3), NaN where a joint has no place; filled: (N, J) joints that had none before; rate_hz: the frame
    rate it was smoothed at; cutoff_hz: None when the frames are too far apart for the cut-off asked for, and gaps were
    closed only.
    """

    points_m: np.ndarray
    filled: np.ndarray
    rate_hz: float
    cutoff_hz: float | None


def smooth(
    points_m: np.ndarray,
    time_s: np.ndarray,
    cutoff_hz: float,
    longest_gap_s: float = 0.2,
    starts: np.ndarray | None = None,
) -> Smoothed:
    """Smooth every joint over time and close gaps in which it is missing for no longer than `longest_gap_s`.

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
    result_m = np.full(points_m.shape, np.nan)
    for begin, end in _stretches(np.flatnonzero(first), len(time_s)):
        for joint in range(points_m.shape[1]):
            frames = begin + np.flatnonzero(known[begin:end, joint])
            longer = np.diff(time_s[frames]) > longest_gap_s + 1.01 * step_s
            for a, b in _stretches(np.concatenate([[0], 1 + np.flatnonzero(longer)]), len(frames)):
                run, inside = frames[a:b], slice(frames[a], frames[b - 1] + 1)
                result_m[inside, joint] = _smooth_run(
                    points_m[run, joint], time_s[run], time_s[inside], step_s, cutoff_hz if usable else None
                )
    filled = np.isfinite(result_m[..., 0]) & ~known
    return Smoothed(result_m, filled, 1 / step_s, cutoff_hz if usable else None)


def _stretches(firsts: np.ndarray, end: int) -> list[tuple[int, int]]:
    """Begin and end of what starts at each of `firsts`, without empty ones."""
    return [(begin, stop) for begin, stop in pairwise([*firsts.tolist(), end]) if begin < stop]


def _smooth_run(
    points_m: np.ndarray, time_s: np.ndarray, wanted_s: np.ndarray, step_s: float, cutoff_hz: float | None
) -> np.ndarray:
    """One joint without long gaps, at the times wanted. points_m: (K, 3) at time_s: (K,); wanted_s: (M,) -> (M, 3)."""
    from scipy.interpolate import CubicSpline, PchipInterpolator
    from scipy.signal import sosfiltfilt

    if len(time_s) < 2:
        return points_m
    # Not overshooting: a spline through the noisy ends of a gap would.
    course_m = PchipInterpolator(time_s, points_m)
    intervals = int(np.ceil((time_s[-1] - time_s[0]) / step_s - 0.01))
    if cutoff_hz is None or intervals < 2:
        return course_m(wanted_s)
    grid_s = np.linspace(time_s[0], time_s[-1], intervals + 1)
    rate_hz = intervals / (time_s[-1] - time_s[0])
    # Both ends are continued by their point reflection, for a period of the cut-off.
    padding = min(round(rate_hz / cutoff_hz), intervals)
    smooth_m = sosfiltfilt(_butterworth(cutoff_hz, rate_hz), course_m(grid_s), axis=0, padtype="odd", padlen=padding)
    return CubicSpline(grid_s, smooth_m)(wanted_s)


def _butterworth(cutoff_hz: float, rate_hz: float) -> np.ndarray:
    """Second-order sections of one pass, such that two passes have their -3 dB at `cutoff_hz`."""
    from scipy.signal import butter

    # |H|^2 of one pass is 1 / (1 + (w / w_c)^(2 n)) with w = tan(pi f / rate); two passes give 1 / sqrt(2) where that
    # is 1 / sqrt(2).
    warped = np.tan(np.pi * cutoff_hz / rate_hz) / (np.sqrt(2) - 1) ** (1 / (2 * PASS_ORDER))
    return np.asarray(butter(PASS_ORDER, 2 * np.arctan(warped) / np.pi, output="sos"))
