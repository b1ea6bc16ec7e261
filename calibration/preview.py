"""Two rectified pictures side by side with lines across: what belongs together must lie on one line."""

from __future__ import annotations

import cv2
import numpy as np

from .rectify import Rectifier
from .rig import RigError, StereoRig

LINES = 16
GAP_PX = 6
LINE_COLOURS = ((80, 220, 80), (80, 180, 255), (255, 160, 60))


def rectified_preview(rig: StereoRig, left_image: np.ndarray, right_image: np.ndarray, width_px: int = 1600) -> np.ndarray:
    """Both pictures rectified, side by side, with horizontal lines. (H, W, 3) uint8 each -> one (h, width_px, 3).

    Rectified as images even where the program would turn the points only: this is for looking at. Raises RigError when
    the pictures are of another size than the rig's cameras.
    """
    for name, image, camera in (("left", left_image, rig.left), ("right", right_image, rig.right)):
        size = (image.shape[1], image.shape[0])
        if size != camera.size_px:
            raise RigError(
                f"the {name} picture is {size[0]} x {size[1]}, the {name} camera of the rig was calibrated at "
                f"{camera.size_px[0]} x {camera.size_px[1]}; give a picture of that size"
            )
    views = [_colour(view) for view in Rectifier(rig, mode="images").images(left_image, right_image)]
    half = (width_px - GAP_PX) // 2
    height = round(half * views[0].shape[0] / views[0].shape[1])
    small = [cv2.resize(view, (half, height), interpolation=cv2.INTER_AREA) for view in views]
    canvas = np.full((height, width_px, 3), 255, dtype=np.uint8)
    canvas[:, :half], canvas[:, width_px - half :] = small
    for number, row in enumerate(np.linspace(0, height - 1, LINES + 2)[1:-1].round().astype(int)):
        cv2.line(canvas, (0, int(row)), (width_px - 1, int(row)), LINE_COLOURS[number % len(LINE_COLOURS)], 1)
    return canvas


def _colour(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
