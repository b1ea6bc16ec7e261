"""Triangulation against pencil and paper, cv2 and random numbers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from binopose.calibration.rectify import RectifiedRig, Rectifier
from binopose.calibration.rig import Camera, RigidTransform, StereoRig
from binopose.calibration.triangulate import (
    epipolar_residual_px,
    project,
    triangulate,
    triangulate_dlt,
)
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

RIG = RectifiedRig(
    focal_px=912.5,
    left_centre_x_px=655.0,
    right_centre_x_px=601.5,
    centre_y_px=352.25,
    baseline_m=0.241,
    left_from_rectified=np.eye(3),
    right_from_rectified=np.eye(3),
)


def matrices() -> np.ndarray:
    """Projection matrices of both rectified cameras, (2, 3, 4), written down by hand."""
    f, y, b = RIG.focal_px, RIG.centre_y_px, RIG.baseline_m
    left = [[f, 0, RIG.left_centre_x_px, 0], [0, f, y, 0], [0, 0, 1, 0]]
    right = [[f, 0, RIG.right_centre_x_px, -f * b], [0, f, y, 0], [0, 0, 1, 0]]
    return np.array([left, right])


def people_m(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform([-1.5, -1, 1], [1.5, 1, 8], (*shape, 3))


def pixels(points_m: np.ndarray) -> np.ndarray:
    """(..., 3) -> (2, ..., 2) through the matrices."""
    homogeneous = np.concatenate([points_m, np.ones_like(points_m[..., :1])], axis=-1)
    image = np.stack([homogeneous @ matrix.T for matrix in matrices()])
    return image[..., :2] / image[..., 2:]


@pytest.mark.parametrize("shape", [(), (17,), (3, 4, 17)])
def test_exact_on_exact_pixels(shape: tuple[int, ...]) -> None:
    points_m = people_m(*shape)
    left_px, right_px = pixels(points_m)
    np.testing.assert_allclose(triangulate(RIG, left_px, right_px), points_m, atol=1e-9, rtol=0)


def test_projection_is_that_of_the_matrices_and_undoes_triangulation() -> None:
    points_m = people_m(5, 17)
    np.testing.assert_allclose(project(RIG, points_m), pixels(points_m), atol=1e-9)
    np.testing.assert_allclose(triangulate(RIG, *project(RIG, points_m)), points_m, atol=1e-9)


def test_agrees_with_cv2() -> None:
    points_m = people_m(200)
    left_px, right_px = pixels(points_m) + np.random.default_rng(1).normal(0, 0.5, (2, 200, 2)) * [1, 0]
    left, right = matrices()
    found = cv2.triangulatePoints(left, right, left_px.T, right_px.T)
    np.testing.assert_allclose(triangulate(RIG, left_px, right_px), (found[:3] / found[3]).T, rtol=1e-7, atol=1e-7)


def test_disagreeing_rows_give_the_point_of_least_reprojection_error() -> None:
    points_m = people_m(8, seed=3)
    seen_px = pixels(points_m) + np.random.default_rng(4).normal(0, 3, (2, 8, 2))
    found_m = triangulate(RIG, *seen_px)
    for joint in range(8):

        def error_px(point_m: np.ndarray, joint: int = joint) -> np.ndarray:
            return (pixels(point_m) - seen_px[:, joint]).ravel()

        best = least_squares(error_px, points_m[joint], x_scale="jac", xtol=1e-14, ftol=1e-14, gtol=1e-14)
        np.testing.assert_allclose(found_m[joint], best.x, atol=1e-5)


def test_nothing_in_front_of_the_cameras_is_nan() -> None:
    middle = np.array([RIG.left_centre_x_px, RIG.centre_y_px])
    shift = RIG.right_centre_x_px - RIG.left_centre_x_px
    disparity_px = np.array([10.0, 0.0, -1e-9, -30.0])
    left_px = np.tile(middle, (4, 1))
    right_px = left_px + np.stack([shift - disparity_px, np.zeros(4)], axis=1)
    found_m = triangulate(RIG, left_px, right_px)
    assert found_m[0, 2] == pytest.approx(912.5 * 0.241 / 10)
    assert np.isnan(found_m[1:]).all()


@pytest.mark.parametrize("view", [0, 1])
def test_joint_missing_in_either_view_is_nan_altogether(view: int) -> None:
    seen_px = pixels(people_m(3))
    seen_px[view, 1] = np.nan
    found_m = triangulate(RIG, *seen_px)
    assert np.isnan(found_m[1]).all()
    assert np.isfinite(found_m[[0, 2]]).all()


def test_projection_of_hidden_points_is_nan() -> None:
    shown = project(RIG, np.array([[0, 0, -1.0], [0, 0, 0], [np.nan] * 3, [0, 0, 2]]))
    assert np.isnan(shown[:, :3]).all()
    assert np.isfinite(shown[:, 3]).all()


def test_row_difference_is_left_minus_right() -> None:
    left_px, right_px = np.array([[0, 5.0], [1, np.nan]]), np.array([[9, 3.5], [2, 4]])
    np.testing.assert_array_equal(epipolar_residual_px(left_px, right_px), [1.5, np.nan])


@pytest.mark.parametrize("degrees", [0.0, 10.0, 47.0])
def test_whole_way_from_recorded_pixels_to_the_left_camera(degrees: float) -> None:
    """A rig with lens distortion and two different cameras; cv2 records, the program measures."""
    terms = np.array([-0.2, 0.05, 0.001, -0.0005, 0.0])
    left = Camera((1280, 720), np.array([[900.0, 0, 650], [0, 905, 350], [0, 0, 1]]), terms)
    right = Camera((1280, 720), np.array([[930.0, 0, 630], [0, 925, 365], [0, 0, 1]]), terms * 0.9)
    half = np.deg2rad(degrees) / 2
    distance_m = 3.0
    centre_m = np.array([np.sin(2 * half) * distance_m, 0, (1 - np.cos(2 * half)) * distance_m])
    centre_m += np.array([0.1, 0.02, 0])
    left_from_right = RigidTransform(Rotation.from_euler("xyz", [1, -degrees, 2], degrees=True).as_matrix(), centre_m)
    rig = StereoRig(left, right, left_from_right.inverse())
    points_m = np.random.default_rng(9).uniform([-0.6, -0.6, 2.6], [0.6, 0.6, 3.4], (17, 3))
    transform = rig.right_from_left
    rotvec = Rotation.from_matrix(transform.rotation).as_rotvec()
    seen_px = [
        cv2.projectPoints(points_m, np.zeros(3), np.zeros(3), left.matrix, terms)[0].reshape(-1, 2),
        cv2.projectPoints(points_m, rotvec, transform.translation_m, right.matrix, terms * 0.9)[0].reshape(-1, 2),
    ]
    rectifier = Rectifier(rig)
    found_m = triangulate(rectifier.rig, rectifier.rectified_px(0, seen_px[0]), rectifier.rectified_px(1, seen_px[1]))
    np.testing.assert_allclose(found_m @ rectifier.rig.left_from_rectified.T, points_m, atol=1e-7)


def test_homogeneous_form_equals_cv2_for_any_two_cameras() -> None:
    rng = np.random.default_rng(11)
    points_m = rng.uniform([-1, -1, 3], [1, 1, 5], (4, 17, 3))
    projections = np.empty((4, 2, 3, 4))
    for sample in range(4):
        for view in (0, 1):
            pose = np.concatenate(
                [Rotation.from_rotvec(rng.normal(0, 0.2, 3)).as_matrix(), rng.normal(0, 0.5, (3, 1))], axis=1
            )
            projections[sample, view] = np.array([[800.0, 0, 320], [0, 800, 240], [0, 0, 1]]) @ pose
    homogeneous = np.concatenate([points_m, np.ones((4, 17, 1))], axis=-1)
    image = np.einsum("nvij,nkj->nvki", projections, homogeneous)
    exact_px = image[..., :2] / image[..., 2:]
    np.testing.assert_allclose(triangulate_dlt(projections, exact_px), points_m, atol=1e-9)
    noisy_px = exact_px + rng.normal(0, 2, exact_px.shape)
    found_m = triangulate_dlt(projections, noisy_px)
    assert found_m.shape == (4, 17, 3)
    for sample in range(4):
        by_cv2 = cv2.triangulatePoints(
            projections[sample, 0], projections[sample, 1], noisy_px[sample, 0].T, noisy_px[sample, 1].T
        )
        np.testing.assert_allclose(found_m[sample], (by_cv2[:3] / by_cv2[3]).T, rtol=1e-6, atol=1e-6)
