"""Left and right exchanged in one view: a person of known size before two known rigs."""

from __future__ import annotations

import numpy as np
import pytest
from binopose.calibration.rectify import RectifiedRig
from binopose.models.pose import Pose2D
from binopose.models.sides import SideCheck
from binopose.models.skeleton import BODY17
from scipy.spatial.transform import Rotation

# Metres, x to the person's left, y down, z backward; arms and legs not quite alike, as in life.
PERSON_M = np.array(
    [
        [-0.14, 0.85, 0.05], [-0.12, 0.43, -0.06], [-0.10, 0, 0], [0.10, 0, 0], [0.13, 0.43, 0.02], [0.15, 0.85, 0.1],
        [0, 0, 0], [0, -0.26, 0.02], [0, -0.48, 0], [0, -0.72, 0], [-0.30, 0.04, -0.15], [-0.24, -0.2, 0.02],
        [-0.18, -0.46, 0], [0.18, -0.46, 0], [0.28, -0.22, 0.03], [0.36, -0.02, -0.1], [0, -0.58, -0.1],
    ]
)  # fmt: skip
RIGS = {"narrow": (900.0, 0.12), "usual": (900.0, 0.4), "wide": (900.0, 2.6)}


def views(rig: RectifiedRig, turn_deg: float, noise_px: float, seed: int) -> tuple[Pose2D, Pose2D]:
    """What the two rectified cameras see of the person 3 m away, written out as two pinholes."""
    points_m = Rotation.from_euler("y", turn_deg, degrees=True).apply(PERSON_M)
    points_m += np.array([rig.baseline_m / 2, 0.1, 3.0])
    rng = np.random.default_rng(seed)
    poses = []
    for shift_m, centre_px in ((0.0, rig.left_centre_x_px), (rig.baseline_m, rig.right_centre_x_px)):
        x = rig.focal_px * (points_m[:, 0] - shift_m) / points_m[:, 2] + centre_px
        y = rig.focal_px * points_m[:, 1] / points_m[:, 2] + rig.centre_y_px
        pixels = np.stack([x, y], axis=1) + rng.normal(0, noise_px, (17, 2))
        poses.append(Pose2D(pixels, np.ones(17), BODY17))
    return poses[0], poses[1]


def rig_named(name: str) -> RectifiedRig:
    focal_px, baseline_m = RIGS[name]
    return RectifiedRig(focal_px, 640.0, 600.0, 360.0, baseline_m, np.eye(3), np.eye(3))


ARMS, LEGS = ("Shoulder", "Elbow", "Wrist"), ("Hip", "Knee", "Ankle")


def exchanged(pose: Pose2D, parts: tuple[str, ...] = ARMS + LEGS) -> Pose2D:
    """The same detection with the names of left and right joints turned round."""
    order = list(range(17))
    for part in parts:
        right, left = BODY17.joints.index("Right" + part), BODY17.joints.index("Left" + part)
        order[right], order[left] = left, right
    return Pose2D(pose.points_px[order], pose.confidence[order], BODY17)


def acquainted() -> SideCheck:
    """A check that has seen the person in a few positions."""
    check = SideCheck()
    for turn_deg in range(0, 360, 30):
        check.learn(Rotation.from_euler("y", turn_deg, degrees=True).apply(PERSON_M) + 3.0)
    return check


@pytest.mark.parametrize("turn_deg", [0.0, 30.0, -45.0, 150.0, 180.0])
@pytest.mark.parametrize("name", RIGS)
@pytest.mark.parametrize("view", [0, 1])
@pytest.mark.parametrize(
    ("parts", "limbs"),
    [(ARMS + LEGS, ["arms", "legs"]), (LEGS, ["legs"]), (ARMS, ["arms"])],
    ids=["all", "legs", "arms"],
)
def test_exchange_in_one_view_is_noticed(
    name: str, view: int, turn_deg: float, parts: tuple[str, ...], limbs: list[str]
) -> None:
    rig = rig_named(name)
    found = list(views(rig, turn_deg, 1.0 if name != "narrow" else 0.3, seed=0))
    found[view] = exchanged(found[view], parts)
    assert acquainted().exchanged(rig, found[0], found[1]) == limbs


@pytest.mark.parametrize("turn_deg", [0.0, 60.0, 90.0, 120.0, 180.0, 270.0])
@pytest.mark.parametrize("name", RIGS)
@pytest.mark.parametrize("seed", range(3))
def test_right_detections_are_left_alone(name: str, turn_deg: float, seed: int) -> None:
    rig = rig_named(name)
    left, right = views(rig, turn_deg, 1.0, seed)
    assert acquainted().exchanged(rig, left, right) == []
    # Both views alike say nothing about each other.
    assert acquainted().exchanged(rig, exchanged(left), exchanged(right)) == []


def test_unrelated_trouble_is_not_called_an_exchange() -> None:
    """Joints named at random in the right view: no order of sides makes the limbs fit."""
    rig = rig_named("usual")
    left, right = views(rig, 0.0, 1.0, 0)
    for seed in range(10):
        shuffled = np.random.default_rng(seed).permutation(17)
        other = Pose2D(right.points_px[shuffled], right.confidence, BODY17)
        assert acquainted().exchanged(rig, left, other) == []


def test_nothing_is_said_about_a_stranger_or_nobody() -> None:
    rig = rig_named("usual")
    left, right = views(rig, 0.0, 1.0, 0)
    assert SideCheck().exchanged(rig, left, exchanged(right)) == []
    nothing = Pose2D(np.full((17, 2), np.nan), np.zeros(17), BODY17)
    assert acquainted().exchanged(rig, nothing, nothing) == []
    check = acquainted()
    check.learn(np.full((17, 3), np.nan))
    assert check.exchanged(rig, left, exchanged(right)) == ["arms", "legs"]


def test_is_noticed_when_half_the_body_is_hidden() -> None:
    rig = rig_named("usual")
    hidden = [BODY17.joints.index(side + joint) for joint in ("Knee", "Ankle", "Hip") for side in ("Right", "Left")]
    halves = []
    for pose in views(rig, 0.0, 1.0, 0):
        points_px, confidence = pose.points_px.copy(), pose.confidence.copy()
        points_px[hidden], confidence[hidden] = np.nan, 0
        halves.append(Pose2D(points_px, confidence, BODY17))
    assert acquainted().exchanged(rig, halves[0], halves[1]) == []
    assert acquainted().exchanged(rig, halves[0], exchanged(halves[1])) == ["arms"]


@pytest.mark.parametrize("wrist", ["LeftWrist", "RightWrist"])
@pytest.mark.parametrize("view", [0, 1])
def test_one_hidden_wrist_is_no_exchange(wrist: str, view: int) -> None:
    rig = rig_named("usual")
    found = list(views(rig, 20.0, 1.0, 0))
    points_px = found[view].points_px.copy()
    points_px[BODY17.joints.index(wrist)] = np.nan
    found[view] = Pose2D(points_px, found[view].confidence, BODY17)
    assert acquainted().exchanged(rig, found[0], found[1]) == []
