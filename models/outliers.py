"""Joints whose place cannot be believed: their two views show different things, or the place does not fit the body.

What is found is to be treated as not observed. Everything here is relative to what this person's joints usually do, so
that a poor calibration does not empty the body.
"""

from __future__ import annotations

import numpy as np

from ..calibration.rectify import RectifiedRig
from .epipolar import RowStatistics
from .pose import Pose3D
from .running_median import RunningMedian
from .skeleton import BODY17

# Rows differ by more than so many times the usual and by more than this part of the person's height.
ROW_SIGMAS = 2.5
ROW_OF_HEIGHT = 0.05
# Limb segments, outward: lengths may be off by this part and by so many standard deviations of their ends.
LENGTH_SHARE = 0.35
LENGTH_SIGMAS = 3.0
MIN_LENGTHS = 30
ACROSS_SIGMA_M = 0.02
# Faster than this, relative to the trunk, is no hand and no foot; a place that stays for this long is believed anyway.
MAX_SPEED_M_S = 20.0
JUMP_M = 0.12
DEPTH_SIGMAS = 4.0
MAX_JUMP_S = 0.15

# Outer and inner end of the segments of the limbs, from the trunk outward, and which length each has: upper arm,
# forearm, thigh, shin.
_SEGMENTS = (("Elbow", "Shoulder"), ("Wrist", "Elbow"), ("Knee", "Hip"), ("Ankle", "Knee"))
LIMB_ENDS = np.array(
    [[BODY17.index(side + joint) for joint in segment] for segment in _SEGMENTS for side in ("Right", "Left")]
)
LENGTH_OF_LIMB = np.repeat(np.arange(len(_SEGMENTS)), 2)
_TRUNK = np.array([BODY17.index(side + joint) for side in ("Right", "Left") for joint in ("Hip", "Shoulder")])


class OutlierGate:
    """Finds outliers frame by frame; causal. It learns the person's lengths from what it lets pass."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the person."""
        self._lengths = RunningMedian(4, 0.03, 0.9, 0.002)
        self._last_m = np.full((len(BODY17), 3), np.nan)
        self._last_s = np.full(len(BODY17), -np.inf)

    @property
    def lengths_m(self) -> np.ndarray:
        """(4,) of upper arm, forearm, thigh and shin, NaN while hardly seen."""
        return np.where(self._lengths.seen >= MIN_LENGTHS, self._lengths.median, np.nan)

    def find(self, rig: RectifiedRig, rows: RowStatistics, pose: Pose3D, epipolar_px: np.ndarray) -> np.ndarray:
        """Which joints are outliers, (17,).

        pose: body17, triangulated, rectified frame, NaN where not observed; epipolar_px: (17,) the row differences of
        its joints; rows: what these usually are.
        """
        points_m, timestamp_s = pose.points_m, pose.timestamp_s
        height_px = _height_px(rig, points_m)
        depth_sigma_m = points_m[:, 2] ** 2 / (rig.focal_px * rig.baseline_m) * max(rows.noise_px, 1.0)
        outliers = self._jumped(points_m, depth_sigma_m, timestamp_s)
        if rows.noise_px > 0:  # what is usual is known
            limit_px = np.maximum(ROW_SIGMAS * rows.joint_noise_px(height_px), ROW_OF_HEIGHT * height_px)
            outliers |= np.abs(epipolar_px - rows.bias_px) > limit_px
        self._add_ends_of_impossible_bones(outliers, points_m, depth_sigma_m)
        believed = np.isfinite(points_m[:, 2]) & ~outliers
        self._last_m[believed] = points_m[believed]
        self._last_s[believed] = timestamp_s
        sound = believed[LIMB_ENDS].all(axis=1)
        self._lengths.observe(LENGTH_OF_LIMB[sound], _lengths_m(points_m)[sound])
        return outliers

    def _jumped(self, points_m: np.ndarray, depth_sigma_m: np.ndarray, timestamp_s: float) -> np.ndarray:
        """Joints that moved, with respect to the trunk, as no joint can."""
        moved_m = points_m - self._last_m
        trunk_m = moved_m[_TRUNK][np.isfinite(moved_m[_TRUNK, 0])]
        if len(trunk_m):
            moved_m = moved_m - np.median(trunk_m, axis=0)
        gap_s = timestamp_s - self._last_s
        reach_m = JUMP_M + MAX_SPEED_M_S * gap_s + DEPTH_SIGMAS * depth_sigma_m
        return (np.linalg.norm(moved_m, axis=1) > reach_m) & (gap_s < MAX_JUMP_S)

    def _add_ends_of_impossible_bones(
        self, outliers: np.ndarray, points_m: np.ndarray, depth_sigma_m: np.ndarray
    ) -> None:
        """Mark the outer ends of limb segments whose lengths cannot be, in place; inner segments first."""
        usual_m = self.lengths_m[LENGTH_OF_LIMB]
        along_m = points_m[LIMB_ENDS[:, 0]] - points_m[LIMB_ENDS[:, 1]]
        lengths_m = np.linalg.norm(along_m, axis=1)
        depth_share = np.abs(along_m[:, 2]) / np.maximum(lengths_m, 1e-6)
        sigma_m = np.hypot(ACROSS_SIGMA_M, depth_share * np.linalg.norm(depth_sigma_m[LIMB_ENDS], axis=1))
        limit_m = LENGTH_SHARE * usual_m + LENGTH_SIGMAS * sigma_m
        impossible = np.abs(lengths_m - usual_m) > limit_m
        for (outer, inner), wrong in zip(LIMB_ENDS, impossible, strict=True):
            if wrong and not outliers[inner]:
                outliers[outer] = True


def _height_px(rig: RectifiedRig, points_m: np.ndarray) -> float:
    """How high the person appears."""
    known = np.isfinite(points_m[:, 2])
    rows_px = rig.focal_px * points_m[known, 1] / points_m[known, 2]
    return float(np.ptp(rows_px)) if known.any() else 0.0


def _lengths_m(points_m: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points_m[LIMB_ENDS[:, 0]] - points_m[LIMB_ENDS[:, 1]], axis=1)
