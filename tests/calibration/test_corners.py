"""Corners found in painted pictures, where every corner's place is known, and in real ones."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from binopose.calibration.boards import Board
from binopose.calibration.corners import find_corners, find_in_files, read_image, size_seen

from .rig_simulation import BoardPainter, make_rig, simulate

SIZE = (640, 480)


@pytest.fixture(scope="module")
def painted() -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures of a board with lens distortion, blur and noise, and where its corners truly are."""
    rig, board = make_rig(0.1, 4, "pinhole", SIZE), Board(9, 6, 0.025)
    painter = BoardPainter(rig.left)
    scene = simulate(rig, board, 4, 0.0, seed=5)
    return [
        (painter.paint(pose, board, blur_px=0.8, noise=4.0, seed=k), scene.corners.left_px[k])
        for k, pose in enumerate(scene.poses)
    ]


def test_corners_are_found_to_a_tenth_of_a_pixel_in_board_order(painted: list[tuple[np.ndarray, np.ndarray]]) -> None:
    orders = set()
    for picture, expected in painted:
        found = find_corners(picture, Board(9, 6, 0.025))
        assert found is not None
        # One even and one odd count: the colours say which corner is first, the same one in every picture.
        turned = bool(np.linalg.norm(found[0] - expected[0]) > 10)
        orders.add(turned)
        errors = np.linalg.norm((found[::-1] if turned else found) - expected, axis=1)
        assert errors.max() < 0.25
        assert np.sqrt((errors**2).mean()) < 0.1
    assert len(orders) == 1


def test_the_order_follows_the_board_when_the_picture_is_turned(painted: list[tuple[np.ndarray, np.ndarray]]) -> None:
    picture = painted[0][0]
    height, width = picture.shape
    upright, turned = (
        find_corners(image, Board(9, 6, 0.025)) for image in (picture, cv2.rotate(picture, cv2.ROTATE_180))
    )
    assert upright is not None
    assert turned is not None
    np.testing.assert_allclose([width - 1, height - 1] - turned, upright, atol=0.1)


def test_a_large_picture_is_searched_small_and_refined_large(painted: list[tuple[np.ndarray, np.ndarray]]) -> None:
    picture, expected = painted[1]
    large = cv2.resize(picture, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    found = find_corners(large, Board(9, 6, 0.025))
    assert found is not None
    expected = (expected + 0.5) * 4 - 0.5
    found = found[::-1] if np.linalg.norm(found[0] - expected[0]) > 40 else found
    assert np.linalg.norm(found - expected, axis=1).max() < 1.0


def test_no_board_no_corners_and_unreadable_files_are_told_apart(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (240, 320)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "noise.png"), grey)
    (tmp_path / "broken.png").write_bytes(b"this is no picture")
    noise, broken = find_in_files([tmp_path / "noise.png", tmp_path / "broken.png"], Board(9, 6, 0.025))
    assert (noise.size_px, noise.corners_px) == ((320, 240), None)
    assert broken.size_px is None
    assert read_image(tmp_path / "missing.png") is None


def test_the_size_of_a_board_is_seen(painted: list[tuple[np.ndarray, np.ndarray]]) -> None:
    assert size_seen(painted[0][0]) == (9, 6)


def test_every_real_board_is_found(shared_data: Path) -> None:
    folder = shared_data / "stereo" / "opencv-samples-checkerboard"
    done = []
    views = find_in_files(sorted(folder.glob("*.jpg")), Board(9, 6, 0.025), lambda: done.append(1))
    assert len(views) == len(done) == 26
    assert [view.path.name for view in views if view.corners_px is None] == []
