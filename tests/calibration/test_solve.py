"""The solver against known rigs, against scipy, and against the ways recordings go wrong."""

from dataclasses import replace

import numpy as np
import pytest
from binopose.calibration.boards import Board
from binopose.calibration.bundle import exp_so3, moved, refine, residuals_px, shared_slices
from binopose.calibration.one_camera import CalibrationError
from binopose.calibration.robust import HUBER_SIGMAS
from binopose.calibration.solve import RigFit, solve_rig
from binopose.calibration.uncertainty import estimate_uncertainty, left_out_steps, rotation_angle_rad
from scipy.optimize import least_squares

from .rig_simulation import Scene, make_rig, simulate


def errors(found: RigFit, scene: Scene) -> tuple[float, float]:
    """Relative baseline error and rotation error in degrees."""
    turn = found.robust.fit.rotation @ scene.rig.right_from_left.rotation.T
    return abs(found.baseline_m / scene.rig.baseline_m - 1), np.rad2deg(rotation_angle_rad(turn))


def shift_turn(vector: np.ndarray) -> np.ndarray:
    return exp_so3(np.asarray(vector, dtype=float))


def test_without_noise_the_truth_comes_back() -> None:
    scene = simulate(make_rig(0.3, 12), Board(7, 5, 0.05), 8, 0.0, seed=1)
    found = solve_rig(scene.corners, "radial2", "radial2")
    baseline, rotation_deg = errors(found, scene)
    assert baseline < 1e-7
    assert rotation_deg < 1e-5
    for fitted, camera in zip(found.robust.fit.intrinsics, (scene.rig.left, scene.rig.right), strict=True):
        np.testing.assert_allclose(fitted[:2], camera.matrix[[0, 1], [0, 1]], rtol=1e-6)
        np.testing.assert_allclose(fitted[4:], camera.distortion[:4], atol=1e-5)
    assert found.robust.converged


@pytest.mark.parametrize(
    ("baseline_m", "convergence_deg", "lens"),
    [(0.06, 0, "pinhole"), (0.5, 20, "pinhole"), (3.0, 45, "pinhole"), (0.2, 10, "fisheye"), (3.0, 45, "fisheye")],
)
def test_rigs_of_all_kinds_come_back_from_noisy_corners_with_gross_ones(
    baseline_m: float, convergence_deg: float, lens: str
) -> None:
    board = Board(9, 6, max(0.03, 0.12 * baseline_m))
    scene = simulate(make_rig(baseline_m, convergence_deg, lens), board, 24, 0.1, seed=7, gross=0.02)
    found = solve_rig(scene.corners)
    baseline, rotation_deg = errors(found, scene)
    assert baseline < 0.002
    assert rotation_deg < 0.05
    assert {lens == "fisheye"} == {name == "fisheye" for name in found.robust.fit.lenses}
    assert not found.misfits.any()


def test_exactly_the_wrong_corners_are_left_out() -> None:
    scene = simulate(make_rig(0.2, 5), Board(8, 5, 0.04), 10, 0.1, seed=3)
    corners = scene.corners
    corners.left_px[2, 7] += [8.0, 0.0]
    corners.left_px[2, 31] += [-5.0, 6.5]
    corners.right_px[5, 0] += [0.0, 3.0]
    found = solve_rig(corners)
    pairs = len(corners.left_px)
    assert np.argwhere(found.robust.wrong).tolist() == [[2, 7], [2, 31], [pairs + 5, 0]]
    assert found.used.all()
    baseline, _ = errors(found, scene)
    assert baseline < 0.002


def test_the_fit_is_the_one_scipy_finds() -> None:
    scene = simulate(make_rig(0.25, 8), Board(5, 4, 0.06), 5, 0.3, seed=11)
    robust = solve_rig(scene.corners, "radial2", "radial2").robust
    fit, seen = robust.fit, robust.seen
    limit = HUBER_SIGMAS * robust.sigma_px
    _, _, shared = shared_slices(fit)
    scales = np.concatenate([np.ones(4), np.full(4, 1e-3), np.ones(4), np.full(4, 1e-3), np.full(6, 1e-3)])

    def distances(step: np.ndarray) -> np.ndarray:
        at = moved(fit, step[:shared] * scales, step[shared:].reshape(-1, 6) * 1e-3)
        found = residuals_px(at, seen).reshape(-1, 2)
        found = found[np.isfinite(found[:, 0])]
        # Huber's loss of the corner distance as a sum of squares.
        length = np.linalg.norm(found, axis=1, keepdims=True)
        huber = np.where(length <= limit, length, np.sqrt(np.maximum(2 * limit * length - limit**2, 0)))
        return (found * huber / length).ravel()

    start = np.random.default_rng(0).normal(0, 0.1, shared + 6 * len(fit.pose_rotations))
    found = least_squares(distances, start, method="trf", x_scale="jac", max_nfev=10, xtol=1e-12, ftol=1e-12)
    assert found.cost >= 0.5 * (distances(0 * start) ** 2).sum() * (1 - 1e-9)
    ours, theirs = np.linalg.norm(fit.translation_m), np.linalg.norm(
        moved(fit, found.x[:shared] * scales, found.x[shared:].reshape(-1, 6) * 1e-3).translation_m
    )  # fmt: skip
    assert theirs == pytest.approx(ours, rel=1e-6)


def test_order_of_the_pairs_does_not_matter() -> None:
    scene = simulate(make_rig(0.2, 5), Board(6, 4, 0.05), 8, 0.2, seed=2, gross=0.02)
    shuffled = np.random.default_rng(1).permutation(8)
    corners = scene.corners
    other = replace(corners, left_px=corners.left_px[shuffled], right_px=corners.right_px[shuffled])
    first, second = (solve_rig(c, "radial2", "radial2").robust.fit for c in (corners, other))
    np.testing.assert_allclose(first.translation_m, second.translation_m, rtol=1e-6)
    np.testing.assert_allclose(first.intrinsics[0], second.intrinsics[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("columns", "rows"), [(6, 4), (7, 5), (6, 6)])
def test_corner_orders_that_look_the_same_are_put_right(columns: int, rows: int) -> None:
    board = Board(columns, rows, 0.05)
    scene = simulate(make_rig(0.18, 20), board, 9, 0.1, seed=6)
    turned = [1, 4, 5]
    for pair, order in zip(turned, [*board.turns()[1:], *board.turns()[1:], *board.turns()[1:]], strict=False):
        scene.corners.right_px[pair] = scene.corners.right_px[pair][order]
    found = solve_rig(scene.corners, "radial2", "radial2")
    assert np.flatnonzero(found.turned).tolist() == turned
    baseline, _ = errors(found, scene)
    assert baseline < 0.005
    assert found.used.all()


def test_a_pair_taken_at_two_moments_is_left_out() -> None:
    scene = simulate(make_rig(0.2, 5), Board(8, 5, 0.04), 10, 0.1, seed=8)
    # The board moved by half a square between the two exposures.
    late = replace(scene.poses[3], translation_m=scene.poses[3].translation_m + np.array([0.02, 0.01, 0]))
    in_right = scene.rig.right_from_left.apply(late.apply(scene.board.points_m))
    scene.corners.right_px[3] = scene.rig.right.px_from_camera(in_right)
    found = solve_rig(scene.corners)
    assert np.flatnonzero(found.misfits).tolist() == [3]
    assert not found.unsynchronised
    baseline, _ = errors(found, scene)
    assert baseline < 0.003


def test_boards_in_motion_are_recognised_as_unsynchronised() -> None:
    scene = simulate(make_rig(0.2, 5), Board(8, 5, 0.04), 10, 0.1, seed=9)
    rng = np.random.default_rng(2)
    for pair, pose in enumerate(scene.poses):
        late = replace(pose, translation_m=pose.translation_m + rng.normal(0, 0.006, 3))
        late = replace(late, rotation=shift_turn(rng.normal(0, 0.01, 3)) @ late.rotation)
        in_right = scene.rig.right_from_left.apply(late.apply(scene.board.points_m))
        scene.corners.right_px[pair] = scene.rig.right.px_from_camera(in_right) + rng.normal(0, 0.1, (40, 2))
    found = solve_rig(scene.corners)
    assert found.unsynchronised
    assert found.misfits.sum() >= 5


def test_pictures_of_one_camera_alone_sharpen_its_lens() -> None:
    rig, board = make_rig(0.2, 5), Board(8, 5, 0.04)
    scene, more = simulate(rig, board, 7, 0.3, seed=4), simulate(rig, board, 14, 0.3, seed=40)
    with_extra = replace(scene.corners, left_extra_px=more.corners.left_px)
    without, with_ = (
        estimate_uncertainty(solve_rig(c, "radial2", "radial2").robust) for c in (scene.corners, with_extra)
    )
    assert with_.focal_px[0, 0] < 0.8 * without.focal_px[0, 0]
    baseline, _ = errors(solve_rig(with_extra, "radial2", "radial2"), scene)
    assert baseline < 0.005


def test_a_view_missing_in_one_camera_still_serves_the_other() -> None:
    scene = simulate(make_rig(0.2, 5), Board(8, 5, 0.04), 10, 0.1, seed=10)
    scene.corners.right_px[4] = np.nan
    scene.corners.left_px[6] = np.nan
    found = solve_rig(scene.corners)
    assert np.flatnonzero(~found.used).tolist() == [4, 6]
    errors_px = found.robust.errors_px()
    assert np.isfinite(errors_px[4]).all()
    assert np.nanmax(errors_px) < 0.6


def test_too_few_views_name_the_camera() -> None:
    scene = simulate(make_rig(0.2, 5), Board(8, 5, 0.04), 6, 0.1, seed=10)
    scene.corners.right_px[1:] = np.nan
    with pytest.raises(CalibrationError, match="right camera: the board was found in 1 pictures"):
        solve_rig(scene.corners)


def test_leaving_a_pair_out_by_one_step_is_leaving_it_out() -> None:
    robust = solve_rig(
        simulate(make_rig(0.3, 10), Board(7, 5, 0.05), 8, 0.3, seed=12).corners, "radial2", "radial2"
    ).robust
    still = np.zeros((len(robust.fit.pose_rotations), 6))
    steps = left_out_steps(robust)
    for pose in range(3):
        dropped = np.arange(len(still)) == pose
        again, arrived = refine(robust.fit, robust.seen.without_poses(dropped), HUBER_SIGMAS * robust.sigma_px)
        assert arrived
        moved_m = np.linalg.norm(moved(robust.fit, steps[pose], still).translation_m) - np.linalg.norm(
            robust.fit.translation_m
        )
        refitted_m = float(np.linalg.norm(again.translation_m) - np.linalg.norm(robust.fit.translation_m))
        assert moved_m == pytest.approx(refitted_m, abs=0.1 * abs(refitted_m) + 1e-6)


def test_the_stated_uncertainty_covers_the_truth() -> None:
    errors_in_sds = []
    for seed in range(24):
        scene = simulate(make_rig(0.3, 10), Board(6, 4, 0.07), 8, 0.3, seed=seed)
        robust = solve_rig(scene.corners, "radial2", "radial2").robust
        sure = estimate_uncertainty(robust)
        fit = robust.fit
        turn_rad, true_turn_rad = (rotation_angle_rad(r) for r in (fit.rotation, scene.rig.right_from_left.rotation))
        errors_in_sds.append([
            (np.linalg.norm(fit.translation_m) - scene.rig.baseline_m) / sure.baseline_m,
            (turn_rad - true_turn_rad) / sure.angle_rad,
            (fit.intrinsics[0][0] - scene.rig.left.matrix[0, 0]) / sure.focal_px[0, 0],
        ])  # fmt: skip
    covered = (np.abs(errors_in_sds) < 2).mean(axis=0)
    # Two standard deviations cover 95 % of a Gaussian; fewer than 20 of 24 inside has p < 0.01.
    assert (covered >= 20 / 24).all(), covered
    # An uncertainty that is far too large would cover everything too: errors must come near it.
    assert (np.std(errors_in_sds, axis=0) > 0.5).all(), np.std(errors_in_sds, axis=0)
