"""Cameras and the rig of two: intrinsics, lens distortion, and where the right camera stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np

from .errors import UserError

LensModel = Literal["pinhole", "fisheye"]

# cv2 knows pinhole lenses with this many terms (k1 k2 p1 p2 [k3 [k4 k5 k6 [s1..s4 [tx ty]]]]) and fisheye with four.
PINHOLE_TERMS = (0, 4, 5, 8, 12, 14)
FISHEYE_TERMS = 4


class RigError(UserError):
    """A rig, or a camera of it, that cannot be physically right."""


@dataclass(frozen=True, slots=True)
class RigidTransform:
    """A rotation followed by a translation: `x_to = rotation @ x_from + translation_m`.

    rotation: (3, 3), orthonormal to 1e-4 with determinant +1 (the nearest rotation is stored); translation_m: (3,).
    """

    rotation: np.ndarray
    translation_m: np.ndarray

    def __post_init__(self) -> None:
        rotation = np.asarray(self.rotation, dtype=np.float64)
        translation_m = np.asarray(self.translation_m, dtype=np.float64).reshape(-1)
        if rotation.shape != (3, 3) or translation_m.shape != (3,):
            raise RigError(
                f"a rigid transform needs a 3x3 rotation and 3 metres of translation, "
                f"got shapes {rotation.shape} and {translation_m.shape}"
            )
        if not (np.isfinite(rotation).all() and np.isfinite(translation_m).all()):
            raise RigError("a rigid transform needs finite numbers, got NaN or infinity")
        error = np.abs(rotation @ rotation.T - np.eye(3)).max()
        determinant = np.linalg.det(rotation)
        if error > 1e-4 or determinant < 0:
            raise RigError(
                f"rotation is not a rotation matrix: R R^T differs from 1 by {error:.2g} (at most 1e-4), "
                f"determinant {determinant:.4f} (expected 1)"
            )
        u, _, vt = np.linalg.svd(rotation)
        object.__setattr__(self, "rotation", u @ vt)
        object.__setattr__(self, "translation_m", translation_m)

    def apply(self, points_m: np.ndarray) -> np.ndarray:
        """Move points of the source frame into the target frame. points_m: (..., 3)."""
        return points_m @ self.rotation.T + self.translation_m

    def inverse(self) -> RigidTransform:
        """The transform the other way round."""
        return RigidTransform(self.rotation.T, -self.rotation.T @ self.translation_m)

    def __matmul__(self, other: RigidTransform) -> RigidTransform:
        """Chain: `a_from_b @ b_from_c` is `a_from_c`."""
        return RigidTransform(self.rotation @ other.rotation, self.apply(other.translation_m))


@dataclass(frozen=True, slots=True)
class Camera:
    """One calibrated camera.

    size_px: (width, height); matrix: (3, 3) pinhole matrix; distortion: OpenCV's terms for `model`;
    pixels have their centre at integers, the first at (0, 0).
    """

    size_px: tuple[int, int]
    matrix: np.ndarray
    distortion: np.ndarray = field(default_factory=lambda: np.zeros(5))
    model: LensModel = "pinhole"

    def __post_init__(self) -> None:
        width, height = (int(v) for v in self.size_px)
        matrix = np.asarray(self.matrix, dtype=np.float64)
        distortion = np.asarray(self.distortion, dtype=np.float64).reshape(-1)
        if width < 16 or height < 16:
            raise RigError(f"size_px: expected a width and a height of at least 16 pixels, got {width} x {height}")
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
            raise RigError(f"matrix: expected 3x3 finite numbers, got shape {matrix.shape}")
        # cv2 ignores a skew entry in silence, and no digital camera has skew.
        off = np.abs(matrix[[0, 1, 2, 2, 2], [1, 0, 0, 1, 2]] - [0, 0, 0, 0, 1]).max()
        if matrix[0, 0] <= 0 or matrix[1, 1] <= 0 or off > 1e-6:
            raise RigError(f"matrix: expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] in pixels, got {matrix.tolist()}")
        for name, focal, length in (("fx", matrix[0, 0], width), ("fy", matrix[1, 1], height)):
            if not 0.05 * length < focal < 50 * length:
                raise RigError(f"matrix: {name} = {focal:.4g} px cannot belong to an image {length} px across")
        if self.model not in ("pinhole", "fisheye"):
            raise RigError(f'model: expected "pinhole" or "fisheye", got "{self.model}"')
        terms = (FISHEYE_TERMS,) if self.model == "fisheye" else PINHOLE_TERMS
        if distortion.size not in terms or not np.isfinite(distortion).all():
            raise RigError(f"distortion: a {self.model} lens has {terms} finite terms, got {distortion.size}")
        object.__setattr__(self, "size_px", (width, height))
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "distortion", distortion)

    def rays_from_px(self, points_px: np.ndarray) -> np.ndarray:
        """Pixels of the recorded image to undistorted normalised coordinates x/z, y/z.

        points_px: (..., 2) -> (..., 2). NaN stays NaN; pixels that no ray in front of the camera reaches give NaN.
        """
        points_px = np.asarray(points_px, dtype=np.float64)
        flat = points_px.reshape(-1, 1, 2)
        known = np.isfinite(flat).all(axis=(1, 2))
        rays = np.full((len(flat), 2), np.nan)
        if known.any():
            criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-10)
            if self.model == "fisheye":
                found = cv2.fisheye.undistortPoints(flat[known], self.matrix, self.distortion, criteria=criteria)
                found = np.where(np.abs(found) > 1e5, np.nan, found)  # how cv2 marks "no such ray"
            else:
                found = cv2.undistortPoints(flat[known], self.matrix, self.distortion, criteria=criteria)
            rays[known] = found.reshape(-1, 2)
        return rays.reshape(points_px.shape)

    def px_from_camera(self, points_m: np.ndarray) -> np.ndarray:
        """Points in this camera's frame to pixels of the recorded image, lens distortion included.

        points_m: (..., 3) -> (..., 2). Points at or behind the camera, and NaN, give NaN.
        """
        points_m = np.asarray(points_m, dtype=np.float64)
        flat = points_m.reshape(-1, 1, 3)
        seen = np.isfinite(flat).all(axis=(1, 2)) & (flat[:, 0, 2] > 1e-6)
        pixels = np.full((len(flat), 2), np.nan)
        if seen.any():
            zero = np.zeros(3)
            project = cv2.fisheye.projectPoints if self.model == "fisheye" else cv2.projectPoints
            found, _ = project(flat[seen], zero, zero, self.matrix, self.distortion)
            pixels[seen] = found.reshape(-1, 2)
        return pixels.reshape((*points_m.shape[:-1], 2))

    def field_of_view_rad(self) -> tuple[float, float]:
        """Horizontal and vertical angle between the rays through the middles of opposite image edges."""
        width, height = self.size_px
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        edges = np.array([[0, middle_y], [width - 1, middle_y], [middle_x, 0], [middle_x, height - 1]])
        rays = np.concatenate([self.rays_from_px(edges), np.ones((4, 1))], axis=1)
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        return float(np.arccos(rays[0] @ rays[1])), float(np.arccos(rays[2] @ rays[3]))

    def adapted_to(self, size_px: tuple[int, int]) -> tuple[Camera, str]:
        """This camera delivering pictures of another size, and a sentence on what was assumed ("" when nothing).

        Pictures of the same shape were scaled. Pictures that lack at most 2 % of the width or height were cropped:
        at the right and at the bottom, as encoders do to reach a round size. Raises RigError for anything else.
        """
        if size_px == self.size_px:
            return self, ""
        change = f"{size_px[0]} x {size_px[1]} instead of the calibrated {self.size_px[0]} x {self.size_px[1]}"
        scale_x, scale_y = size_px[0] / self.size_px[0], size_px[1] / self.size_px[1]
        if abs(scale_x / scale_y - 1) < 0.003:
            # Pixel centres are at integers, so the image corner lies at -0.5 in both sizes.
            scale = np.array([[scale_x, 0, (scale_x - 1) / 2], [0, scale_y, (scale_y - 1) / 2], [0, 0, 1]])
            camera = Camera(size_px, scale @ self.matrix, self.distortion, self.model)
            return camera, f"the pictures are {change}: the calibration was scaled"
        if 0.98 <= scale_x <= 1 and 0.98 <= scale_y <= 1:
            camera = Camera(size_px, self.matrix, self.distortion, self.model)
            return camera, f"the pictures are {change}: taken as cropped at the right and the bottom"
        turned = abs(size_px[1] / self.size_px[0] / (size_px[0] / self.size_px[1]) - 1) < 0.02
        raise RigError(
            f"the pictures are {change}: they cannot come from this camera"
            + ("; one of the two is turned by 90 degrees: calibrate with pictures of the same orientation" * turned)
        )


@dataclass(frozen=True, slots=True)
class StereoRig:
    """Two cameras and where they stand to each other, in metres.

    right_from_left: moves points of the left camera's frame (x right, y down, z forward) into the right camera's.
    world_from_left: optional, moves points of the left camera's frame into the user's room.
    provenance: how the rig came about (board, date, program version, residuals); plain TOML values.
    """

    left: Camera
    right: Camera
    right_from_left: RigidTransform
    world_from_left: RigidTransform | None = None
    provenance: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.baseline_m < 1e-3:
            raise RigError(
                f"right_from_left: the cameras stand {self.baseline_m * 1e3:.3f} mm apart; "
                "at least 1 mm is needed to see depth (translation is in metres)"
            )

    @property
    def baseline_m(self) -> float:
        """Distance between the two camera centres."""
        return float(np.linalg.norm(self.right_from_left.translation_m))

    @property
    def right_centre_m(self) -> np.ndarray:
        """Centre of the right camera in the left camera's frame, (3,)."""
        return self.right_from_left.inverse().translation_m

    @property
    def axes_angle_rad(self) -> float:
        """Angle between the two optical axes."""
        return float(np.arccos(np.clip(self.right_from_left.rotation[2, 2], -1, 1)))
