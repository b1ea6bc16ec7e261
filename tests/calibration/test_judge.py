"""Verdicts on simulated recordings whose fault is known, and the numbers they rest on."""

from dataclasses import replace

import numpy as np
import pytest
from binopose.calibration.boards import Board
from binopose.calibration.from_pictures import assess
from binopose.calibration.judge import Judgement, Reason, judge, judge_sizes
from binopose.calibration.lens import LensName
from binopose.calibration.measure import epipolar_px, measure, triangulate_px
from binopose.calibration.rig import StereoRig
from binopose.calibration.solve import PairCorners, solve_rig

from .rig_simulation import Scene, make_rig, simulate

BOARD = Board(8, 5, 0.04)


def scene_of(pairs: int = 14, noise_px: float = 0.1, tilt_deg: float = 40.0, seed: int = 21) -> Scene:
    return simulate(make_rig(0.2, 5), BOARD, pairs, noise_px, seed, tilt_deg=tilt_deg)


def verdict_of(corners: PairCorners) -> tuple[str, str]:
    judgement = assess(corners, "radial2")[3]
    return judgement.verdict, " | ".join(reason.sentence() for reason in judgement.reasons)


def test_a_good_recording_is_good() -> None:
    verdict, reasons = verdict_of(scene_of(20).corners)
    assert verdict == "good", reasons
    assert "20 pairs agree to" in reasons


def test_few_pairs_are_refused_and_named() -> None:
    verdict, reasons = verdict_of(scene_of(5).corners)
    assert verdict == "refused"
    assert "only 5 usable pairs, at least 6 are needed" in reasons


def test_parallel_views_are_refused() -> None:
    verdict, reasons = verdict_of(scene_of(12, tilt_deg=0.5).corners)
    assert verdict == "refused"
    assert "nearly parallel in all views" in reasons
    assert "30 to 45 degrees" in reasons


def test_a_loose_baseline_is_said_to_be_loose() -> None:
    found, _, measures, _ = assess(scene_of(20).corners, "radial2")
    assert found is not None
    assert measures is not None
    loose = replace(measures, uncertainty=replace(measures.uncertainty, baseline_m=0.004))
    judgement = judge(found, loose)
    assert judgement.verdict == "usable"
    assert "the baseline is loose: 200.0 mm, sure only to 4.0 mm (2.0 %)" in judgement.reasons[0].what
    hopeless = replace(measures, uncertainty=replace(measures.uncertainty, baseline_m=0.04))
    assert judge(found, hopeless).verdict == "refused"


def test_views_that_do_not_belong_together_are_refused_for_that_reason() -> None:
    scene = scene_of(12)
    shifted = replace(scene.corners, right_px=np.roll(scene.corners.right_px, 1, axis=0))
    verdict, reasons = verdict_of(shifted)
    assert verdict == "refused"
    assert "do not fit together" in reasons
    assert "synchronisation" in reasons


def test_exchanged_cameras_are_noticed() -> None:
    corners = scene_of().corners
    exchanged = replace(corners, left_px=corners.right_px, right_px=corners.left_px)
    verdict, reasons = verdict_of(exchanged)
    assert verdict == "usable"
    assert "stands on the left" in reasons


@pytest.mark.parametrize("factor", [0.001, 0.1, 10.0, 1000.0])
def test_a_square_in_the_wrong_unit_is_asked_about(factor: float) -> None:
    corners = scene_of().corners
    wrong = replace(corners, board=Board(8, 5, 0.04 * factor))
    judgement = assess(wrong, "radial2")[3]
    assert judgement.verdict == "refused"
    assert "is the square size right?" in judgement.reasons[0].sentence()
    assert "--confirm-size" in judgement.reasons[0].sentence()
    if factor in (0.1, 10.0):
        assert assess(wrong, "radial2", size_confirmed=True)[3].verdict == "good"


def test_ordinary_sizes_raise_no_question() -> None:
    assert judge_sizes(Board(9, 6, 0.025), 0.08) == []
    assert judge_sizes(Board(5, 4, 0.2), 3.0) == []


def test_the_verdict_is_the_worst_reason() -> None:
    good, usable, refused = (Reason(severity, "x") for severity in ("good", "usable", "refused"))  # type: ignore[arg-type]
    assert Judgement((good,)).verdict == "good"
    assert Judgement((good, usable)).verdict == "usable"
    assert Judgement((usable, refused, good)).verdict == "refused"


def test_triangulation_gives_back_the_boards() -> None:
    scene = scene_of(3, noise_px=0.0)
    points_m = triangulate_px(scene.rig, scene.corners.left_px, scene.corners.right_px)
    expected = np.stack([pose.apply(BOARD.points_m) for pose in scene.poses])
    np.testing.assert_allclose(points_m, expected, atol=1e-6)


def test_board_lengths_in_a_rig_of_wrong_baseline_are_off_by_as_much() -> None:
    scene = scene_of()
    found = solve_rig(scene.corners, "radial2", "radial2")
    rig = found.rig
    wider = replace(rig.right_from_left, translation_m=rig.right_from_left.translation_m * 1.03)
    measured = measure(found, StereoRig(rig.left, rig.right, wider))
    assert measured.boards.scale == pytest.approx(1.03, abs=2e-3)
    assert measure(found, rig).boards.scale == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("lens", ["pinhole", "fisheye"])
def test_epipolar_distance_is_what_the_corners_were_moved_by(lens: str) -> None:
    # Cameras side by side without any turn: the epipolar lines are the rows, undistorted.
    rig = make_rig(0.2, 0, lens)
    told: LensName = "fisheye" if lens == "fisheye" else "radial2"
    found = solve_rig(simulate(rig, BOARD, 10, 0.0, seed=4).corners, told, told)
    assert epipolar_px(found, found.rig).max() < 1e-3
    noisy = solve_rig(simulate(rig, BOARD, 10, 0.2, seed=4).corners, told, told)
    # Each picture's distance holds the noise of both: sqrt(2) 0.2 px, mean of a folded Gaussian sqrt(2 / pi) of that.
    assert epipolar_px(noisy, noisy.rig).mean() == pytest.approx(np.sqrt(2 / np.pi) * np.sqrt(2) * 0.2, rel=0.15)


def test_depth_error_grows_with_the_square_of_the_distance() -> None:
    found = solve_rig(scene_of().corners, "radial2", "radial2")
    rig = found.rig
    by_depth = {error.depth_m: error for error in measure(found, rig).depth_errors}
    focal, baseline_m = rig.left.matrix[0, 0], rig.baseline_m
    for depth_m in (2.0, 3.0, 5.0):
        per_pixel = by_depth[depth_m].per_pixel_m
        # A disparity of two coordinates with one pixel of noise each.
        assert per_pixel == pytest.approx(np.sqrt(2) * depth_m**2 / (focal * baseline_m), rel=0.06)
        assert by_depth[depth_m].calibration_m is not None
