"""Rectification against epipolar geometry, cv2's own and pictures of dots."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from binopose.calibration.rectify import Rectifier, rectifying_rotations
from binopose.calibration.rig import Camera, RigError, RigidTransform, StereoRig
from scipy.spatial.transform import Rotation

SIZE_PX = (640, 480)
BARREL = np.array([-0.21, 0.05, 0.0006, -0.0004, 0.0])


def camera(number: int = 0, lens: str = "pinhole", size_px: tuple[int, int] = SIZE_PX) -> Camera:
    width, height = size_px
    matrix = np.array(
        [[0.85 * width + 5 * number, 0, width / 2 - 6], [0, 0.86 * width, height / 2 + 4 - 7 * number], [0, 0, 1]]
    )
    if lens == "fisheye":
        return Camera(size_px, matrix, np.array([0.02, -0.008, 0.004, -0.001]), "fisheye")
    return Camera(size_px, matrix, BARREL)


def rig_of(rotvec_deg: tuple[float, float, float], centre_m: tuple[float, float, float], lens: str) -> StereoRig:
    """The right camera stands at `centre_m` and is turned by `rotvec_deg`, both seen from the left one."""
    left_from_right = RigidTransform(Rotation.from_rotvec(rotvec_deg, degrees=True).as_matrix(), np.array(centre_m))
    return StereoRig(camera(0, lens), camera(1, lens), left_from_right.inverse())


# Turning about y by a negative angle turns the right camera's axis to the left, toward the scene of the left one.
RIGS = {
    "parallel": ((0.3, -0.4, 0.2), (0.12, 0.002, -0.001)),
    "toed in": ((1.0, -12.0, 0.5), (0.4, 0.01, 0.04)),
    "47 degrees": ((2.0, -47.0, -3.0), (2.6, 0.1, 1.1)),
    "toed out": ((0.0, 8.0, 0.0), (0.3, 0.0, 0.0)),
    "vertical": ((9.0, 0.5, 0.0), (0.01, 0.35, 0.0)),
    "rolled": ((0.0, -3.0, 20.0), (0.3, 0.05, 0.0)),
    "exchanged": ((0.5, 6.0, 0.0), (-0.3, 0.01, 0.0)),
}


def scene_m(rig: StereoRig, count: int = 60, seed: int = 0) -> np.ndarray:
    """Points around where the two optical axes come closest (or 2.5 m ahead), in the left camera's frame."""
    middle_m = np.array([0, 0, max(2.5, 1.2 * rig.baseline_m)]) + 0.3 * rig.right_centre_m
    return middle_m + np.random.default_rng(seed).uniform(-0.4, 0.4, (count, 3))


def recorded_px(rig: StereoRig, points_m: np.ndarray) -> list[np.ndarray]:
    """What cv2 says the two cameras record."""
    pictures = []
    for each, transform in ((rig.left, RigidTransform(np.eye(3), np.zeros(3))), (rig.right, rig.right_from_left)):
        project = cv2.fisheye.projectPoints if each.model == "fisheye" else cv2.projectPoints
        rotvec = Rotation.from_matrix(transform.rotation).as_rotvec()
        found = project(points_m.reshape(-1, 1, 3), rotvec, transform.translation_m, each.matrix, each.distortion)[0]
        pictures.append(found.reshape(-1, 2))
    return pictures


def assert_rectified(rig: StereoRig, rectifier: Rectifier) -> None:
    """Rows agree, and columns and rows are those of two pinhole cameras one baseline apart."""
    points_m = scene_m(rig)
    left_px, right_px = recorded_px(rig, points_m)
    inside = [(np.abs(px / SIZE_PX - 0.5) < 0.7).all(axis=1) for px in (left_px, right_px)]
    points_m, left_px, right_px = (each[inside[0] & inside[1]] for each in (points_m, left_px, right_px))
    assert len(points_m) > 5
    left, right = rectifier.rectified_px(0, left_px), rectifier.rectified_px(1, right_px)
    assert np.isfinite(left).all()
    assert np.isfinite(right).all()
    np.testing.assert_allclose(left[:, 1], right[:, 1], atol=1e-6)
    frame = rectifier.rig
    x, y, z = (points_m @ frame.left_from_rectified).T
    assert (z > 0).all()
    expected_left = np.stack([x / z, y / z], axis=1) * frame.focal_px + frame.centres_px[0]
    expected_right = np.stack([(x - rig.baseline_m) / z, y / z], axis=1) * frame.focal_px + frame.centres_px[1]
    np.testing.assert_allclose(left, expected_left, atol=1e-5)
    np.testing.assert_allclose(right, expected_right, atol=1e-5)


@pytest.mark.parametrize("lens", ["pinhole", "fisheye"])
@pytest.mark.parametrize("name", RIGS)
def test_matching_points_share_a_row(name: str, lens: str) -> None:
    rig = rig_of(*RIGS[name], lens)
    assert_rectified(rig, Rectifier(rig))


@pytest.mark.parametrize("seed", range(12))
def test_random_rigs_share_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    centre_m = rng.normal(size=3) * [1, 1, 0.3]
    rig = rig_of(tuple(rng.normal(size=3) * 10), tuple(centre_m), "pinhole")
    assert_rectified(rig, Rectifier(rig))


@pytest.mark.parametrize("name", RIGS)
def test_rotations_are_rotations_with_x_along_the_baseline(name: str) -> None:
    rig = rig_of(*RIGS[name], "pinhole")
    left_from_rectified, right_from_rectified = rectifying_rotations(rig)
    for rotation in (left_from_rectified, right_from_rectified):
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1)
    centre_m = np.array(RIGS[name][1])
    np.testing.assert_allclose(left_from_rectified.T @ centre_m, np.array([np.linalg.norm(centre_m), 0, 0]), atol=1e-9)
    np.testing.assert_allclose(right_from_rectified, rig.right_from_left.rotation @ left_from_rectified, atol=1e-12)


@pytest.mark.parametrize("name", ["parallel", "toed in"])
def test_disparity_agrees_with_cv2_stereo_rectify(name: str) -> None:
    """cv2 splits the rotation otherwise, but the depth along a ray and the distance to the camera are the same."""
    rig = rig_of(*RIGS[name], "pinhole")
    points_m = scene_m(rig)
    left_px, right_px = recorded_px(rig, points_m)
    rotation_1, rotation_2, projection_1, projection_2, to_depth, *_ = cv2.stereoRectify(
        rig.left.matrix, rig.left.distortion, rig.right.matrix, rig.right.distortion, SIZE_PX,
        rig.right_from_left.rotation, rig.right_from_left.translation_m.reshape(3, 1),
    )  # fmt: skip
    by_cv2 = [
        cv2.undistortPoints(px.reshape(-1, 1, 2), each.matrix, each.distortion, R=turn, P=projection).reshape(-1, 2)
        for px, each, turn, projection in (
            (left_px, rig.left, rotation_1, projection_1),
            (right_px, rig.right, rotation_2, projection_2),
        )
    ]
    disparity = (by_cv2[0] - by_cv2[1])[:, 0]
    homogeneous = np.stack([*by_cv2[0].T, disparity, np.ones(len(disparity))], axis=1) @ to_depth.T
    expected_m = np.linalg.norm(homogeneous[:, :3] / homogeneous[:, 3:], axis=1)
    rectifier = Rectifier(rig)
    left, right = rectifier.rectified_px(0, left_px), rectifier.rectified_px(1, right_px)
    frame = rectifier.rig
    offset_px = frame.left_centre_x_px - frame.right_centre_x_px
    depth_m = frame.focal_px * frame.baseline_m / (left[:, 0] - right[:, 0] - offset_px)
    rays = np.concatenate([(left - frame.centres_px[0]) / frame.focal_px, np.ones((len(left), 1))], axis=1)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=1) * depth_m, expected_m, rtol=2e-5)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("parallel", "images"),
        ("toed in", "images"),
        ("47 degrees", "points"),
        ("vertical", "points"),
        ("rolled", "images"),
        ("exchanged", "points"),
    ],
)
def test_mode_follows_from_the_rig(name: str, mode: str) -> None:
    rig = rig_of(*RIGS[name], "pinhole")
    assert Rectifier(rig).mode == mode
    other = "points" if mode == "images" else "images"
    assert Rectifier(rig, other).mode == other


@pytest.mark.parametrize("degrees", [110, 150, 175, 200])
def test_very_wide_lenses_are_rectified_as_points(degrees: float) -> None:
    """An equidistant lens of this horizontal angle; the widest see things beside and behind themselves."""
    focal_px = 320 / np.deg2rad(degrees / 2)
    wide = Camera(SIZE_PX, np.array([[focal_px, 0, 319.5], [0, focal_px, 239.5], [0, 0, 1]]), np.zeros(4), "fisheye")
    rig = StereoRig(wide, wide, RigidTransform(np.eye(3), np.array([-0.1, 0, 0])))
    rectifier = Rectifier(rig)
    assert rectifier.mode == ("points" if degrees > 120 else "images")
    points_m = scene_m(rig)
    left_px, right_px = recorded_px(rig, points_m)
    np.testing.assert_allclose(
        rectifier.rectified_px(0, left_px)[:, 1], rectifier.rectified_px(1, right_px)[:, 1], atol=1e-6
    )


@pytest.mark.parametrize(
    ("rotvec_deg", "centre_m"),
    [
        ((0, 180, 0), (0.0, 0.0, 3.0)),  # face to face
        ((0, 0, 0), (0.0, 0.0, 0.5)),  # one behind the other
        ((0, 180, 0), (0.5, 0.0, 0.0)),  # back to back
        ((0, 90, 0), (1.0, 0.0, 1.0)),  # the mean axis runs along the baseline
    ],
)
def test_cameras_that_face_each_other_are_refused(
    rotvec_deg: tuple[float, float, float], centre_m: tuple[float, float, float]
) -> None:
    with pytest.raises(RigError, match="cannot be rectified"):
        Rectifier(rig_of(rotvec_deg, centre_m, "pinhole"))


def dots(rig: StereoRig, points_m: np.ndarray) -> list[np.ndarray]:
    """Pictures with a soft dot where each camera records each point; drawn from cv2's projection."""
    pictures = []
    for each, points_px in zip((rig.left, rig.right), recorded_px(rig, points_m), strict=True):
        columns, rows = np.meshgrid(np.arange(each.size_px[0]), np.arange(each.size_px[1]))
        picture = np.zeros((each.size_px[1], each.size_px[0]))
        for x, y in points_px:
            picture += 240 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 2.5**2))
        pictures.append(np.repeat(np.minimum(picture, 255).astype(np.uint8)[..., None], 3, axis=2))
    return pictures


def found_dot_px(picture: np.ndarray, near_px: np.ndarray) -> np.ndarray:
    """Centre of brightness within 10 px of a place."""
    rows, columns = np.indices(picture.shape[:2])
    weight = picture[..., 0] * (np.hypot(columns - near_px[0], rows - near_px[1]) < 10.0)
    assert weight.max() > 150, f"no dot at {near_px}"
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("lens", ["pinhole", "fisheye"])
@pytest.mark.parametrize("name", ["parallel", "toed in"])
def test_remapped_pictures_show_points_where_point_mapping_says(name: str, lens: str) -> None:
    rig = rig_of(*RIGS[name], lens)
    spread = np.array([[-0.5, -0.3, 0], [0.5, -0.3, 0.1], [0, 0, 0], [-0.5, 0.35, 0.2], [0.5, 0.35, -0.1]])
    points_m = np.array([0.5 * rig.right_centre_m[0], 0, 1.8]) + spread
    recorded = dots(rig, points_m)
    rectifier = Rectifier(rig, "images")
    pictures = rectifier.images(*recorded)
    by_points = Rectifier(rig, "points")
    np.testing.assert_allclose(by_points.rig.centres_px, rectifier.rig.centres_px)
    for view, (picture, points_px) in enumerate(zip(pictures, recorded_px(rig, points_m), strict=True)):
        assert picture.shape == recorded[view].shape
        expected_px = by_points.points(view, points_px)
        for near_px in expected_px:
            np.testing.assert_allclose(found_dot_px(picture, near_px), near_px, atol=0.3)
        np.testing.assert_allclose(rectifier.recorded_px(view, expected_px), points_px, atol=1e-5)
        in_rectified_m = points_m @ rectifier.rig.left_from_rectified
        np.testing.assert_allclose(rectifier.picture_px(view, in_rectified_m), expected_px, atol=1e-5)


def test_pictures_of_two_sizes_come_back_alike() -> None:
    left_from_right = RigidTransform(np.eye(3), np.array([0.1, 0, 0]))
    rig = StereoRig(camera(0), camera(1, size_px=(320, 240)), left_from_right.inverse())
    points_m = np.array([[0.0, 0.0, 1.5], [0.2, 0.1, 1.7]])
    rectifier = Rectifier(rig, "images")
    pictures = rectifier.images(*dots(rig, points_m))
    assert pictures[0].shape == pictures[1].shape == (480, 640, 3)
    rows = []
    for view, points_px in enumerate(recorded_px(rig, points_m)):
        expected_px = rectifier.rectified_px(view, points_px)
        found = np.array([found_dot_px(pictures[view], near_px) for near_px in expected_px])
        np.testing.assert_allclose(found, expected_px, atol=0.3)
        rows.append(found[:, 1])
    np.testing.assert_allclose(rows[0], rows[1], atol=0.3)


@pytest.mark.parametrize("lens", ["pinhole", "fisheye"])
def test_points_mode_leaves_pictures_and_knows_where_points_appear(lens: str) -> None:
    rig = rig_of(*RIGS["47 degrees"], lens)
    rectifier = Rectifier(rig)
    picture = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    left, right = rectifier.images(picture, picture)
    assert left is picture
    assert right is picture
    points_m = scene_m(rig)
    in_rectified_m = points_m @ rectifier.rig.left_from_rectified
    for view, points_px in enumerate(recorded_px(rig, points_m)):
        np.testing.assert_allclose(rectifier.picture_px(view, in_rectified_m), points_px, atol=1e-8)
        np.testing.assert_array_equal(rectifier.recorded_px(view, points_px), points_px)


@pytest.mark.parametrize("mode", ["images", "points"])
def test_unknown_and_hidden_points_are_nan(mode: str) -> None:
    rectifier = Rectifier(rig_of(*RIGS["toed in"], "pinhole"), "points" if mode == "points" else "images")
    points_px = np.array([[[320.0, 240.0], [np.nan, 240.0]]])
    for view in (0, 1):
        found = rectifier.rectified_px(view, points_px)
        assert found.shape == points_px.shape
        assert np.isfinite(found[0, 0]).all()
        assert np.isnan(found[0, 1]).all()
        hidden = rectifier.picture_px(view, np.array([[0, 0, -2.0], [np.nan] * 3, [0.1, 0, 2]]))
        assert np.isnan(hidden[:2]).all()
        assert np.isfinite(hidden[2]).all()


def test_rays_far_off_the_common_axis_have_no_place() -> None:
    """Cameras turned 55 degrees outward each: what one sees at its outer edge is 85 degrees off the common axis."""
    half = np.deg2rad(55)
    centre_m = 0.5 * np.array([np.cos(half), 0, -np.sin(half)])
    rectifier = Rectifier(rig_of((0, 110, 0), tuple(centre_m), "pinhole"))
    assert np.isnan(rectifier.rectified_px(0, np.array([0.0, 240.0]))).all()
    assert np.isnan(rectifier.rectified_px(1, np.array([639.0, 240.0]))).all()
    assert np.isfinite(rectifier.rectified_px(0, np.array([639.0, 240.0]))).all()
    assert np.isfinite(rectifier.rectified_px(1, np.array([0.0, 240.0]))).all()


def test_camera_that_looks_away_from_the_common_plane_is_refused() -> None:
    """The right camera looks along the baseline and backward: nothing it sees has a rectified place."""
    with pytest.raises(RigError, match="cannot be rectified"):
        Rectifier(rig_of((0, 115, 0), (0.5, 0.0, 0.0), "pinhole"))


@pytest.mark.parametrize("name", ["parallel", "toed in", "vertical"])
def test_both_views_lie_in_the_middle_of_the_rectified_picture(name: str) -> None:
    """The rectified borders are as far outside on one side as on the other."""
    rig = rig_of(*RIGS[name], "pinhole")
    rectifier = Rectifier(rig)
    border_px = np.array([[x, y] for x in np.linspace(0, 639, 65) for y in (0, 479)])
    border_px = np.concatenate([border_px, [[x, y] for y in np.linspace(0, 479, 65) for x in (0, 639)]])
    spans = [rectifier.rectified_px(view, border_px) for view in (0, 1)]
    for span in spans:
        assert span[:, 0].min() + span[:, 0].max() == pytest.approx(639, abs=2)
    ends = [span[:, 1].min() + span[:, 1].max() for span in spans]
    assert np.mean(ends) == pytest.approx(479, abs=2)
