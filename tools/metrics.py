"""Errors of 3D poses against the truth, in millimetres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

# The three usual errors, as they are called in results.
ERRORS = ("mpjpe_mm", "root_relative_mpjpe_mm", "pa_mpjpe_mm")


def align_similarity(points_m: np.ndarray, truth_m: np.ndarray) -> np.ndarray:
    """Each pose moved, turned and scaled onto its truth with least squares. (N, J, 3) each -> (N, J, 3).

    Umeyama: Least-squares estimation of transformation parameters between two point patterns, 1991.
    """
    centre, truth_centre = points_m.mean(axis=1, keepdims=True), truth_m.mean(axis=1, keepdims=True)
    centred, truth = points_m - centre, truth_m - truth_centre
    u, singular, vt = np.linalg.svd(np.swapaxes(truth, 1, 2) @ centred)
    sign = np.ones_like(singular)
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[:, None, :]) @ vt
    scale = (singular * sign).sum(axis=1) / (centred**2).sum(axis=(1, 2))
    return scale[:, None, None] * centred @ np.swapaxes(rotation, 1, 2) + truth_centre


@dataclass(frozen=True, slots=True)
class PoseErrors:
    """Errors of N poses. joints_mm: (N, J) distance of each joint; poses_mm: (N, 3) means over the joints, in the
    order of ERRORS: as they stand, with both roots in the origin, after similarity alignment."""

    joints_mm: np.ndarray
    poses_mm: np.ndarray

    def means(self, chosen: np.ndarray | slice = slice(None)) -> dict[str, float]:
        """Means over the chosen poses (mask or slice) by the names in ERRORS."""
        return dict(zip(ERRORS, self.poses_mm[chosen].mean(axis=0).tolist(), strict=True))


def errors_of(points_m: np.ndarray, truth_m: np.ndarray, root: int) -> PoseErrors:
    """Errors of each pose. points_m, truth_m: (N, J, 3); root: joint number."""
    relative_m = (points_m - points_m[:, root, None]) - (truth_m - truth_m[:, root, None])
    differences_m = (points_m - truth_m, relative_m, align_similarity(points_m, truth_m) - truth_m)
    joints_mm = np.stack([np.linalg.norm(difference_m, axis=-1) * 1e3 for difference_m in differences_m], axis=-1)
    return PoseErrors(joints_mm[..., 0], joints_mm.mean(axis=1))


def pose_errors(points_m: np.ndarray, truth_m: np.ndarray, root: int) -> dict[str, Any]:
    """The three usual errors, means over all joints and poses. points_m, truth_m: (N, J, 3); root: joint number.

    mpjpe_mm: as they stand; root_relative_mpjpe_mm: both with their root in the origin; pa_mpjpe_mm: after similarity
    alignment of each pose; per_joint_mm: the first, per joint.
    """
    errors = errors_of(points_m, truth_m, root)
    return errors.means() | {"per_joint_mm": errors.joints_mm.mean(axis=0).tolist()}
