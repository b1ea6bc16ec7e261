"""Left and right exchanged by the detector: how it shows in two views and a skeleton."""

from __future__ import annotations

import numpy as np

from ..calibration.rectify import RectifiedRig
from ..calibration.triangulate import triangulate
from .pose import Pose2D
from .running_median import RunningMedian
from .skeleton import BODY17

# Segments that an exchange in one view tears apart, for arms and legs on their own.
_ARMS = (("RightShoulder", "LeftShoulder"), ("RightElbow", "RightShoulder"), ("LeftElbow", "LeftShoulder"),
         ("RightWrist", "RightElbow"), ("LeftWrist", "LeftElbow"))  # fmt: skip
_LEGS = (("RightHip", "LeftHip"), ("RightKnee", "RightHip"), ("LeftKnee", "LeftHip"),
         ("RightAnkle", "RightKnee"), ("LeftAnkle", "LeftKnee"))  # fmt: skip
LIMBS = {"arms": _ARMS, "legs": _LEGS}

# An exchange has to explain a limb this much better, and the limb as given has to be this bad, to be believed.
RATIO = 0.5
BAD_M = 0.04
# A segment that cannot be measured counts as this much off.
IMPOSSIBLE_M = 0.5


class SideCheck:
    """Tells frames in which one view has the person's left and right exchanged against the other; causal.

    It learns the lengths of the limbs and the widths of hips and shoulders from the refined poses it is shown.
    """

    def __init__(self) -> None:
        names = [segment for segments in LIMBS.values() for segment in segments]
        self._ends = np.array([[BODY17.index(a), BODY17.index(b)] for a, b in names])
        self._limb = np.repeat(np.arange(len(LIMBS)), [len(segments) for segments in LIMBS.values()])
        self._lengths = RunningMedian(len(names), 0.05, 0.7, 0.001)

    def learn(self, points_m: np.ndarray) -> None:
        """Add a refined pose, (17, 3), NaN ignored."""
        self._lengths.observe(np.arange(len(self._ends)), self._measured_m(points_m))

    def exchanged(self, rig: RectifiedRig, left: Pose2D, right: Pose2D) -> list[str]:
        """The LIMBS whose sides the two views name differently. left, right: body17, rectified pixels."""
        given_m = self._misfit_m(triangulate(rig, left.points_px, right.points_px))
        mirrored_m = self._misfit_m(triangulate(rig, left.points_px, right.points_px[BODY17.mirror]))
        torn = (given_m > BAD_M) & (mirrored_m < RATIO * given_m)
        return [limb for limb, found in zip(LIMBS, torn, strict=True) if found]

    def _measured_m(self, points_m: np.ndarray) -> np.ndarray:
        return np.linalg.norm(points_m[self._ends[:, 0]] - points_m[self._ends[:, 1]], axis=1)

    def _misfit_m(self, points_m: np.ndarray) -> np.ndarray:
        """Mean deviation of each limb's segments from their lengths, (limbs,); 0 while these are unknown."""
        lengths_m = self._lengths.median
        deviation_m = np.minimum(np.abs(self._measured_m(points_m) - lengths_m), IMPOSSIBLE_M)
        deviation_m = np.where(np.isnan(lengths_m), 0.0, np.nan_to_num(deviation_m, nan=IMPOSSIBLE_M))
        return np.bincount(self._limb, deviation_m) / np.bincount(self._limb)
