"""BlazePose without MediaPipe, against MediaPipe."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from binopose.calibration.errors import UserError
from binopose.engines.detectors.blazepose import (
    INPUT_PX,
    LABEL_SHIFT_PX,
    LANDMARK_FILE,
    PERSON_FILE,
    BlazePoseNetwork,
    refine_by_heatmap,
)
from binopose.engines.detectors.litert import LiteRtNetwork
from binopose.engines.detectors.person import BlazePosePersonDetector
from binopose.engines.detectors.region import Region
from binopose.models.skeleton import BLAZEPOSE33

REFERENCE = json.loads((Path(__file__).parent / "mediapipe_landmarks.json").read_text())


def refined_by_loops(points_px: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """The same as a plain walk over the cells."""
    height, width, count = logits.shape
    refined = points_px.copy()
    for landmark in range(count):
        column, row = (int(v // (INPUT_PX / width)) for v in points_px[landmark])
        if not (0 <= column < width and 0 <= row < height):
            continue
        weights, columns, rows = [], [], []
        for y in range(max(0, row - 4), min(height, row + 5)):
            for x in range(max(0, column - 4), min(width, column + 5)):
                weights.append(1 / (1 + np.exp(-float(logits[y, x, landmark]))))
                columns.append(x)
                rows.append(y)
        if max(weights) >= 0.5:
            refined[landmark] = np.average([columns, rows], axis=1, weights=weights) * INPUT_PX / width
    return refined


def test_refinement_is_the_centre_of_mass_around_the_landmark() -> None:
    random = np.random.default_rng(1)
    points_px = random.uniform(-20, INPUT_PX + 20, (60, 2))  # some beyond the edges
    logits = random.normal(-4, 2, (64, 64, 60)).astype(np.float32)
    logits[..., ::3] -= 8  # a third of the maps is nowhere confident
    expected = refined_by_loops(points_px, logits)
    assert 0.2 < np.isclose(expected, points_px).all(axis=1).mean() < 0.8
    np.testing.assert_allclose(refine_by_heatmap(points_px, logits), expected, atol=1e-9)


def pictures(video: Path, count: int, step: int = 1) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(video))
    read = [capture.read()[1] for _ in range(count * step)]
    return read[::step]


@pytest.mark.parametrize("known", REFERENCE["pictures"], ids=lambda known: f"{known['video']}-{known['index']}")
def test_landmarks_are_mediapipes(known: dict, shared_data: Path, blazepose_weights: Path) -> None:
    network = BlazePoseNetwork(blazepose_weights / LANDMARK_FILE)
    picture = pictures(shared_data / known["video"], known["index"] + 1)[-1]
    x, y, side, rotation_rad = known["region"]
    region = Region((x, y), (side, side), rotation_rad)
    reading = network.read(0, picture, region)
    network.close()
    expected = np.array(known["landmarks"])
    shift_px = region.axes @ [1, 1] * LABEL_SHIFT_PX * side / INPUT_PX
    distances_px = np.hypot(*(reading.pose.points_px + shift_px - expected[:, :2]).T)
    assert np.median(distances_px) < 0.3
    assert np.percentile(distances_px, 95) < 1.0
    assert reading.presence > 0.9
    # Confidence is visibility times presence, and all joints of these pictures are in the region.
    np.testing.assert_allclose(reading.pose.confidence, expected[:, 2], atol=0.02)
    assert reading.body is not None
    if known["next_region"] is None:  # after the first picture MediaPipe smooths it over time
        return
    x, y, side, rotation_rad = known["next_region"]
    assert reading.body.centre_px == pytest.approx((x, y), abs=0.5)
    assert reading.body.size_px == pytest.approx((side, side), rel=0.002)
    assert reading.body.rotation_rad == pytest.approx(rotation_rad, abs=0.001)


def test_mirrored_picture_gives_the_mirrored_pose(shared_data: Path, blazepose_weights: Path) -> None:
    """Also shows that half a crop pixel has to be taken off: without it the shift is 0.5 and more."""
    network = BlazePoseNetwork(blazepose_weights / LANDMARK_FILE)
    person_detector = BlazePosePersonDetector(blazepose_weights / PERSON_FILE)
    shifts_crop_px = []
    for name in ("single-person/videos/cam01", "single-person/videos/cam02", "two-people/videos/cam01"):
        for picture in pictures(shared_data / "stereo" / f"pose2sim-{name}.mp4", 8, step=10):
            width = picture.shape[1]
            region = person_detector.find(0, picture)[0].body
            mirrored = Region(
                (width - 1 - region.centre_px[0], region.centre_px[1]), region.size_px, -region.rotation_rad
            )
            pose = network.read(0, picture, region).pose
            other = network.read(1, np.ascontiguousarray(picture[:, ::-1]), mirrored).pose
            points_px = other.points_px[BLAZEPOSE33.mirror] * [-1, 1] + [width - 1, 0]
            along_crop = (pose.points_px - points_px) @ region.axes[:, 0] / region.size_px[0] * INPUT_PX
            seen = np.minimum(pose.confidence, other.confidence[BLAZEPOSE33.mirror]) > 0.8
            shifts_crop_px.append(along_crop[seen] / 2)
    network.close()
    assert abs(np.median(np.concatenate(shifts_crop_px))) < 0.25


def test_missing_runtime_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(UserError, match="pip install ai-edge-litert"):
        LiteRtNetwork(tmp_path / "any.tflite")


def test_file_that_is_no_network_is_named(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    (tmp_path / "torn.tflite").write_bytes(b"TFL3" * 100)
    with pytest.raises(UserError, match=r"torn\.tflite: expected a TensorFlow Lite network"):
        LiteRtNetwork(tmp_path / "torn.tflite")


def test_other_network_is_refused(blazepose_weights: Path) -> None:
    with pytest.raises(UserError, match=r"expected input \(1, 256, 256, 3\)"):
        BlazePoseNetwork(blazepose_weights / PERSON_FILE)
