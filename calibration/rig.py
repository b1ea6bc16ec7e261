"""Cameras and the rig of two: intrinsics, lens distortion, and where the right camera stands."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np

from .errors import UserError

LensModel = Literal["pinhole", "fisheye"]

# cv2 knows pinhole lenses with this many terms (k1 k2 p1 p2 [k3 [k4 k5 k6 [s1..s4 [tx ty]]]]) and fisheye with four.
PINHOLE_TERMS = (0, 4, 5, 8, 12, 14)
FISHEYE_TERMS = 4
# A ray belongs to a pixel when it leads back to it this closely.
RAY_TOLERANCE_PX = 1e-3
# Steps from the principal point to the pixel, small enough to stay on the way that starts there.
RAY_STAGES = 16
FOLD_STEP = 1e-4
# Rays further from the axis than this (89 degrees) are none that a flat picture has room for.
MAX_RAY = 60.0


class RigError(UserError):
    """A rig, or a camera of it, that cannot be physically right."""


def rotation_angle_rad(rotation: np.ndarray) -> float:
    """The angle a rotation matrix turns by; exact for small ones too."""
    sine = np.linalg.norm([
        rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]
    ])  # fmt: skip
    return float(np.arctan2(sine, np.trace(rotation) - 1))


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
        if matrix.shape != (3, 3):
            raise RigError(f"matrix: expected 3x3 numbers, got shape {matrix.shape}")
        if not np.isfinite(matrix).all():
            raise RigError("matrix: expected finite numbers, got NaN or infinity")
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
        if distortion.size not in terms:
            counts = " or ".join(map(str, terms))
            raise RigError(f"distortion: a {self.model} lens has {counts} terms, got {distortion.size}")
        if not np.isfinite(distortion).all():
            raise RigError("distortion: expected finite numbers, got NaN or infinity")
        object.__setattr__(self, "size_px", (width, height))
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "distortion", distortion)

    def rays_from_px(self, points_px: np.ndarray) -> np.ndarray:
        """Pixels of the recorded image to undistorted normalised coordinates x/z, y/z.

        points_px: (..., 2) -> (..., 2). NaN stays NaN; pixels that no ray in front of the camera reaches give NaN.
        """
        points_px = np.asarray(points_px, dtype=np.float64)
        flat_px = points_px.reshape(-1, 2)
        known = np.isfinite(flat_px).all(axis=1)
        rays = np.full_like(flat_px, np.nan)
        if known.any():
            rays[known] = self._rays_from_known_px(flat_px[known])
        return rays.reshape(points_px.shape)

    def _rays_from_known_px(self, points_px: np.ndarray) -> np.ndarray:
        """Finite pixels (N, 2) to rays; cv2's answer where it proves right, else by following the lens outwards."""
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-10)
        undistort = cv2.fisheye.undistortPoints if self.model == "fisheye" else cv2.undistortPoints
        found = undistort(points_px[:, None], self.matrix, self.distortion, criteria=criteria)
        rays = np.asarray(found, dtype=np.float64).reshape(-1, 2)
        # cv2's iteration may not settle, or settle on a pixel that the lens equation reaches by a second way.
        back_px, slope = self._px_and_slope(rays)
        with np.errstate(invalid="ignore"):
            right = (np.abs(back_px - points_px).max(axis=1) < RAY_TOLERANCE_PX) & (slope > 0)
        if not right.all():
            rays[~right] = self._rays_from_centre_outwards(points_px[~right])
        return rays

    def _px_and_slope(self, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of rays (N, 2), and the determinant of their derivative: positive up to where the lens folds over."""
        pixels, derivative = self._px_and_derivative(rays)
        with np.errstate(invalid="ignore"):
            return pixels, np.linalg.det(derivative)

    def _px_and_derivative(self, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of rays, (N, 2) -> (N, 2), and their derivatives by the rays, (N, 2, 2); NaN for absurd rays."""
        step = 1e-6
        usable = np.abs(rays).max(axis=1) < MAX_RAY
        pixels, derivative = np.full((len(rays), 2), np.nan), np.full((len(rays), 2, 2), np.nan)
        if usable.any():
            shifts = np.array([[0, 0], [step, 0], [-step, 0], [0, step], [0, -step]])
            probes = np.concatenate([rays[usable, None] + shifts, np.ones((usable.sum(), 5, 1))], axis=-1)
            found = self._project(probes.reshape(-1, 3)).reshape(-1, 5, 2)
            middle, right, left, below, above = np.moveaxis(found, 1, 0)
            pixels[usable] = middle
            derivative[usable] = np.stack([right - left, below - above], axis=-1) / (2 * step)
        return pixels, derivative

    def _rays_from_centre_outwards(self, points_px: np.ndarray) -> np.ndarray:
        """Rays of pixels (N, 2) by Newton steps from the principal point outwards; NaN where the lens folds before."""
        centre_px = self.matrix[:2, 2]
        rays = np.zeros_like(points_px)
        for share in np.linspace(0, 1, RAY_STAGES + 1)[1:]:
            target_px = centre_px + share * (points_px - centre_px)
            for _ in range(4):
                pixels, derivative = self._px_and_derivative(rays)
                with np.errstate(invalid="ignore"):
                    folded = ~(np.linalg.det(derivative) > 0)
                derivative[folded] = np.nan
                rays = rays + np.linalg.solve(np.where(folded[:, None, None], np.eye(2), derivative),
                                              (target_px - pixels)[..., None])[..., 0]  # fmt: skip
                rays[folded] = np.nan
        pixels, slope = self._px_and_slope(rays)
        with np.errstate(invalid="ignore"):
            right = (np.abs(pixels - points_px).max(axis=1) < RAY_TOLERANCE_PX) & (slope > 0)
        return np.where(right[:, None], rays, np.nan)

    def px_from_camera(self, points_m: np.ndarray) -> np.ndarray:
        """Points in this camera's frame to pixels of the recorded image, lens distortion included.

        points_m: (..., 3) -> (..., 2). Points at or behind the camera, those so far out that the lens equation
        folds them back into it, and NaN, give NaN.
        """
        points_m = np.asarray(points_m, dtype=np.float64)
        flat = points_m.reshape(-1, 3)
        seen = np.isfinite(flat).all(axis=1) & (flat[:, 2] > 1e-6)
        pixels = np.full((len(flat), 2), np.nan)
        if seen.any():
            # Up to the fold a ray a little further out comes out further out.
            further = flat[seen] * [1 + FOLD_STEP, 1 + FOLD_STEP, 1]
            found, found_further = np.split(self._project(np.concatenate([flat[seen], further])), 2)
            centre_px = self.matrix[:2, 2]
            distance, distance_further = (np.hypot(*(each - centre_px).T) for each in (found, found_further))
            pixels[seen] = np.where((distance_further >= distance)[:, None], found, np.nan)
        return pixels.reshape((*points_m.shape[:-1], 2))

    def _project(self, points_m: np.ndarray) -> np.ndarray:
        zero = np.zeros(3)
        project = cv2.fisheye.projectPoints if self.model == "fisheye" else cv2.projectPoints
        return project(points_m[:, None], zero, zero, self.matrix, self.distortion)[0].reshape(-1, 2)

    def field_of_view_rad(self) -> tuple[float, float]:
        """Horizontal and vertical angle between the rays through the middles of opposite image edges; pi if wider."""
        width, height = self.size_px
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
        edges = np.array([[0, middle[1]], [width - 1, middle[1]], [middle[0], 0], [middle[0], height - 1]])
        seen = ~np.isnan(self.rays_from_px(edges)[:, 0])
        if self.model == "pinhole" and not seen.all():
            # The lens equation ends inside the picture: count from the last pixels that have a ray.
            shares = np.linspace(1, 0, 129)[:, None, None]
            rays = self.rays_from_px(middle + shares * (edges - middle))
            rays = rays[np.isfinite(rays[..., 0]).argmax(axis=0), np.arange(4)]
        else:
            rays = self.rays_from_px(edges)
        rays = np.concatenate([rays, np.ones((4, 1))], axis=1)
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        # The edge of a fisheye picture may lie beyond 90 degrees, where a flat picture has no place for it.
        angles = np.arccos([rays[0] @ rays[1], rays[2] @ rays[3]])
        horizontal, vertical = np.where(np.isnan(angles), np.pi, angles).tolist()
        return horizontal, vertical

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

    def adapted_to(self, sizes_px: tuple[tuple[int, int], tuple[int, int]]) -> tuple[StereoRig, list[str]]:
        """The rig for pictures of the sizes that its views have, and what had to be assumed; see `Camera.adapted_to`.

        sizes_px: (width, height) of the left and of the right view. Raises RigError naming the view.
        """
        cameras: list[Camera] = []
        notes: list[str] = []
        for name, camera, size_px in zip(("left", "right"), (self.left, self.right), sizes_px, strict=True):
            try:
                adapted, note = camera.adapted_to(size_px)
            except RigError as error:
                raise RigError(f"the {name} view does not belong to this rig: {error}") from None
            cameras.append(adapted)
            notes += [f"{name} view: {note}"] * bool(note)
        left, right = cameras
        return replace(self, left=left, right=right), notes
