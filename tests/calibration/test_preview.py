"""The rectified preview: what belongs together lies on one line."""

import numpy as np
import pytest
from binopose.calibration.boards import Board
from binopose.calibration.corners import find_corners
from binopose.calibration.preview import GAP_PX, LINES, rectified_preview, rectified_side_by_side
from binopose.calibration.rig import RigError, RigidTransform, StereoRig

from .rig_simulation import BoardPainter, make_rig, simulate

BOARD = Board(7, 4, 0.03)


def paint(rig: StereoRig, pose: RigidTransform) -> list[np.ndarray]:
    return [
        BoardPainter(camera).paint(place, BOARD, noise=0.5)
        for camera, place in ((rig.left, pose), (rig.right, rig.right_from_left @ pose))
    ]


@pytest.mark.parametrize(("lens", "convergence_deg"), [("pinhole", 2), ("pinhole", 30), ("fisheye", 8)])
def test_corners_of_both_halves_share_their_rows(lens: str, convergence_deg: float) -> None:
    rig = make_rig(0.1, convergence_deg, lens, (480, 360))
    pose = simulate(rig, BOARD, 1, 0.0, seed=2).poses[0]
    images = paint(rig, pose)
    preview = rectified_side_by_side(rig, *images, width_px=1200)
    assert preview.shape[1] == 1200
    half = (1200 - GAP_PX) // 2
    left, right = (find_corners(part, BOARD) for part in (preview[:, :half], preview[:, 1200 - half :]))
    assert left is not None
    assert right is not None
    assert np.abs(left[:, 1] - right[:, 1]).max() < 1.5
    assert np.abs(left[:, 1] - right[:, 1]).mean() < 0.5
    drawn = (rectified_preview(rig, *images, width_px=1200) != preview).any(axis=2)
    assert (drawn.mean(axis=1) > 0.99).sum() == LINES


def test_exchanged_cameras_do_not_turn_the_pictures_upside_down() -> None:
    rig = make_rig(0.1, 2, "pinhole", (480, 360))
    pose = simulate(rig, BOARD, 1, 0.0, seed=2, tilt_deg=5).poses[0]
    left, right = paint(rig, pose)
    left[:60], right[:60] = 255, 255  # a bright ceiling
    exchanged = StereoRig(rig.right, rig.left, rig.right_from_left.inverse())
    preview = rectified_preview(exchanged, right, left)
    height = len(preview)
    assert preview[10 : height // 8].mean() > preview[-height // 8 : -10].mean() + 50


def test_pictures_of_another_size_are_refused() -> None:
    rig = make_rig(0.1, 2, "pinhole", (480, 360))
    with pytest.raises(RigError, match=r"the right picture is 240 x 180.*calibrated at 480 x 360"):
        rectified_preview(rig, np.zeros((360, 480), np.uint8), np.zeros((180, 240), np.uint8))
