"""The lens models with derivatives, against cv2 and against finite differences."""

import cv2
import numpy as np
import pytest
from binopose.calibration.lens import LensName, camera_from, project

LENSES: list[tuple[LensName, list[float]]] = [
    ("radial2", [-0.3, 0.1, 0.001, -0.002]),
    ("radial3", [-0.3, 0.1, 0.001, -0.002, -0.03]),
    ("rational", [0.4, 0.1, 0.001, -0.002, 0.02, 0.7, 0.2, 0.05]),
    ("fisheye", [0.03, -0.01, 0.005, -0.002]),
]


def points() -> np.ndarray:
    return np.random.default_rng(4).uniform([-0.6, -0.5, 0.8], [0.6, 0.5, 2.0], (40, 3))


@pytest.mark.parametrize(("lens", "terms"), LENSES)
def test_pixels_agree_with_cv2(lens: LensName, terms: list[float]) -> None:
    intrinsics = np.array([610.0, 605.0, 322.0, 237.0, *terms])
    matrix = np.array([[610.0, 0, 322.0], [0, 605.0, 237.0], [0, 0, 1]])
    cv_project = cv2.fisheye.projectPoints if lens == "fisheye" else cv2.projectPoints
    expected, _ = cv_project(points().reshape(-1, 1, 3), np.zeros(3), np.zeros(3), matrix, np.array(terms))
    found = project(lens, intrinsics, points())
    np.testing.assert_allclose(found.points_px, expected.reshape(-1, 2), atol=1e-7)
    camera = camera_from(lens, intrinsics, (640, 480))
    np.testing.assert_allclose(camera.px_from_camera(points()), found.points_px, atol=1e-7)


@pytest.mark.parametrize(("lens", "terms"), LENSES)
def test_derivatives_agree_with_differences(lens: LensName, terms: list[float]) -> None:
    intrinsics, at = np.array([610.0, 605.0, 322.0, 237.0, *terms]), points()
    found = project(lens, intrinsics, at)
    for axis in range(3):
        step = 1e-6 * np.eye(3)[axis]
        slope = (project(lens, intrinsics, at + step).points_px - project(lens, intrinsics, at - step).points_px) / 2e-6
        np.testing.assert_allclose(found.by_point[..., axis], slope, rtol=1e-6, atol=1e-4)
    for unknown in range(len(intrinsics)):
        size = 1e-6 * max(1.0, abs(intrinsics[unknown]))
        step = size * np.eye(len(intrinsics))[unknown]
        slope = project(lens, intrinsics + step, at).points_px - project(lens, intrinsics - step, at).points_px
        np.testing.assert_allclose(found.by_intrinsics[..., unknown], slope / (2 * size), rtol=1e-6, atol=1e-4)


def test_points_behind_a_pinhole_have_no_pixel_but_beside_a_fisheye_have() -> None:
    beside = np.array([[1.0, 0.0, -0.1]])
    assert np.isnan(project("radial2", np.array([600.0, 600, 320, 240, 0, 0, 0, 0]), beside).points_px).all()
    found = project("fisheye", np.array([300.0, 300, 320, 240, 0, 0, 0, 0]), beside).points_px
    assert found[0, 0] == pytest.approx(320 + 300 * np.arctan2(1.0, -0.1))
