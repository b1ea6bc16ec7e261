"""The simulated person, rig and pictures, against anatomy, physics and independent projection."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from binopose.app.simulation.body import COLOURS, MATERIALS, Capsules
from binopose.app.simulation.motion import Proportions, SimulatedPerson
from binopose.app.simulation.renderer import draw_capsules
from binopose.app.simulation.room import camera_rays
from binopose.app.simulation.scene import SimulatedScene, SimulatedSource
from binopose.app.simulation.virtual_rig import virtual_rig
from binopose.calibration.rectify import Rectifier
from binopose.calibration.rig import Camera, RigError, RigidTransform, StereoRig
from binopose.models.skeleton import BODY17

RATE_HZ = 120.0
SEEDS = (0, 1, 2)


def joint(poses_m: np.ndarray, name: str) -> np.ndarray:
    return poses_m[:, BODY17.index(name)]


def pair_of(poses_m: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    return joint(poses_m, f"Right{name}"), joint(poses_m, f"Left{name}")


@pytest.fixture(scope="module", params=SEEDS)
def person(request: pytest.FixtureRequest) -> SimulatedPerson:
    return SimulatedPerson(seed=request.param)


@pytest.fixture(scope="module")
def poses_m(person: SimulatedPerson) -> np.ndarray:
    """A period and a second more, so that the seam is inside. (T, 17, 3)."""
    return person.pose_at(np.arange(0.0, person.period_s + 1.0, 1 / RATE_HZ))


def velocities(poses_m: np.ndarray) -> np.ndarray:
    return np.diff(poses_m, axis=0) * RATE_HZ


def forward_of(poses_m: np.ndarray) -> np.ndarray:
    """Where the nose points, in the floor plane, (T, 2) unit vectors."""
    ahead = (joint(poses_m, "Nose") - joint(poses_m, "Neck"))[:, :2]
    return ahead / np.linalg.norm(ahead, axis=1, keepdims=True)


def test_bones_keep_their_length_and_both_sides_are_alike(poses_m: np.ndarray) -> None:
    ends = poses_m[:, BODY17.rigid_bone_indices]
    lengths_m = np.linalg.norm(ends[:, :, 0] - ends[:, :, 1], axis=-1)
    assert np.ptp(lengths_m, axis=0).max() < 1e-9
    for group in range(BODY17.rigid_bone_groups.max() + 1):
        assert np.ptp(lengths_m[0, BODY17.rigid_bone_groups == group]) < 1e-9


@pytest.mark.parametrize("height_m", [1.2, 1.75, 2.0])
def test_a_person_standing_is_as_tall_as_asked(height_m: float) -> None:
    poses_m = SimulatedPerson(height_m).pose_at(np.arange(0.0, 50.0, 0.02))
    top_m = joint(poses_m, "HeadTop")[:, 2].max()
    assert 0.985 * height_m < top_m <= height_m


def test_a_height_that_no_person_has_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.8 to 2\.3 m, got 175"):
        Proportions(175)


def test_feet_stand_on_the_floor_and_do_not_slide(poses_m: np.ndarray) -> None:
    right, left = pair_of(poses_m, "Ankle")
    for ankle in (right, left):
        assert ankle[:, 2].min() == pytest.approx(0.085, abs=0.001)
        down = ankle[:, 2] < 0.087
        assert 0.5 < down.mean() < 0.95
        runs = np.split(np.flatnonzero(down), np.flatnonzero(np.diff(np.flatnonzero(down)) > 1) + 1)
        assert len(runs) > 30  # steps of 50 s
        assert max(np.ptp(ankle[run, :2], axis=0).max() for run in runs) < 0.03
    assert np.minimum(right[:, 2], left[:, 2]).max() < 0.12  # never both in the air


def test_nothing_jumps_and_nothing_is_too_fast(poses_m: np.ndarray) -> None:
    speed = np.linalg.norm(velocities(poses_m), axis=-1)
    hands = [BODY17.index(f"{side}Wrist") for side in ("Right", "Left")]
    assert speed[:, hands].max() < 6.0
    assert np.delete(speed, hands, axis=1).max() < 4.0
    acceleration = np.linalg.norm(np.diff(velocities(poses_m), axis=0), axis=-1) * RATE_HZ
    assert acceleration[:, BODY17.index("Pelvis")].max() < 20.0


def test_the_motion_repeats_after_its_period(person: SimulatedPerson) -> None:
    times_s = np.array([0.0, 3.21, 17.5])
    np.testing.assert_allclose(person.pose_at(times_s + person.period_s), person.pose_at(times_s), atol=1e-9)


def test_left_is_left_and_the_nose_leads_the_way(poses_m: np.ndarray) -> None:
    forward = forward_of(poses_m)
    to_left = np.stack([-forward[:, 1], forward[:, 0]], axis=1)  # up x forward
    for name, least_m in (("Hip", 0.15), ("Shoulder", 0.2), ("Ankle", 0.0)):
        right, left = pair_of(poses_m, name)
        across_m = ((left - right)[:, :2] * to_left).sum(axis=1)
        assert (across_m > least_m).mean() > 0.99, name
    travel = velocities(poses_m)[:, BODY17.index("Pelvis"), :2]
    walking = np.linalg.norm(travel, axis=1) > 0.5
    assert 0.3 < walking.mean() < 0.8
    direction = travel[walking] / np.linalg.norm(travel[walking], axis=1, keepdims=True)
    assert (direction * forward[:-1][walking]).sum(axis=1).min() > 0.9


def test_knees_bend_forward_as_in_walking(poses_m: np.ndarray) -> None:
    forward = forward_of(poses_m)
    for side in ("Right", "Left"):
        hip, knee, ankle = (joint(poses_m, f"{side}{name}") for name in ("Hip", "Knee", "Ankle"))
        out_m = ((knee - (hip + ankle) / 2)[:, :2] * forward).sum(axis=1)
        assert (out_m > 0).all()
        thigh, shin = knee - hip, ankle - knee
        cosine = (thigh * shin).sum(axis=1) / np.linalg.norm(thigh, axis=1) / np.linalg.norm(shin, axis=1)
        flexion_deg = np.rad2deg(np.arccos(cosine))
        assert flexion_deg.min() > 2
        assert 50 < flexion_deg.max() < 80  # mid-swing, about 60 in people


def test_arms_swing_against_the_legs(poses_m: np.ndarray) -> None:
    forward, pelvis = forward_of(poses_m), joint(poses_m, "Pelvis")
    speed = np.linalg.norm(velocities(poses_m)[:, BODY17.index("Pelvis"), :2], axis=1)
    walking = np.flatnonzero(speed > 0.7)

    def ahead_m(name: str) -> np.ndarray:
        return ((joint(poses_m, name) - pelvis)[:, :2] * forward).sum(axis=1)[walking]

    assert np.corrcoef(ahead_m("RightWrist"), ahead_m("LeftAnkle"))[0, 1] > 0.8
    assert np.corrcoef(ahead_m("RightWrist"), ahead_m("RightAnkle"))[0, 1] < -0.8
    assert 0.2 < np.ptp(ahead_m("LeftWrist")) < 0.7


def test_the_person_reaches_up_forward_and_sideways(poses_m: np.ndarray) -> None:
    forward = forward_of(poses_m)
    to_left = np.stack([-forward[:, 1], forward[:, 0]], axis=1)
    up, ahead, aside = [], [], []
    for side, sign in (("Right", -1.0), ("Left", 1.0)):
        arm = joint(poses_m, f"{side}Wrist") - joint(poses_m, f"{side}Shoulder")
        up.append(arm[:, 2].max())
        ahead.append((arm[:, :2] * forward).sum(axis=1).max())
        aside.append((arm[:, :2] * sign * to_left).sum(axis=1).max())
    arm_m = 1.75 * (0.164 + 0.144)
    assert max(up) > 0.9 * arm_m
    assert max(ahead) > 0.9 * arm_m
    assert max(aside) > 0.9 * arm_m


def test_seeds_differ_and_one_moment_equals_many() -> None:
    first, second = SimulatedPerson(seed=0), SimulatedPerson(seed=1)
    assert np.abs(first.pose_at(5.0) - second.pose_at(5.0)).max() > 0.1
    np.testing.assert_array_equal(SimulatedPerson(seed=0).pose_at(5.0), first.pose_at(np.array([1.0, 5.0]))[1])
    assert first.pose_at(5.0).shape == (17, 3)


def test_the_rig_is_a_pair_of_webcams_on_a_shelf() -> None:
    rig = virtual_rig()
    assert rig.world_from_left is not None
    assert rig.baseline_m == pytest.approx(0.25)
    assert np.rad2deg(rig.axes_angle_rad) == pytest.approx(2.4, abs=0.3)
    for camera in (rig.left, rig.right):
        assert camera.size_px == (1280, 720)
        assert 65 < np.rad2deg(camera.field_of_view_rad()[0]) < 80
        assert -0.3 <= camera.distortion[0] <= -0.1
        assert (camera.distortion[2:4] != 0).all()
    right_centre_m = rig.world_from_left.apply(rig.right_centre_m)
    np.testing.assert_allclose(rig.world_from_left.translation_m, [-0.125, 0, 1.3], atol=1e-9)
    np.testing.assert_allclose(right_centre_m, [0.125, 0, 1.3], atol=1e-9)
    assert rig.world_from_left.rotation[2, 1] < -0.95  # the picture's down is the world's down
    assert np.abs(virtual_rig(1).left.matrix - rig.left.matrix).max() > 0.1


def homogeneous(transform: RigidTransform) -> np.ndarray:
    return np.block([[transform.rotation, transform.translation_m[:, None]], [np.zeros(3), np.ones(1)]])


def test_truth_lands_where_opencv_projects_it() -> None:
    rig, person = virtual_rig(), SimulatedPerson()
    assert rig.world_from_left is not None
    scene, rectifier = SimulatedScene(rig, person), Rectifier(rig)
    assert rectifier.mode == "images"
    left_from_world = np.linalg.inv(homogeneous(rig.world_from_left))
    right_from_world = homogeneous(rig.right_from_left) @ left_from_world
    for time_s in (0.0, 7.7, 21.3):
        truth_m = scene.truth_m(time_s)
        for view, (camera, from_world, own_m) in enumerate(
            ((rig.left, left_from_world, truth_m), (rig.right, right_from_world, rig.right_from_left.apply(truth_m)))
        ):
            turn, _ = cv2.Rodrigues(from_world[:3, :3])
            expected, _ = cv2.projectPoints(
                person.pose_at(time_s), turn, from_world[:3, 3], camera.matrix, camera.distortion
            )
            expected = expected.reshape(-1, 2)
            np.testing.assert_allclose(camera.px_from_camera(own_m), expected, atol=1e-6)
            assert ((expected > 0) & (expected < camera.size_px)).all()
            # And the rectified picture shows it where the undistorted, turned pixel is.
            rays = camera.rays_from_px(expected)
            turned = np.concatenate([rays, np.ones((17, 1))], axis=1) @ (
                rectifier.rig.left_from_rectified if view == 0 else rectifier.rig.right_from_rectified
            )
            flat_px = turned[:, :2] / turned[:, 2:] * rectifier.rig.focal_px + rectifier.rig.centres_px[view]
            rectified_px = rectifier.picture_px(view, truth_m @ rectifier.rig.left_from_rectified)
            np.testing.assert_allclose(rectified_px, flat_px, atol=1e-3)


def small_rig() -> StereoRig:
    """Half the size: four times quicker to render."""
    rig = virtual_rig()
    # Pixel centres are at integers: the corner of the picture lies at -0.5 in both sizes.
    halve = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]])
    left, right = (Camera((640, 360), halve @ camera.matrix, camera.distortion) for camera in (rig.left, rig.right))
    return StereoRig(left, right, rig.right_from_left, rig.world_from_left)


@pytest.fixture(scope="module")
def scene() -> SimulatedScene:
    return SimulatedScene(small_rig(), SimulatedPerson())


def person_mask(scene: SimulatedScene, view: int, time_s: float) -> np.ndarray:
    """Pixels that the person changes against a moment when they are elsewhere. The floor's shadow is left out."""
    image = scene.images(time_s)[view].astype(int)
    background = np.median([scene.images(t)[view] for t in (2.0, 8.0, 20.0, 32.5, 44.0)], axis=0)
    return np.abs(image - background).max(axis=-1) > 25


@pytest.mark.parametrize("time_s", [0.5, 8.9, 15.0])
def test_the_person_is_drawn_where_the_joints_are(scene: SimulatedScene, time_s: float) -> None:
    rig = small_rig()
    truth_m = scene.truth_m(time_s)
    for view, (camera, own_m) in enumerate(((rig.left, truth_m), (rig.right, rig.right_from_left.apply(truth_m)))):
        mask = person_mask(scene, view, time_s)
        joints_px = np.round(camera.px_from_camera(own_m)).astype(int)
        near = cv2.dilate(mask.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)
        hit = near[joints_px[:, 1], joints_px[:, 0]]
        assert hit.mean() > 0.9, [BODY17.joints[i] for i in np.flatnonzero(~hit)]
        rows, columns = np.nonzero(cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)))
        assert rows.min() == pytest.approx(joints_px[:, 1].min(), abs=20)
        assert rows.max() == pytest.approx(joints_px[:, 1].max(), abs=30)
        assert columns.min() > joints_px[:, 0].min() - 45
        assert columns.max() < joints_px[:, 0].max() + 45


def test_pictures_are_repeatable_differ_between_views_and_follow_the_motion(scene: SimulatedScene) -> None:
    left, right = scene.images(3.0)
    again_left, again_right = scene.images(3.0)
    np.testing.assert_array_equal(left, again_left)
    np.testing.assert_array_equal(right, again_right)
    assert left.shape == (360, 640, 3)
    assert left.dtype == np.uint8
    assert (np.abs(left.astype(int) - right).max(axis=-1) > 10).mean() > 0.05
    assert (np.abs(left.astype(int) - scene.images(3.2)[0]).max(axis=-1) > 10).mean() > 0.005


def test_the_shoes_darken_the_floor_beneath_them(scene: SimulatedScene) -> None:
    rig, person = small_rig(), SimulatedPerson()
    assert rig.world_from_left is not None
    time_s = 15.0
    heels_m = person.figure_at(time_s).heels_m
    beneath_px = rig.left.px_from_camera(rig.world_from_left.inverse().apply(heels_m.mean(axis=0) * [1, 1, 0]))
    column, row = np.round(beneath_px).astype(int)
    patch = np.s_[row - 2 : row + 3, column - 2 : column + 3]
    elsewhere = np.median([scene.images(t)[0] for t in (2.0, 8.0, 20.0, 32.5, 44.0)], axis=0)
    assert scene.images(time_s)[0][patch].mean() < 0.9 * elsewhere[patch].mean()


def test_pairs_come_at_the_asked_rate() -> None:
    pairs = list(SimulatedSource(SimulatedScene(small_rig(), SimulatedPerson()), 0.15, frames_per_second=20.0))
    assert [pair.index for pair in pairs] == [0, 1, 2]
    np.testing.assert_allclose([pair.timestamp_s for pair in pairs], [0.0, 0.05, 0.1])
    assert pairs[0].left.shape == pairs[0].right.shape == (360, 640, 3)


def test_a_scene_needs_to_know_where_the_room_is() -> None:
    rig = virtual_rig()
    with pytest.raises(RigError, match="world_from_left"):
        SimulatedScene(StereoRig(rig.left, rig.right, rig.right_from_left), SimulatedPerson())


PLAIN = Camera((640, 480), np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]]))
FACING_UP = (np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]), np.zeros(3))  # world z up, y away from the camera
FROM_CAMERA = np.array([0.0, -1.0, 0.0])


def draw(ends_m: list, radii_m: list, materials: list[str]) -> np.ndarray:
    image = np.zeros((480, 640, 3), dtype=np.uint8)
    numbers = np.array([list(MATERIALS).index(name) for name in materials])
    draw_capsules(image, PLAIN, Capsules(np.array(ends_m), np.array(radii_m), numbers), FACING_UP, FROM_CAMERA)
    return image


def test_a_ball_is_drawn_as_a_disc_of_the_right_size() -> None:
    image = draw([[[0.3, 3.0, 0.2]] * 2], [[0.25, 0.25]], ["shoe"])
    rows, columns = np.nonzero(image.max(axis=-1) > 60)
    across_px = 500 * 0.25 / 3.0
    assert columns.mean() == pytest.approx(320 + 500 * 0.1, abs=0.5)
    assert rows.mean() == pytest.approx(240 - 500 * 0.2 / 3, abs=0.5)
    assert len(rows) == pytest.approx(np.pi * across_px**2, rel=0.03)


def test_the_nearer_capsule_hides_the_other_whatever_the_order() -> None:
    near, far = [[-0.3, 2.0, 0.0], [0.3, 2.0, 0.0]], [[0.0, 2.6, -0.4], [0.0, 2.6, 0.4]]
    one = draw([near, far], [[0.1, 0.1]] * 2, ["shirt", "trousers"])
    other = draw([far, near], [[0.1, 0.1]] * 2, ["trousers", "shirt"])
    np.testing.assert_array_equal(one, other)
    blue, _, red = (int(v) for v in one[240, 320])
    assert red > 2 * blue  # the shirt is orange, the trousers are blue
    assert COLOURS[list(MATERIALS).index("shirt"), 0] > COLOURS[list(MATERIALS).index("shirt"), 2]
    blue, _, red = (int(v) for v in one[170, 320])
    assert blue > red


def test_a_capsule_pointing_at_the_camera_covers_what_its_ends_cover() -> None:
    image = draw([[[0.0, 2.0, 0.0], [0.0, 2.4, 0.0]]], [[0.2, 0.2]], ["shoe"])
    assert (image.max(axis=-1) > 60).sum() == pytest.approx(np.pi * (500 * 0.2 / 2.0) ** 2, rel=0.05)


def test_what_is_behind_the_camera_is_not_drawn() -> None:
    assert not draw([[[0.0, -2.0, 0.0], [0.0, -2.4, 0.0]]], [[0.2, 0.2]], ["shoe"]).any()


def test_rays_of_the_room_lead_back_to_their_pixels() -> None:
    rig = virtual_rig()
    assert rig.world_from_left is not None
    rays = camera_rays(rig.left, rig.world_from_left)
    rows, columns = np.array([0, 100, 333, 719]), np.array([5, 1279, 640, 250])
    in_camera = rays[rows, columns] @ rig.world_from_left.rotation
    np.testing.assert_allclose(rig.left.px_from_camera(in_camera), np.stack([columns, rows], axis=1), atol=0.02)
