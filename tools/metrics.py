"""Errors of 3D poses against the truth, in millimetres."""

from __future__ import annotations

from typing import Any

import numpy as np


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


def pose_errors(points_m: np.ndarray, truth_m: np.ndarray, root: int) -> dict[str, Any]:
    """The three usual errors, means over all joints and poses. points_m, truth_m: (N, J, 3); root: joint number.

    mpjpe_mm: as they stand; root_relative_mpjpe_mm: both with their root in the origin; pa_mpjpe_mm: after similarity
    alignment of each pose; per_joint_mm: the first, per joint.
    """
    distance_mm = np.linalg.norm(points_m - truth_m, axis=-1) * 1e3
    relative = (points_m - points_m[:, root, None]) - (truth_m - truth_m[:, root, None])
    aligned = align_similarity(points_m, truth_m)
    return {
        "mpjpe_mm": float(distance_mm.mean()),
        "root_relative_mpjpe_mm": float(np.linalg.norm(relative, axis=-1).mean() * 1e3),
        "pa_mpjpe_mm": float(np.linalg.norm(aligned - truth_m, axis=-1).mean() * 1e3),
        "per_joint_mm": distance_mm.mean(axis=0).tolist(),
    }
