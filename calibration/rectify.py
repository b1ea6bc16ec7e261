"""Turn both views so that matching points lie in the same row, as images or as points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from .rig import Camera, RigError, StereoRig, rotation_angle_rad

RectifyMode = Literal["images", "points"]

# Turning an image by more than this loses so much of it, and stretches the rest so much, that a person detector does
# better on the picture as recorded; the points are then turned instead.
MAX_IMAGE_ROTATION_RAD = np.deg2rad(15.0)
# Rays further than this from the rectified axis have no useful place on the common image plane.
MAX_RAY_ANGLE_RAD = np.deg2rad(80.0)


@dataclass(frozen=True, slots=True)
class RectifiedRig:
    """Two identical pinhole cameras side by side: the frame in which everything inside the program happens.

    The rectified frame has its origin in the left camera, x toward the right camera, z forward. Both cameras share
    `focal_px` and the row `centre_y_px`; the columns of their principal points may differ.
    left_from_rectified, right_from_rectified: (3, 3) rotations into the cameras as calibrated.
    """

    focal_px: float
    left_centre_x_px: float
    right_centre_x_px: float
    centre_y_px: float
    baseline_m: float
    left_from_rectified: np.ndarray
    right_from_rectified: np.ndarray

    @property
    def centres_px(self) -> np.ndarray:
        """Principal points of the left and right rectified camera, (2, 2)."""
        return np.array(
            [[self.left_centre_x_px, self.centre_y_px], [self.right_centre_x_px, self.centre_y_px]], dtype=np.float64
        )


def rectifying_rotations(rig: StereoRig) -> tuple[np.ndarray, np.ndarray]:
    """Rotations `left_from_rectified` and `right_from_rectified`, (3, 3) each.

    x points from the left camera centre to the right one; z is the mean of the two optical axes made perpendicular to
    it (Fusiello, Trucco, Verri: A compact algorithm for rectification of stereo pairs, 2000, with the mean axis in
    place of the old one).

    Raises RigError when one camera looks along the baseline, where no rectification exists.
    """
    x_axis = rig.right_centre_m / rig.baseline_m
    right_axis = rig.right_from_left.rotation.T[:, 2]
    mean_axis = np.array([0.0, 0.0, 1.0]) + right_axis
    z_axis = mean_axis - (mean_axis @ x_axis) * x_axis
    length = np.linalg.norm(z_axis)
    if length < 0.2:
        raise RigError(
            "right_from_left: the cameras face each other or look along the line between them "
            f"(angle between the axes {np.rad2deg(rig.axes_angle_rad):.0f} degrees); two such views cannot be rectified"
        )
    z_axis /= length
    left_from_rectified = np.stack([x_axis, np.cross(z_axis, x_axis), z_axis], axis=1)
    return left_from_rectified, rig.right_from_left.rotation @ left_from_rectified


def _border_px(camera: Camera, per_edge: int = 33) -> np.ndarray:
    """Points along the image border, (4 * per_edge, 2)."""
    width, height = camera.size_px
    x, y = np.linspace(0, width - 1, per_edge), np.linspace(0, height - 1, per_edge)
    edges = [(x, 0 * x), (x, 0 * x + height - 1), (0 * y, y), (0 * y + width - 1, y)]
    return np.concatenate([np.stack(edge, axis=1) for edge in edges])


def _rectify_rays(rays: np.ndarray, camera_from_rectified: np.ndarray) -> np.ndarray:
    """Normalised coordinates of a camera to those of the rectified one, (..., 2); NaN beyond MAX_RAY_ANGLE_RAD."""
    # Written out: (x, y, 1) times the rotation, without building the third coordinate for every call.
    turned = rays @ camera_from_rectified[:2] + camera_from_rectified[2]
    depth = turned[..., 2:]
    with np.errstate(invalid="ignore", divide="ignore"):
        flat = turned[..., :2] / depth
        too_wide = (depth <= 0) | (np.hypot(flat[..., :1], flat[..., 1:]) > np.tan(MAX_RAY_ANGLE_RAD))
    return np.where(too_wide, np.nan, flat)


class Rectifier:
    """Rectifies pairs of images or of points for one rig; maps are built once.

    mode "images": `images` remaps both pictures and detections made in them are rectified already.
    mode "points": pictures stay as recorded; `points` takes the lens distortion out of detections and turns them.
    mode None chooses: images when both cameras need to turn by at most 15 degrees, else points (convergent rigs, one
    camera above the other, very wide lenses), where a remapped picture would be cropped or badly stretched.
    """

    def __init__(self, rig: StereoRig, mode: RectifyMode | None = None) -> None:
        self.source = rig
        rotations = rectifying_rotations(rig)
        cameras = (rig.left, rig.right)
        if mode is None:
            turn_rad = max(rotation_angle_rad(rotation) for rotation in rotations)
            wide = max(max(camera.field_of_view_rad()) for camera in cameras) > np.deg2rad(120)
            mode = "points" if turn_rad > MAX_IMAGE_ROTATION_RAD or wide else "images"
        self.mode: RectifyMode = mode
        focal_px = float(np.mean([camera.matrix[[0, 1], [0, 1]] for camera in cameras]))
        borders = [
            _rectify_rays(camera.rays_from_px(_border_px(camera)), rotation)
            for camera, rotation in zip(cameras, rotations, strict=True)
        ]
        for name, border in zip(("left", "right"), borders, strict=True):
            if np.isnan(border).all():
                raise RigError(
                    f"right_from_left: what the {name} camera sees has no place on a common image plane (angle between "
                    f"the axes {np.rad2deg(rig.axes_angle_rad):.0f} degrees); two such views cannot be rectified"
                )
        # Principal points that put the middle of what each camera sees into the middle of its rectified picture.
        middles = [(np.nanmin(border, axis=0) + np.nanmax(border, axis=0)) / 2 for border in borders]
        self.size_px = rig.left.size_px
        width, height = self.size_px
        middle_y = (middles[0][1] + middles[1][1]) / 2
        self.rig = RectifiedRig(
            focal_px=focal_px,
            left_centre_x_px=float((width - 1) / 2 - focal_px * middles[0][0]),
            right_centre_x_px=float((width - 1) / 2 - focal_px * middles[1][0]),
            centre_y_px=float((height - 1) / 2 - focal_px * middle_y),
            baseline_m=rig.baseline_m,
            left_from_rectified=rotations[0],
            right_from_rectified=rotations[1],
        )
        self._cameras = cameras
        self._rotations = rotations
        self._maps = [self._build_maps(view) for view in (0, 1)] if mode == "images" else None

    def _build_maps(self, view: int) -> tuple[np.ndarray, np.ndarray]:
        camera, rectified_from_camera = self._cameras[view], self._rotations[view].T
        centre_x, centre_y = self.rig.centres_px[view]
        matrix = np.array([[self.rig.focal_px, 0, centre_x], [0, self.rig.focal_px, centre_y], [0, 0, 1]])
        build = cv2.fisheye.initUndistortRectifyMap if camera.model == "fisheye" else cv2.initUndistortRectifyMap
        return build(camera.matrix, camera.distortion, rectified_from_camera, matrix, self.size_px, cv2.CV_16SC2)

    def images(self, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rectify a pair of images (H, W, 3); in mode "points" they come back as they are."""
        if self._maps is None:
            return left, right
        return self.image(0, left), self.image(1, right)

    def image(self, view: int, image: np.ndarray) -> np.ndarray:
        """Rectify the image of one view (0 left, 1 right); in mode "points" it comes back as it is."""
        if self._maps is None:
            return image
        return cv2.remap(image, *self._maps[view], interpolation=cv2.INTER_LINEAR)

    def points(self, view: int, points_px: np.ndarray) -> np.ndarray:
        """Points found in the pictures of `images` to rectified pixels. points_px: (..., 2) -> (..., 2).

        NaN stays NaN; so become points whose ray has no place on the common image plane.
        """
        return np.asarray(points_px, np.float64) if self.mode == "images" else self.rectified_px(view, points_px)

    def rectified_px(self, view: int, points_px: np.ndarray) -> np.ndarray:
        """Pixels of the recorded picture to rectified pixels, whatever the mode. (..., 2) -> (..., 2)."""
        rays = self._cameras[view].rays_from_px(points_px)
        return _rectify_rays(rays, self._rotations[view]) * self.rig.focal_px + self.rig.centres_px[view]

    def recorded_px(self, view: int, points_px: np.ndarray) -> np.ndarray:
        """Pixels of the pictures of `images` to pixels of the pictures as recorded. (..., 2) -> (..., 2)."""
        if self.mode == "points":
            return np.asarray(points_px, np.float64)
        rays = (points_px - self.rig.centres_px[view]) / self.rig.focal_px
        homogeneous = np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1)
        return self._cameras[view].px_from_camera(homogeneous @ self._rotations[view].T)

    def picture_px(self, view: int, points_m: np.ndarray) -> np.ndarray:
        """Where points of the rectified frame appear in the pictures of `images`. (..., 3) m -> (..., 2) px.

        Points behind the camera and NaN give NaN.
        """
        offset_m = np.array([self.rig.baseline_m * view, 0.0, 0.0])
        if self.mode == "points":
            return self._cameras[view].px_from_camera((points_m - offset_m) @ self._rotations[view].T)
        x, y, depth = np.moveaxis(points_m - offset_m, -1, 0)
        depth = np.where(depth > 1e-6, depth, np.nan)
        rays = np.stack([x / depth, y / depth], axis=-1)
        return rays * self.rig.focal_px + self.rig.centres_px[view]
