"""From two rectified views to points in metres, and back.

Everything is in the rectified left frame of `rectify.RectifiedRig`, metres, x right, y down, z forward.
"""

from __future__ import annotations

import numpy as np

from .rectify import RectifiedRig


def triangulate(rig: RectifiedRig, left_px: np.ndarray, right_px: np.ndarray) -> np.ndarray:
    """Points in metres from matching rectified pixels.

    left_px, right_px: (..., 2) -> (..., 3). NaN where either view is NaN or the disparity is not positive (the rays
    do not meet in front of the cameras).

    With the same independent noise in all four coordinates the point of least reprojection error has the disparity
    d = x1 - x2 as measured and the mean of the two rows (Hartley, Zisserman: Multiple View Geometry, 2nd ed., section
    12.5, for rectified views), so Z = f B / d. The linear least-squares form B d / (d^2 + e^2) with the row difference
    e would pull the point toward the cameras whenever the rows disagree.
    """
    left = (np.asarray(left_px, dtype=np.float64) - rig.centres_px[0]) / rig.focal_px
    right = (np.asarray(right_px, dtype=np.float64) - rig.centres_px[1]) / rig.focal_px
    disparity = left[..., 0] - right[..., 0]
    with np.errstate(invalid="ignore"):
        disparity = np.where(disparity > 0, disparity, np.nan)
    depth_m = rig.baseline_m / disparity
    x_m = ((left[..., 0] + right[..., 0]) * depth_m + rig.baseline_m) / 2
    y_m = (left[..., 1] + right[..., 1]) * depth_m / 2
    return np.stack([x_m, y_m, depth_m], axis=-1)


def project(rig: RectifiedRig, points_m: np.ndarray) -> np.ndarray:
    """Rectified pixels of points in both views. points_m: (..., 3) -> (2, ..., 2); NaN at or behind the cameras."""
    x, y, depth = np.moveaxis(np.asarray(points_m, dtype=np.float64), -1, 0)
    with np.errstate(invalid="ignore"):
        depth = np.where(depth > 1e-6, depth, np.nan)
    left = np.stack([x / depth, y / depth], axis=-1)
    right = np.stack([(x - rig.baseline_m) / depth, y / depth], axis=-1)
    return np.stack([left * rig.focal_px + rig.centres_px[0], right * rig.focal_px + rig.centres_px[1]])


def epipolar_residual_px(left_px: np.ndarray, right_px: np.ndarray) -> np.ndarray:
    """Signed row difference, left minus right, of matching rectified pixels. (..., 2) each -> (...)."""
    return np.asarray(left_px)[..., 1] - np.asarray(right_px)[..., 1]


def triangulate_dlt(projections: np.ndarray, points_px: np.ndarray) -> np.ndarray:
    """Two-view homogeneous triangulation by singular value decomposition, for any projection matrices.

    projections: (..., V, 3, 4); points_px: (..., V, J, 2) -> (..., J, 3) in the frame the matrices start from, NaN
    where a view is NaN.
    Hartley, Zisserman, section 12.2. The published figures that the benchmark compares with come from this form.
    """
    rows = points_px[..., :, None] * projections[..., None, 2:, :] - projections[..., None, :2, :]  # (..., V, J, 2, 4)
    rows = np.moveaxis(rows, -3, -4)  # (..., J, V, 2, 4)
    system = rows.reshape((*rows.shape[:-3], -1, 4))
    unknown = np.isnan(system.sum(axis=(-2, -1)))
    homogeneous = np.linalg.svd(np.where(unknown[..., None, None], 0.0, system))[2][..., -1, :]
    return np.where(unknown[..., None], np.nan, homogeneous[..., :3] / homogeneous[..., 3:])
