"""Where in a picture to look: a rotated rectangle, the crop taken from it, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

# A region whose middle is further outside the picture than this part of its size shows nothing useful.
MAX_OUTSIDE = 0.25
MIN_REGION_PX = 24.0
MAX_REGION_PICTURES = 4.0


@dataclass(frozen=True)
class Region:
    """A rectangle of the picture that a network looks at.

    centre_px: (x, y); size_px: (width, height); rotation_rad: how far the rectangle is turned clockwise as seen on
    the screen, 0 when upright. Pixels have their centre at integers, the first at (0, 0).
    """

    centre_px: tuple[float, float]
    size_px: tuple[float, float]
    rotation_rad: float = 0.0

    @cached_property
    def axes(self) -> np.ndarray:
        """The rectangle's own right and down as columns, in picture coordinates, (2, 2)."""
        c, s = np.cos(self.rotation_rad), np.sin(self.rotation_rad)
        return np.array([[c, -s], [s, c]])

    @property
    def top_px(self) -> np.ndarray:
        """Middle of the upper edge, (2,): with the centre it tells place, size and direction."""
        return np.asarray(self.centre_px) - self.axes[:, 1] * self.size_px[1] / 2

    def is_usable_in(self, picture: np.ndarray) -> bool:
        """Whether the region has a sensible size and still shows the picture. picture: (H, W, 3)."""
        picture_size, size, centre = (np.asarray(v) for v in (picture.shape[1::-1], self.size_px, self.centre_px))
        if not np.isfinite(centre).all() or not MIN_REGION_PX <= size.max() <= MAX_REGION_PICTURES * picture_size.max():
            return False
        slack = MAX_OUTSIDE * size
        return bool(((centre >= -slack) & (centre <= picture_size + slack)).all())

    def picture_from_crop(self, crop_size_px: tuple[int, int]) -> np.ndarray:
        """Affine map from pixels of a crop (width, height) to pixels of the picture, (2, 3)."""
        scale = np.asarray(self.size_px) / crop_size_px
        linear = self.axes * scale
        # The centre goes to pixel (w / 2, h / 2), not to the middle (w - 1) / 2 of the pixels: so MediaPipe and MMPose
        # cut the crops their networks were trained on, and so they read the answers.
        middle = np.asarray(crop_size_px, dtype=np.float64) / 2
        return np.column_stack([linear, np.asarray(self.centre_px) - linear @ middle])

    def crop(self, picture: np.ndarray, crop_size_px: tuple[int, int], border: int) -> np.ndarray:
        """What the rectangle shows, resampled once. (H, W, 3) uint8 -> (height, width, 3) uint8.

        border: the cv2 border mode for what lies outside the picture.
        """
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(
            picture, self.picture_from_crop(crop_size_px), crop_size_px, flags=flags, borderMode=border
        )

    def to_picture(self, points_crop_px: np.ndarray, crop_size_px: tuple[int, int]) -> np.ndarray:
        """Points of the crop to points of the picture. (..., 2) -> (..., 2)."""
        affine = self.picture_from_crop(crop_size_px)
        return points_crop_px @ affine[:, :2].T + affine[:, 2]
