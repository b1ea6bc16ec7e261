"""The person detector: decoding by hand-worked numbers, the network against MediaPipe's own answer."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from binopose.engines.detectors.person import (
    BlazePosePersonDetector,
    anchor_centres,
    body_region,
    merge_overlapping,
    part_squares,
    whole_square,
)

REFERENCE = json.loads((Path(__file__).parent / "mediapipe_landmarks.json").read_text())


def test_anchors_are_those_of_the_network() -> None:
    anchors = anchor_centres()
    # 2 anchors in 28 x 28 cells and in 14 x 14, 6 in 7 x 7
    assert len(anchors) == 2 * 28 * 28 + 2 * 14 * 14 + 6 * 7 * 7 == 2254
    np.testing.assert_allclose(anchors[[0, 1, 2]], [[0.5 / 28, 0.5 / 28]] * 2 + [[1.5 / 28, 0.5 / 28]])
    np.testing.assert_allclose(
        anchors[[1567, 1568, 1960, 2253]], [[27.5 / 28] * 2, [0.5 / 14] * 2, [0.5 / 7] * 2, [6.5 / 7] * 2]
    )


def test_overlapping_boxes_are_averaged_by_score() -> None:
    boxes = np.array([[0, 0, 2, 2], [0.5, 0, 2.5, 2], [10, 10, 12, 12], [1.9, 1.9, 4, 4]], dtype=float)
    points = np.array([[[1.0, 1.0]], [[2.0, 1.0]], [[11.0, 11.0]], [[3.0, 3.0]]])
    people = merge_overlapping(boxes, points, np.array([0.6, 0.9, 0.7, 0.5]))
    # first two: overlap 3 / 5; the last touches the first by 0.01 only
    assert [score for _, score in people] == [0.9, 0.7, 0.5]
    np.testing.assert_allclose(people[0][0], [[(0.6 * 1 + 0.9 * 2) / 1.5, 1.0]])
    np.testing.assert_allclose(people[1][0], [[11.0, 11.0]])


@pytest.mark.parametrize(("top_px", "rotation_rad"), [((50, 20), 0.0), ((80, 50), np.pi / 2), ((20, 50), -np.pi / 2)])
def test_region_stands_around_the_hips_with_the_head_up(top_px: tuple[int, int], rotation_rad: float) -> None:
    region = body_region(np.array([50.0, 50.0]), np.array(top_px, dtype=float))
    assert region.centre_px == (50, 50)
    assert region.size_px == pytest.approx((2 * 30 * 1.25, 2 * 30 * 1.25))
    assert region.rotation_rad == pytest.approx(rotation_rad)


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (640, 480), (1080, 1920), (500, 500)])
def test_squares_cover_the_picture(width: int, height: int) -> None:
    seen = np.zeros((height, width), dtype=int)
    for square in part_squares(width, height):
        (x, y), (side, _) = square.centre_px, square.size_px
        assert side == min(width, height)
        assert min(x, y, width - x, height - y) >= side / 2 - 1e-6
        seen[round(y - side / 2) : round(y + side / 2), round(x - side / 2) : round(x + side / 2)] += 1
    assert seen.min() == (0 if width == height else 1)
    whole = whole_square(width, height)
    assert whole.size_px == (max(width, height),) * 2


@pytest.mark.parametrize("known", REFERENCE["pictures"], ids=lambda known: f"{known['video']}-{known['index']}")
def test_region_is_mediapipes(known: dict, shared_data: Path, blazepose_weights: Path) -> None:
    capture = cv2.VideoCapture(str(shared_data / known["video"]))
    picture = [capture.read()[1] for _ in range(known["index"] + 1)][-1]
    body = BlazePosePersonDetector(blazepose_weights / "pose_detection.tflite").find(0, picture)[0].body
    x, y, side, rotation_rad = known["region"]
    assert body.centre_px == pytest.approx((x, y), abs=1.5)
    assert body.size_px == pytest.approx((side, side), rel=0.002)
    assert body.rotation_rad == pytest.approx(rotation_rad, abs=0.005)
