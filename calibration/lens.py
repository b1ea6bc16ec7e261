"""Lens models with their derivatives, for fitting: from a point in the camera frame to a pixel.

`Camera` of `rig.py` uses cv2 for the same projection; here the derivatives by the intrinsics and by the point are
needed, for all corners of all pictures at once. Formulas: OpenCV's documentation of `calib` (Brown-Conrady with
rational radial terms) and of `fisheye` (Kannala, Brandt: A generic camera model and calibration method, 2006).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .rig import Camera

LensName = Literal["radial2", "radial3", "rational", "fisheye"]

# Number of distortion terms of each model.
LENS_TERMS: dict[LensName, int] = {"radial2": 4, "radial3": 5, "rational": 8, "fisheye": 4}
LENS_WORDS: dict[LensName, str] = {
    "radial2": "pinhole, 4 distortion terms (k1 k2 p1 p2)",
    "radial3": "pinhole, 5 distortion terms (k1 k2 p1 p2 k3)",
    "rational": "pinhole, rational, 8 distortion terms",
    "fisheye": "fisheye, 4 distortion terms",
}
# fx, fy, cx, cy come before the distortion terms.
FOCAL_AND_CENTRE = 4


@dataclass(frozen=True, slots=True)
class Projection:
    """Pixels and their derivatives.

    points_px: (..., 2); by_point: (..., 2, 3), per metre in the camera frame; by_intrinsics: (..., 2, 4 + terms).
    Points at or behind the camera plane of a pinhole lens are NaN.
    """

    points_px: np.ndarray
    by_point: np.ndarray
    by_intrinsics: np.ndarray


def project(lens: LensName, intrinsics: np.ndarray, points_m: np.ndarray) -> Projection:
    """Project points of the camera frame. intrinsics: fx, fy, cx, cy and the terms of `lens`; points_m: (..., 3)."""
    image, by_point, by_terms = (_fisheye if lens == "fisheye" else _pinhole)(intrinsics[FOCAL_AND_CENTRE:], points_m)
    focal, centre = intrinsics[:2], intrinsics[2:4]
    by_intrinsics = np.zeros((*image.shape, len(intrinsics)))
    by_intrinsics[..., 0, 0], by_intrinsics[..., 1, 1] = image[..., 0], image[..., 1]
    by_intrinsics[..., 0, 2] = by_intrinsics[..., 1, 3] = 1.0
    by_intrinsics[..., FOCAL_AND_CENTRE:] = focal[:, None] * by_terms
    return Projection(image * focal + centre, focal[:, None] * by_point, by_intrinsics)


def _pinhole(terms: np.ndarray, points_m: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distorted normalised coordinates (..., 2), by the point (..., 2, 3) and by the terms (..., 2, terms)."""
    k1, k2, p1, p2, k3, k4, k5, k6 = np.concatenate([terms, np.zeros(8 - len(terms))])
    depth = np.where(points_m[..., 2] > 1e-6, points_m[..., 2], np.nan)
    x, y = points_m[..., 0] / depth, points_m[..., 1] / depth
    s = x * x + y * y  # squared radius
    above, below = 1 + s * (k1 + s * (k2 + s * k3)), 1 + s * (k4 + s * (k5 + s * k6))
    radial = above / below
    radial_by_s = ((k1 + s * (2 * k2 + 3 * s * k3)) - radial * (k4 + s * (2 * k5 + 3 * s * k6))) / below
    image = np.stack([
        x * radial + 2 * p1 * x * y + p2 * (s + 2 * x * x),
        y * radial + p1 * (s + 2 * y * y) + 2 * p2 * x * y,
    ], axis=-1)  # fmt: skip
    across = 2 * x * y * radial_by_s + 2 * p1 * x + 2 * p2 * y
    by_flat = np.stack([
        np.stack([radial + 2 * x * x * radial_by_s + 2 * p1 * y + 6 * p2 * x, across], axis=-1),
        np.stack([across, radial + 2 * y * y * radial_by_s + 6 * p1 * y + 2 * p2 * x], axis=-1),
    ], axis=-2)  # fmt: skip
    flat_by_point = np.zeros((*points_m.shape[:-1], 2, 3))
    flat_by_point[..., 0, 0] = flat_by_point[..., 1, 1] = 1 / depth
    flat_by_point[..., 0, 2], flat_by_point[..., 1, 2] = -x / depth, -y / depth
    flat = np.stack([x, y], axis=-1)
    powers = np.stack([s, s**2, s**3], axis=-1) / below[..., None]
    by_upper = flat[..., None] * powers[..., None, :]  # by k1, k2, k3
    by_lower = -by_upper * radial[..., None, None]  # by k4, k5, k6
    by_tangential = np.stack([
        np.stack([2 * x * y, s + 2 * x * x], axis=-1), np.stack([s + 2 * y * y, 2 * x * y], axis=-1)
    ], axis=-2)  # fmt: skip
    by_terms = np.concatenate([by_upper[..., :2], by_tangential, by_upper[..., 2:], by_lower], axis=-1)
    return image, by_flat @ flat_by_point, by_terms[..., : len(terms)]


def _fisheye(terms: np.ndarray, points_m: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `_pinhole`; the image radius is a polynomial of the angle to the axis, points beside the camera included."""
    x, y, z = np.moveaxis(points_m, -1, 0)
    radius = np.maximum(np.hypot(x, y), 1e-12)
    theta = np.arctan2(radius, z)
    powers = theta[..., None] ** np.array([3, 5, 7, 9])
    bent = theta + powers @ terms
    bent_by_theta = 1 + (theta[..., None] ** np.array([2, 4, 6, 8])) @ (terms * np.array([3, 5, 7, 9]))
    direction = np.stack([x, y], axis=-1) / radius[..., None]
    squared = radius**2 + z**2
    theta_by_point = np.stack(
        [direction[..., 0] * z / squared, direction[..., 1] * z / squared, -radius / squared], axis=-1
    )
    turn = np.stack([-direction[..., 1], direction[..., 0]], axis=-1)  # along the circle around the axis
    angle_by_point = np.concatenate([turn / radius[..., None], np.zeros_like(radius)[..., None]], axis=-1)
    by_point = (
        direction[..., :, None] * (bent_by_theta[..., None] * theta_by_point)[..., None, :]
        + turn[..., :, None] * (bent[..., None] * angle_by_point)[..., None, :]
    )
    return direction * bent[..., None], by_point, direction[..., :, None] * powers[..., None, :]


def camera_from(lens: LensName, intrinsics: np.ndarray, size_px: tuple[int, int]) -> Camera:
    """The fitted intrinsics as the program's camera; raises RigError where they cannot be right."""
    fx, fy, cx, cy = intrinsics[:FOCAL_AND_CENTRE]
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    model = "fisheye" if lens == "fisheye" else "pinhole"
    terms = np.append(intrinsics[FOCAL_AND_CENTRE:], 0.0) if lens == "radial2" else intrinsics[FOCAL_AND_CENTRE:]
    return Camera(size_px, matrix, terms, model)
