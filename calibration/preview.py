"""Two rectified pictures side by side with lines across: what belongs together must lie on one line."""

from __future__ import annotations

import cv2
import numpy as np

from .rectify import rectifying_rotations
from .rig import Camera, RigError, StereoRig

LINES = 16
GAP_PX = 6
LINE_COLOURS = ((80, 220, 80), (80, 180, 255), (255, 160, 60))
# Directions further from the rectified axis are left out of the preview: a flat picture stretches them without end.
MAX_ANGLE_RAD = np.deg2rad(55)


def rectified_preview(
    rig: StereoRig, left_image: np.ndarray, right_image: np.ndarray, width_px: int = 1600
) -> np.ndarray:
    """Both pictures rectified, side by side, with horizontal lines. (H, W[, 3]) uint8 each -> one (h, width_px, 3).

    Raises RigError when the pictures are of another size than the rig's cameras.
    """
    canvas = rectified_side_by_side(rig, left_image, right_image, width_px)
    rows = np.linspace(0, len(canvas) - 1, LINES + 2)[1:-1].round().astype(int).tolist()
    for number, row in enumerate(rows):
        cv2.line(canvas, (0, row), (width_px - 1, row), LINE_COLOURS[number % len(LINE_COLOURS)], 1)
    return canvas


def rectified_side_by_side(
    rig: StereoRig, left_image: np.ndarray, right_image: np.ndarray, width_px: int = 1600
) -> np.ndarray:
    """Both pictures rectified, side by side with a gap of `GAP_PX`. (H, W[, 3]) uint8 each -> one (h, width_px, 3).

    Made for looking at: zoomed so that all of both pictures shows, each view centred on its own, whatever the program
    itself does with this rig. Raises RigError when the pictures are of another size than the rig's cameras.
    """
    images, cameras = (left_image, right_image), (rig.left, rig.right)
    for name, image, camera in zip(("left", "right"), images, cameras, strict=True):
        size = (image.shape[1], image.shape[0])
        if size != camera.size_px:
            raise RigError(
                f"the {name} picture is {size[0]} x {size[1]}, the {name} camera of the rig was calibrated at "
                f"{camera.size_px[0]} x {camera.size_px[1]}; give a picture of that size"
            )
    rotations = rectifying_rotations(rig)
    # The rectified x axis points to the right camera: with the cameras' names exchanged the pictures stand on their
    # heads.
    upside_down = rotations[0][1, 1] < 0
    seen = [_rectified_extent(camera, rotation) for camera, rotation in zip(cameras, rotations, strict=True)]
    top, bottom = min(low[1] for low, _ in seen), max(high[1] for _, high in seen)
    wide = max(high[0] - low[0] for low, high in seen)
    half = (width_px - GAP_PX) // 2
    focal = half / wide
    height = max(round(focal * (bottom - top)), 16)
    canvas = np.full((height, width_px, 3), 255, dtype=np.uint8)
    for number, (image, camera, rotation, (low, high)) in enumerate(zip(images, cameras, rotations, seen, strict=True)):
        matrix = np.array([
            [focal, 0, (half - 1) / 2 - focal * (low[0] + high[0]) / 2],
            [0, focal, (height - 1) / 2 - focal * (top + bottom) / 2],
            [0, 0, 1],
        ])  # fmt: skip
        build = cv2.fisheye.initUndistortRectifyMap if camera.model == "fisheye" else cv2.initUndistortRectifyMap
        maps = build(camera.matrix, camera.distortion, rotation.T, matrix, (half, height), cv2.CV_16SC2)
        start = number * (width_px - half)
        colour = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
        view = cv2.remap(colour, *maps, interpolation=cv2.INTER_LINEAR)
        canvas[:, start : start + half] = view[::-1, ::-1] if upside_down else view
    return canvas


def _rectified_extent(camera: Camera, camera_from_rectified: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest rectified normalised coordinates of what a camera sees, (2,) each, wide rays left out."""
    width, height = camera.size_px
    x, y = np.meshgrid(np.linspace(0, width - 1, 25), np.linspace(0, height - 1, 25))
    rays = camera.rays_from_px(np.stack([x.ravel(), y.ravel()], axis=1))
    rays = np.concatenate([rays, np.ones((len(rays), 1))], axis=1)[np.isfinite(rays).all(axis=1)]
    turned = rays @ camera_from_rectified
    turned = turned[turned[:, 2] > np.cos(MAX_ANGLE_RAD) * np.linalg.norm(turned, axis=1)]
    if not len(turned):
        raise RigError("the rectified views would show nothing: the cameras look along the line between them")
    flat = turned[:, :2] / turned[:, 2:]
    return flat.min(axis=0), flat.max(axis=0)
