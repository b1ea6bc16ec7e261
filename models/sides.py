"""Left and right exchanged by the detector: how it shows in two views and a skeleton."""

from __future__ import annotations

import numpy as np

from ..calibration.rectify import RectifiedRig
from ..calibration.triangulate import triangulate
from .pose import Pose2D
from .skeleton import Skeleton

# An exchange has to explain the pose this much better, and the pose as given has to be this bad, to be believed.
RATIO = 0.5
BAD_M = 0.10


def _misfit_m(skeleton: Skeleton, points_m: np.ndarray, lengths_m: np.ndarray) -> float:
    """Median deviation of the limbs from the lengths they should have; impossible joints count a metre."""
    ends = points_m[skeleton.rigid_bone_indices]
    deviation_m = np.abs(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1) - lengths_m)
    paired = (skeleton.side[skeleton.rigid_bone_indices] != 0).all(axis=1) & np.isfinite(lengths_m)
    return float(np.median(np.nan_to_num(deviation_m[paired], nan=1.0))) if paired.any() else 0.0


def sides_exchanged(rig: RectifiedRig, left: Pose2D, right: Pose2D, lengths_m: np.ndarray) -> bool:
    """Whether one view has the person's left and right exchanged against the other.

    left, right: rectified pixels, same skeleton; lengths_m: (rigid bones,) the person's lengths as far as known.
    True when exchanging them in one view makes the limbs fit their lengths much better.
    """
    skeleton = left.skeleton
    mirrored_px = right.points_px[skeleton.mirror]
    given_m = _misfit_m(skeleton, triangulate(rig, left.points_px, right.points_px), lengths_m)
    if given_m < BAD_M:
        return False
    return _misfit_m(skeleton, triangulate(rig, left.points_px, mirrored_px), lengths_m) < RATIO * given_m
