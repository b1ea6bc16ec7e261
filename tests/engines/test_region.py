"""Crops and the way back, checked by where the light lies in them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from binopose.engines.detectors.region import Region

SPOT_PX = (211.3, 148.8)


def picture_with_spot(width: int = 400, height: int = 300) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    light = 250 * np.exp(-((x - SPOT_PX[0]) ** 2 + (y - SPOT_PX[1]) ** 2) / (2 * 8.0**2))
    return np.repeat(light.round().astype(np.uint8)[..., None], 3, axis=2)


def middle_of_light_px(picture: np.ndarray) -> np.ndarray:
    light = picture[..., 0].astype(np.float64)
    y, x = np.mgrid[0 : light.shape[0], 0 : light.shape[1]]
    return np.array([(x * light).sum(), (y * light).sum()]) / light.sum()


@pytest.mark.parametrize("rotation_rad", [0.0, 0.4, -2.0])
@pytest.mark.parametrize(("size_px", "crop_size_px"), [((160, 160), (256, 256)), ((150, 200), (192, 256))])
def test_spot_in_the_crop_is_found_where_it_is_in_the_picture(
    rotation_rad: float, size_px: tuple[int, int], crop_size_px: tuple[int, int]
) -> None:
    region = Region((200.0, 160.0), size_px, rotation_rad)
    crop = region.crop(picture_with_spot(), crop_size_px, cv2.BORDER_CONSTANT)
    assert crop.shape == (crop_size_px[1], crop_size_px[0], 3)
    np.testing.assert_allclose(region.to_picture(middle_of_light_px(crop), crop_size_px), SPOT_PX, atol=0.05)


def test_turned_region_shows_the_picture_upright() -> None:
    # A spot to the right of the centre appears above it when the region's top points right.
    region = Region((SPOT_PX[0] - 40, SPOT_PX[1]), (160, 160), np.pi / 2)
    x, y = middle_of_light_px(region.crop(picture_with_spot(), (160, 160), cv2.BORDER_CONSTANT))
    assert (x, y) == pytest.approx((80, 40), abs=0.1)
    np.testing.assert_allclose(region.top_px, [SPOT_PX[0] + 40, SPOT_PX[1]])


@pytest.mark.parametrize(
    ("region", "usable"),
    [
        (Region((200, 150), (200, 200)), True),
        (Region((-40, 150), (200, 200)), True),
        (Region((-60, 150), (200, 200)), False),
        (Region((200, 360), (200, 200)), False),
        (Region((200, 150), (20, 20)), False),
        (Region((200, 150), (1700, 1700)), False),
        (Region((float("nan"), 150), (200, 200)), False),
        (Region((200, 150), (float("nan"), float("nan"))), False),
    ],
)
def test_region_beyond_the_picture_or_of_absurd_size_is_of_no_use(region: Region, usable: bool) -> None:
    assert region.is_usable_in(picture_with_spot()) is usable
