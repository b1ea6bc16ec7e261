"""What the course of a person's joints over time says: speed, jitter, lag, and where another person takes over."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .skeleton import BODY17, Skeleton

# Between two poses the middle of a body moves no further than this plus noise, or it is another body.
BODY_SPEED_M_S = 5.0
BODY_NOISE_M = 0.3


def derivative(values: np.ndarray, time_s: np.ndarray, order: int) -> np.ndarray:
    """Derivatives over time of unevenly sampled values, from divided differences.

    values: (N, ...), NaN where unknown; time_s: (N,) increasing. Returns (N - order, ...): that at entry k is of the
    middle of the times k to k + order, in units per second to the power of `order`; NaN where one of its values is.
    """
    difference = np.asarray(values, dtype=np.float64)
    for step in range(1, order + 1):
        span_s = time_s[step:] - time_s[: len(time_s) - step]
        difference = step * np.diff(difference, axis=0) / span_s.reshape(-1, *(1,) * (difference.ndim - 1))
    return difference


def speed_m_s(points_m: np.ndarray, time_s: np.ndarray) -> np.ndarray:
    """How fast joints move from each pose to the next. points_m: (N, J, 3); returns (N - 1, J), NaN where unknown."""
    return np.linalg.norm(derivative(points_m, time_s, 1), axis=-1)


def jitter_m_s3(points_m: np.ndarray, time_s: np.ndarray) -> float:
    """Root mean square length of the third derivative over all joints, m/s^3; NaN when there are too few poses.

    What people do lies below some hundred m/s^3, except at an impact; noise of a detector is mostly above a thousand.
    points_m: (N, J, 3), NaN where unknown; time_s: (N,) increasing.
    """
    if len(time_s) < 4:
        return float("nan")
    squared = (derivative(points_m, time_s, 3) ** 2).sum(axis=-1)
    known = np.isfinite(squared)
    return float(np.sqrt(squared[known].mean())) if known.any() else float("nan")


def lag_s(before_m: np.ndarray, after_m: np.ndarray, time_s: np.ndarray) -> float:
    """How much later a filtered motion is than the one it was made from; negative when it is ahead.

    The shift in time that explains most of the difference, to first order, so right while it is short against the
    motion. before_m, after_m: (N, J, 3), NaN where unknown; time_s: (N,) increasing. NaN when nothing moves.
    """
    if len(time_s) < 3:
        return float("nan")
    span_s = (time_s[2:] - time_s[:-2])[:, None, None]
    velocity = (after_m[2:] - after_m[:-2]) / span_s
    behind_m = before_m[1:-1] - after_m[1:-1]
    known = np.isfinite(velocity) & np.isfinite(behind_m)
    energy = float((velocity[known] ** 2).sum())
    return float((velocity[known] * behind_m[known]).sum()) / energy if energy > 0 else float("nan")


def is_another_body(before_m: np.ndarray, after_m: np.ndarray, gap_s: float, skeleton: Skeleton = BODY17) -> bool:
    """Whether a person would have to jump to get from one pose to the next; False when the poses share no joint.

    The middle between left and right joints counts, which stays put when a detector mixes up the sides. before_m,
    after_m: (J, 3), NaN where unknown; gap_s: between them.
    """
    shift_m = after_m - before_m
    moved_m = np.linalg.norm(shift_m + shift_m[skeleton.mirror], axis=1) / 2
    known_m = moved_m[np.isfinite(moved_m)]
    return len(known_m) > 0 and bool(np.median(known_m) > BODY_NOISE_M + BODY_SPEED_M_S * gap_s)


def body_changes(points_m: np.ndarray, time_s: np.ndarray, skeleton: Skeleton = BODY17) -> np.ndarray:
    """Where the poses jump to somebody else: (N,), true for the first pose of another body.

    points_m: (N, J, 3), NaN where unknown; time_s: (N,) increasing.
    """
    changes = np.zeros(len(points_m), dtype=bool)
    middle_m = (points_m + points_m[:, skeleton.mirror]) / 2
    present = np.flatnonzero(np.isfinite(middle_m.sum(axis=2)).any(axis=1)).tolist()
    for before, after in pairwise(present):
        gap_s = float(time_s[after] - time_s[before])
        changes[after] = is_another_body(points_m[before], points_m[after], gap_s, skeleton)
    return changes
