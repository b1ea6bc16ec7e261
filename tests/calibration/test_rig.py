"""Cameras and rigs against cv2's own projection and pencil-and-paper geometry."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from binopose.calibration.rig import Camera, RigError, RigidTransform, StereoRig
from scipy.spatial.transform import Rotation

MATRIX = np.array([[812.0, 0, 655.5], [0, 809.0, 352.25], [0, 0, 1]])
BARREL = np.array([-0.28, 0.09, 0.0007, -0.0005, -0.012])
RATIONAL = np.array([-0.2585, 0.03, 0.0004, -0.0003, 0.01, 0.02, -0.004, -0.02])
FISHEYE = np.array([0.021, -0.008, 0.004, -0.0012])
SIZE_PX = (1280, 720)


def random_transform(rng: np.random.Generator) -> RigidTransform:
    return RigidTransform(Rotation.from_quat(rng.normal(size=4)).as_matrix(), rng.normal(size=3))


def lens(name: str) -> Camera:
    return {
        "none": Camera(SIZE_PX, MATRIX, np.zeros(0)),
        "barrel": Camera(SIZE_PX, MATRIX, BARREL),
        "rational": Camera(SIZE_PX, MATRIX, RATIONAL),
        "fisheye": Camera(SIZE_PX, MATRIX, FISHEYE, "fisheye"),
    }[name]


LENSES = ("none", "barrel", "rational", "fisheye")


def test_transforms_chain_and_invert_like_homogeneous_matrices() -> None:
    rng = np.random.default_rng(1)
    a_from_b, b_from_c = random_transform(rng), random_transform(rng)
    points_m = rng.normal(size=(4, 7, 3))

    def matrix(transform: RigidTransform) -> np.ndarray:
        full = np.eye(4)
        full[:3, :3], full[:3, 3] = transform.rotation, transform.translation_m
        return full

    expected = (np.concatenate([points_m, np.ones((4, 7, 1))], axis=-1) @ (matrix(a_from_b) @ matrix(b_from_c)).T)[
        ..., :3
    ]
    np.testing.assert_allclose((a_from_b @ b_from_c).apply(points_m), expected, atol=1e-12)
    np.testing.assert_allclose(matrix(a_from_b.inverse()), np.linalg.inv(matrix(a_from_b)), atol=1e-12)


def test_nearly_orthonormal_rotation_is_replaced_by_the_nearest_one() -> None:
    exact = Rotation.from_rotvec([0.3, -0.5, 0.2]).as_matrix()
    stored = RigidTransform(np.round(exact, 5), np.zeros(3)).rotation
    np.testing.assert_allclose(stored @ stored.T, np.eye(3), atol=1e-14)
    # scipy finds the same one by another way (quaternions of the nearest orthogonal matrix).
    np.testing.assert_allclose(stored, Rotation.from_matrix(np.round(exact, 5)).as_matrix(), atol=1e-12)


@pytest.mark.parametrize(
    ("rotation", "translation_m", "told"),
    [
        (np.eye(3) * 1.01, np.zeros(3), "not a rotation"),
        (np.diag([1.0, 1.0, -1.0]), np.zeros(3), "determinant -1"),
        (np.eye(4), np.zeros(3), "3x3"),
        (np.eye(3), np.zeros(2), "3 metres"),
        (np.full((3, 3), np.nan), np.zeros(3), "finite"),
        (np.eye(3), np.array([0, np.inf, 0]), "finite"),
    ],
)
def test_impossible_transforms_are_refused(rotation: np.ndarray, translation_m: np.ndarray, told: str) -> None:
    with pytest.raises(RigError, match=told):
        RigidTransform(rotation, translation_m)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"size_px": (8, 720)}, "size_px"),
        ({"size_px": (1280, -720)}, "size_px"),
        ({"matrix": np.eye(4)}, "matrix"),
        ({"matrix": np.where(MATRIX == 655.5, np.nan, MATRIX)}, "matrix"),
        ({"matrix": np.where(np.arange(9).reshape(3, 3) == 1, 3.0, MATRIX)}, "matrix"),  # skew
        ({"matrix": MATRIX.T}, "matrix"),
        ({"matrix": MATRIX * [[-1], [1], [1]]}, "matrix"),
        ({"matrix": MATRIX / 812}, "matrix"),  # normalised by the focal length
        ({"matrix": np.diag([30.0, 809, 1])}, "fx"),
        ({"matrix": np.diag([812, 50_000.0, 1])}, "fy"),
        ({"distortion": np.zeros(3)}, "distortion"),
        ({"distortion": np.array([0.1, np.nan, 0, 0])}, "distortion"),
        ({"distortion": np.zeros(5), "model": "fisheye"}, "distortion"),
        ({"model": "omnidirectional"}, "model"),
    ],
)
def test_impossible_cameras_are_refused_by_name(changes: dict, told: str) -> None:
    with pytest.raises(RigError, match=told):
        Camera(**({"size_px": SIZE_PX, "matrix": MATRIX, "distortion": BARREL} | changes))


@pytest.mark.parametrize("field", ["matrix", "distortion"])
def test_refusal_of_nan_says_that_it_found_nan(field: str) -> None:
    values = {"size_px": SIZE_PX, "matrix": MATRIX.copy(), "distortion": BARREL.copy()}
    values[field].flat[0] = np.nan
    with pytest.raises(RigError, match=r"(?i)\bnan"):
        Camera(**values)


def test_projection_follows_the_published_lens_equations() -> None:
    """Brown's polynomial and the equidistant one, written out."""
    points_m = np.random.default_rng(2).uniform([-1, -0.6, 1.5], [1, 0.6, 4], (200, 3))
    x, y = points_m[:, 0] / points_m[:, 2], points_m[:, 1] / points_m[:, 2]
    r2 = x**2 + y**2
    k1, k2, p1, p2, k3 = BARREL
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    bent_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2)
    bent_y = y * radial + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y
    expected = np.stack([812 * bent_x + 655.5, 809 * bent_y + 352.25], axis=1)
    np.testing.assert_allclose(lens("barrel").px_from_camera(points_m), expected, atol=1e-9)
    angle = np.arctan(np.sqrt(r2))
    bent = angle * (1 + sum(k * angle ** (2 * n + 2) for n, k in enumerate(FISHEYE)))
    expected = np.stack([812 * x * bent / np.sqrt(r2) + 655.5, 809 * y * bent / np.sqrt(r2) + 352.25], axis=1)
    np.testing.assert_allclose(lens("fisheye").px_from_camera(points_m), expected, atol=1e-9)


@pytest.mark.parametrize("name", LENSES)
def test_rays_undo_the_projection_over_the_whole_picture(name: str) -> None:
    camera = lens(name)
    grid_px = np.stack(np.meshgrid(np.linspace(0, 1279, 33), np.linspace(0, 719, 19)), axis=-1)
    rays = camera.rays_from_px(grid_px)
    assert rays.shape == grid_px.shape
    back_px = camera.px_from_camera(np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1) * 2.7)
    np.testing.assert_allclose(back_px, grid_px, atol=1e-5)


def test_pixels_that_no_ray_reaches_have_none() -> None:
    """With k1 = -0.5 alone the distorted radius r - r^3 / 2 never exceeds 0.5443, at r = sqrt(2/3)."""
    camera = Camera(SIZE_PX, np.array([[800.0, 0, 640], [0, 800, 360], [0, 0, 1]]), np.array([-0.5, 0, 0, 0]))
    radius_px = np.array([100.0, 300.0, 420.0, 445.0, 500.0, 600.0])
    rays = camera.rays_from_px(np.stack([640 + radius_px, np.full(6, 360.0)], axis=1))
    reachable = radius_px / 800 < (2 / 3) ** 0.5 * (2 / 3)
    expected = [max(np.roots([-0.5, 0, 1, -r]), key=lambda root: -abs(root)).real for r in radius_px[reachable] / 800]
    np.testing.assert_allclose(rays[reachable, 0], expected, atol=1e-6)
    assert np.isnan(rays[~reachable]).all(), rays


def test_no_ray_is_off_where_the_lens_equation_is_hard_to_invert() -> None:
    """Toward the corners of this lens the usual fixed-point iteration oscillates instead of settling."""
    terms = np.array([-0.2585, -0.1297, 0.0004, -0.0003, 0.01, 0.02, -0.004, -0.4047])
    camera = Camera(SIZE_PX, MATRIX, terms)
    grid_px = np.stack(np.meshgrid(np.linspace(0, 1279, 81), np.linspace(0, 719, 61)), axis=-1)
    rays = camera.rays_from_px(grid_px)
    back_px = camera.px_from_camera(np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1))
    error_px = np.linalg.norm(back_px - grid_px, axis=-1)
    assert np.isfinite(error_px).mean() > 0.99
    assert np.nanmax(error_px) < 0.01


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("recording", ["ambiguous-corners-checkerboard", "unsynchronised-checkerboard"])
def test_every_ray_of_a_real_calibration_leads_back_to_its_pixel(shared_data: Path, recording: str, side: str) -> None:
    """The polynomials of these two stop rising inside the picture: its corners belong to no ray."""
    found = json.loads((shared_data / "stereo" / recording / "reference.json").read_text(encoding="utf-8"))
    matrix, terms = np.array(found[f"K_{side}"]), np.array(found[f"dist_{side}"]).ravel()
    width, height = found["image_size"]
    grid_px = np.stack(np.meshgrid(np.linspace(0, width - 1, 41), np.linspace(0, height - 1, 41)), axis=-1)
    rays = Camera((width, height), matrix, terms).rays_from_px(grid_px).reshape(-1, 2)
    known = np.isfinite(rays).all(axis=1)
    assert known.mean() > 0.5
    points_m = np.concatenate([rays[known], np.ones((int(known.sum()), 1))], axis=1)
    back_px = cv2.projectPoints(points_m, np.zeros(3), np.zeros(3), matrix, terms)[0].reshape(-1, 2)
    error_px = np.linalg.norm(back_px - grid_px.reshape(-1, 2)[known], axis=1)
    assert error_px.max() < 0.5, f"{(error_px > 0.5).sum()} of {known.sum()} rays belong to other pixels"


@pytest.mark.parametrize("name", LENSES)
def test_unknown_and_hidden_points_are_nan(name: str) -> None:
    camera = lens(name)
    points_m = np.array([[0.1, 0.1, 2.0], [0.1, 0.1, -2.0], [0.1, 0.1, 0.0], [np.nan, 0, 2], [0, 0, np.inf]])
    pixels = camera.px_from_camera(points_m)
    assert np.isfinite(pixels[0]).all()
    assert np.isnan(pixels[1:]).all()
    rays = camera.rays_from_px(np.array([[640.0, 360.0], [np.nan, 360.0], [640.0, np.nan]]))
    assert np.isfinite(rays[0]).all()
    assert np.isnan(rays[1:]).all()
    assert camera.px_from_camera(np.zeros((0, 3))).shape == (0, 2)
    assert camera.rays_from_px(np.zeros((0, 2))).shape == (0, 2)


def test_single_points_keep_their_shape() -> None:
    assert lens("barrel").px_from_camera(np.array([0.1, 0.2, 2])).shape == (2,)
    assert lens("barrel").rays_from_px(np.array([3.0, 4])).shape == (2,)


def test_field_of_view_of_a_plain_pinhole() -> None:
    camera = Camera((641, 481), np.array([[320.0, 0, 320], [0, 480, 240], [0, 0, 1]]))
    horizontal, vertical = camera.field_of_view_rad()
    assert horizontal == pytest.approx(np.pi / 2)
    assert vertical == pytest.approx(2 * np.arctan(0.5))


def test_field_of_view_of_an_equidistant_fisheye() -> None:
    camera = Camera((641, 481), np.array([[240.0, 0, 320], [0, 240, 240], [0, 0, 1]]), np.zeros(4), "fisheye")
    assert camera.field_of_view_rad()[0] == pytest.approx(2 * 320 / 240, abs=1e-6)


def test_field_of_view_ends_with_the_rays_there_are() -> None:
    """With k1 = -0.5 rays end at r = sqrt(2/3), 39.2 degrees off the axis, before the left and right picture edge."""
    camera = Camera((1281, 481), np.array([[800.0, 0, 640], [0, 800, 240], [0, 0, 1]]), np.array([-0.5, 0, 0, 0]))
    horizontal, vertical = np.rad2deg(camera.field_of_view_rad())
    assert 70 < horizontal < 2 * np.rad2deg(np.arctan((2 / 3) ** 0.5)) + 0.1
    # Up and down: r - r^3 / 2 = 0.3.
    assert vertical == pytest.approx(2 * np.rad2deg(np.arctan(min(r for r in np.roots([-0.5, 0, 1, -0.3]) if r > 0))))


@pytest.mark.parametrize("side", ["left", "right"])
def test_field_of_view_of_a_real_wide_camera(shared_data: Path, side: str) -> None:
    """A lens that sees about 105 degrees, by the pinhole formula alone; 180 would be beyond any pinhole."""
    path = shared_data / "stereo" / "ambiguous-corners-checkerboard" / "reference.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    width, height = found["image_size"]
    camera = Camera((width, height), np.array(found[f"K_{side}"]), np.array(found[f"dist_{side}"]).ravel())
    plain = np.rad2deg(2 * np.arctan(width / 2 / camera.matrix[0, 0]))
    for angle in np.rad2deg(camera.field_of_view_rad()):
        assert angle == pytest.approx(plain, abs=15)


def dot_picture(camera: Camera, point_m: np.ndarray, sigma_px: float) -> np.ndarray:
    """A soft dot where the camera sees the point."""
    x, y = camera.px_from_camera(point_m)
    columns, rows = np.meshgrid(np.arange(camera.size_px[0]), np.arange(camera.size_px[1]))
    return 250 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma_px**2))


def centroid_px(image: np.ndarray) -> np.ndarray:
    rows, columns = np.indices(image.shape)
    return np.array([(columns * image).sum(), (rows * image).sum()]) / image.sum()


@pytest.mark.parametrize("name", ["barrel", "fisheye"])
@pytest.mark.parametrize("size_px", [(640, 360), (320, 180)])
def test_scaled_camera_sees_what_a_resized_picture_shows(name: str, size_px: tuple[int, int]) -> None:
    camera = lens(name)
    scaled, note = camera.adapted_to(size_px)
    assert "scaled" in note
    point_m = np.array([0.5, -0.25, 2.0])
    small = cv2.resize(dot_picture(camera, point_m, 12), size_px, interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(scaled.px_from_camera(point_m), centroid_px(small), atol=0.01)


def test_cropped_camera_keeps_its_pixels() -> None:
    camera = Camera((1088, 1920), np.array([[1681.0, 0, 533], [0, 1681, 948], [0, 0, 1]]), BARREL)
    cropped, note = camera.adapted_to((1080, 1920))
    assert "cropped" in note
    assert cropped.size_px == (1080, 1920)
    points_m = np.random.default_rng(3).uniform([-0.5, -1, 3], [0.5, 1, 4], (20, 3))
    np.testing.assert_array_equal(cropped.px_from_camera(points_m), camera.px_from_camera(points_m))


def test_same_size_says_nothing() -> None:
    camera = lens("barrel")
    assert camera.adapted_to(SIZE_PX) == (camera, "")


@pytest.mark.parametrize(
    ("size_px", "told"), [((720, 1280), "90 degrees"), ((640, 480), "cannot come"), ((1280, 800), "cannot come")]
)
def test_pictures_of_another_shape_are_refused(size_px: tuple[int, int], told: str) -> None:
    with pytest.raises(RigError, match=told) as raised:
        lens("barrel").adapted_to(size_px)
    assert f"{size_px[0]} x {size_px[1]}" in str(raised.value)
    assert "1280 x 720" in str(raised.value)


def test_rig_distances_and_angles() -> None:
    """The right camera stands 3 m to the right and 1 m ahead, turned 40 degrees to the left."""
    turn = np.deg2rad(40)
    left_from_right = RigidTransform(
        np.array([[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]]), np.array([3.0, 0, 1])
    )
    rig = StereoRig(lens("none"), lens("none"), left_from_right.inverse())
    assert rig.baseline_m == pytest.approx(10**0.5)
    assert rig.axes_angle_rad == pytest.approx(turn)
    np.testing.assert_allclose(rig.right_centre_m, [3, 0, 1], atol=1e-12)


def test_two_cameras_in_one_place_are_refused() -> None:
    with pytest.raises(RigError, match="mm apart"):
        StereoRig(lens("none"), lens("none"), RigidTransform(np.eye(3), np.array([0.0005, 0, 0])))
