"""Drawing, judged by the pixels it leaves."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from binopose.app.overlay import Overlay, OverlayFrame, ViewOverlay
from binopose.app.view3d import SceneTracker, Viewpoint, draw_plan, draw_turning_view
from binopose.models.pose import Pose2D, Pose3D
from binopose.models.skeleton import BLAZEPOSE33, BODY17

# Okabe and Ito: sky blue (86, 180, 233) for the person's left, orange (230, 159, 0) for the right; here as BGR.
LEFT_BGR, RIGHT_BGR = np.array([233, 180, 86]), np.array([0, 159, 230])
J = {name: number for number, name in enumerate(BODY17.joints)}
VIEW_PX = (1280, 720)  # drawn at half size: the left view at (0, 0), the right one behind a gap
HALF = 0.5


def standing_m(depth_m: float = 3.0) -> np.ndarray:
    """A person facing the camera, (17, 3), x right, y down, z forward: their left is at the right of the picture."""
    place = {"Pelvis": (0, 0), "Thorax": (0, -0.5), "Neck": (0, -0.6), "Nose": (0, -0.7), "HeadTop": (0, -0.85)}
    for side, sign in (("Left", 1), ("Right", -1)):
        place |= {
            f"{side}Hip": (0.12 * sign, 0.0),
            f"{side}Knee": (0.15 * sign, 0.45),
            f"{side}Ankle": (0.16 * sign, 0.9),
            f"{side}Shoulder": (0.2 * sign, -0.48),
            f"{side}Elbow": (0.45 * sign, -0.4),
            f"{side}Wrist": (0.7 * sign, -0.45),
        }
    return np.array([(*place[name], depth_m) for name in BODY17.joints])


def pose_of(points_m: np.ndarray, confidence: float | np.ndarray = 1.0) -> Pose3D:
    return Pose3D(points_m, np.broadcast_to(confidence, 17).copy(), np.full((17, 3), np.nan), BODY17, 0.0)


def pixels_of(points_m: np.ndarray, size_px: tuple[int, int] = VIEW_PX) -> np.ndarray:
    """Pinhole with the focal length of the picture's height: the whole person is seen."""
    return points_m[:, :2] / points_m[:, 2:] * size_px[1] * 1.3 + np.array(size_px) / 2


def plain(value: int = 120, size_px: tuple[int, int] = VIEW_PX) -> np.ndarray:
    picture = np.full((size_px[1], size_px[0], 3), value, np.uint8)
    picture.flags.writeable = False  # drawing into it would raise
    return picture


def frame(
    pose: Pose3D | None = None,
    refined_px: np.ndarray | None = None,
    detected: Pose2D | None = None,
    background: int = 120,
    size_px: tuple[int, int] = VIEW_PX,
    timestamp_s: float = 0.0,
    status: str = "",
) -> OverlayFrame:
    """The same content in both views."""
    view = ViewOverlay(plain(background, size_px), detected, refined_px)
    return OverlayFrame(view, view, pose, 12, timestamp_s, {"detect": 18.2, "denoise": 1.0}, status)


def left_view(composed: np.ndarray) -> np.ndarray:
    return composed[:360, :640]


def is_near(picture: np.ndarray, colour: np.ndarray, within: int = 25) -> np.ndarray:
    """(H, W) bool: pixels of about this colour."""
    return np.abs(picture.astype(int) - colour).max(axis=-1) <= within


def column_of(picture: np.ndarray, colour: np.ndarray) -> float:
    columns = np.nonzero(is_near(picture, colour))[1]
    assert len(columns) > 20
    return float(columns.mean())


def row_of(picture: np.ndarray, colour: np.ndarray) -> float:
    return column_of(picture.swapaxes(0, 1), colour)


def middle_of(points_px: np.ndarray, a: str, b: str) -> tuple[int, int]:
    """Row and column, in the composed picture, of the middle of a bone in the left view."""
    x, y = ((points_px[J[a]] + points_px[J[b]]) / 2 + 0.5) * HALF - 0.5
    return round(y), round(x)


# -- the composed picture ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size_px", [(1080, 1920), (1088, 1920), (1280, 720), (640, 480), (641, 359), (720, 720)])
def test_size_is_even_and_the_same_with_and_without_a_person(size_px: tuple[int, int]) -> None:
    overlay = Overlay(size_px)
    points_m = standing_m()
    width, height = overlay.size_px
    assert width % 2 == 0
    assert height % 2 == 0
    assert 1200 <= width <= 1600
    assert 650 <= height <= 1100
    for content in (
        frame(size_px=size_px),
        frame(pose_of(points_m), pixels_of(points_m, size_px), size_px=size_px, timestamp_s=1.0),
        frame(pose_of(points_m + 0.3), size_px=size_px, timestamp_s=2.0),
    ):
        composed = overlay.compose(content)
        assert composed.shape == (height, width, 3)
        assert composed.dtype == np.uint8


def test_nothing_that_is_handed_in_changes() -> None:
    points_m, confidence = standing_m(), np.linspace(0, 1, 17)
    refined_px = pixels_of(points_m)
    detected = Pose2D(refined_px + 3, confidence, BODY17)
    pose = pose_of(points_m, confidence)
    arrays = (refined_px, detected.points_px, detected.confidence, pose.points_m, pose.confidence)
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    Overlay(VIEW_PX).compose(frame(pose, refined_px, detected))
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_each_picture_is_a_new_one() -> None:
    overlay = Overlay(VIEW_PX)
    first = overlay.compose(frame())
    kept = first.copy()
    overlay.compose(frame(pose_of(standing_m()), pixels_of(standing_m()), background=10, timestamp_s=5.0))
    np.testing.assert_array_equal(first, kept)


def test_views_are_where_they_belong() -> None:
    content = OverlayFrame(ViewOverlay(plain(40)), ViewOverlay(plain(210)), None, 0, 0.0)
    composed = Overlay(VIEW_PX).compose(content)
    assert (composed[60:350, 5:635] == 40).all()
    assert (composed[60:350, 650:1275] == 210).all()


def test_view_of_another_shape_keeps_its_proportions() -> None:
    disc = np.zeros((400, 400, 3), np.uint8)
    cv2.circle(disc, (200, 200), 150, (200, 200, 200), -1)
    content = OverlayFrame(ViewOverlay(plain(40)), ViewOverlay(disc), None, 0, 0.0)
    rows, columns = np.nonzero(Overlay(VIEW_PX).compose(content)[60:359, 645:, 0] > 150)
    assert np.ptp(columns) == pytest.approx(300 * 0.9, abs=3)
    assert np.ptp(rows) > 230  # cut above by the margin that excludes the label


# -- what is drawn on the views ------------------------------------------------------------------------------------


@pytest.mark.parametrize("background", [5, 120, 250])
def test_limbs_have_the_colour_of_their_side_and_a_dark_outline(background: int) -> None:
    points_m = standing_m()
    refined_px = pixels_of(points_m)
    composed = Overlay(VIEW_PX).compose(frame(pose_of(points_m), refined_px, background=background))
    for joints in (("Elbow", "Shoulder"), ("Knee", "Hip"), ("Ankle", "Knee")):
        for side, colour in (("Left", LEFT_BGR), ("Right", RIGHT_BGR)):
            row, column = middle_of(refined_px, *(side + joint for joint in joints))
            np.testing.assert_allclose(composed[row, column].astype(int), colour, atol=12)
            np.testing.assert_allclose(composed[row, column + 642].astype(int), colour, atol=12)  # the right view
    row, column = middle_of(refined_px, "LeftKnee", "LeftHip")
    across = composed[row, column - 6 : column + 7].max(axis=1)
    assert across[:6].min() < 50 + 0.25 * background
    assert across[7:].min() < 50 + 0.25 * background
    assert abs(int(across[0]) - background) <= 1


def test_joints_without_a_place_are_not_drawn() -> None:
    points_m = standing_m()
    points_m[J["LeftKnee"]] = np.nan
    refined_px = pixels_of(points_m)
    overlay = Overlay(VIEW_PX)
    composed = left_view(overlay.compose(frame(pose_of(points_m), refined_px)))
    whole_px = pixels_of(standing_m())
    assert (composed[middle_of(whole_px, "LeftKnee", "LeftHip")] == 120).all()
    assert (composed[middle_of(whole_px, "LeftAnkle", "LeftKnee")] == 120).all()
    np.testing.assert_allclose(composed[middle_of(whole_px, "RightKnee", "RightHip")], RIGHT_BGR, atol=12)


def test_pose_that_is_nowhere_draws_nothing() -> None:
    overlay = Overlay(VIEW_PX)
    empty = overlay.compose(frame(status="same"))
    nowhere_m, nowhere_px = np.full((17, 3), np.nan), np.full((17, 2), np.nan)
    nothing = Pose2D(nowhere_px, np.zeros(17), BODY17)
    composed = overlay.compose(frame(pose_of(nowhere_m, 0.0), nowhere_px, nothing, status="same"))
    np.testing.assert_array_equal(composed, empty)


def test_points_far_outside_do_no_harm() -> None:
    points_m = standing_m()
    refined_px = pixels_of(points_m)
    refined_px[J["LeftWrist"]] = (1e30, -1e30)
    refined_px[J["RightWrist"]] = (np.inf, 0)
    refined_px[J["LeftAnkle"], 1] = 900  # below the picture: the shin is drawn as far as it is seen
    composed = left_view(Overlay(VIEW_PX).compose(frame(pose_of(points_m), refined_px)))
    assert is_near(composed[355:], LEFT_BGR).any()
    assert (composed[middle_of(pixels_of(points_m), "LeftWrist", "LeftElbow")] == 120).all()


def test_unsure_joints_are_paler() -> None:
    points_m = standing_m()
    refined_px = pixels_of(points_m)
    where = middle_of(refined_px, "LeftKnee", "LeftHip")
    strengths = []
    for trust in (0.05, 0.2, 0.4, 0.9):
        composed = Overlay(VIEW_PX).compose(frame(pose_of(points_m, trust), refined_px, background=0))
        strengths.append(int(composed[where].max()))
    assert strengths == sorted(strengths)
    assert strengths[0] < 0.5 * strengths[-1]
    assert strengths[-1] > 220


def test_inferred_limbs_are_dashed() -> None:
    points_m = standing_m()
    refined_px = pixels_of(points_m)
    confidence = np.ones(17)
    confidence[J["LeftElbow"]] = 0
    composed = Overlay(VIEW_PX).compose(frame(pose_of(points_m, confidence), refined_px))
    for side, colour, dashed in (("Left", LEFT_BGR, True), ("Right", RIGHT_BGR, False)):
        ends = [(refined_px[J[side + joint]] + 0.5) * HALF - 0.5 for joint in ("Shoulder", "Elbow")]
        along = np.linspace(ends[0], ends[1], 200).round().astype(int)
        coloured = is_near(composed[along[:, 1], along[:, 0]], colour, 60)
        changes = np.count_nonzero(np.diff(coloured.astype(int)))
        assert (changes >= 4) if dashed else (changes == 0)


def test_detections_are_rings_and_only_where_something_was_detected() -> None:
    points_px = pixels_of(standing_m())
    confidence = np.ones(17)
    confidence[J["RightWrist"]] = 0
    composed = left_view(Overlay(VIEW_PX).compose(frame(detected=Pose2D(points_px, confidence, BODY17))))

    def around(joint: str) -> np.ndarray:
        x, y = ((points_px[J[joint]] + 0.5) * HALF - 0.5).round().astype(int)
        return composed[y - 6 : y + 7, x - 6 : x + 7]

    ring = is_near(around("LeftWrist"), LEFT_BGR, 70)
    assert ring.any()
    assert not ring[6, 6]  # hollow
    assert not is_near(around("LeftWrist"), RIGHT_BGR, 70).any()
    assert (around("RightWrist") == 120).all()


def test_skeleton_of_any_detector_can_be_drawn() -> None:
    random = np.random.default_rng(3)
    detected = Pose2D(random.uniform(100, 600, (33, 2)), np.ones(33), BLAZEPOSE33)
    composed = left_view(Overlay(VIEW_PX).compose(frame(detected=detected)))
    assert is_near(composed, LEFT_BGR).any()
    assert is_near(composed, RIGHT_BGR).any()


def test_missing_person_and_warnings_show_in_the_strip() -> None:
    overlay, pose = Overlay(VIEW_PX), pose_of(standing_m())

    def yellow(content: OverlayFrame) -> int:
        strip = overlay.compose(content)[-36:]
        return int(np.count_nonzero((strip[..., 2] > 200) & (strip[..., 0] < 100)))

    assert yellow(frame(pose)) == 0
    assert yellow(frame()) > 50
    assert yellow(frame(pose, status="left camera lost, waiting for it")) > yellow(frame())


def test_more_stages_than_fit_are_left_out() -> None:
    stages = {f"a stage with a long name {number}": 1.0 for number in range(30)}
    view = ViewOverlay(plain())
    composed = Overlay(VIEW_PX).compose(OverlayFrame(view, view, None, 10**7, 1e6, stages, "warning"))
    strip = composed[-36:]
    assert ((strip[:, -60:, 2] > 200) & (strip[:, -60:, 0] < 100)).any()  # the warning is still readable


# -- the person in space -------------------------------------------------------------------------------------------


def panel() -> np.ndarray:
    return np.zeros((400, 500, 3), np.uint8)


def test_turning_view_shows_the_person_as_the_camera_does_and_from_behind_mirrored() -> None:
    pose = pose_of(standing_m())
    scene = SceneTracker().update(pose, 0.0)
    front, back = panel(), panel()
    draw_turning_view(front, pose, scene, Viewpoint())
    draw_turning_view(back, pose, scene, Viewpoint(yaw_rad=math.pi))
    assert column_of(front, LEFT_BGR) > column_of(front, RIGHT_BGR) + 40
    assert column_of(back, LEFT_BGR) < column_of(back, RIGHT_BGR) - 40


def test_eye_moves_to_the_right_for_positive_yaw() -> None:
    """Seen from further right, what is near goes to the left and what is far away to the right."""
    for toward_m, falling in ((-0.6, True), (0.6, False)):
        points_m = standing_m()
        points_m[[J["LeftElbow"], J["LeftWrist"]], 2] += toward_m
        points_m[[J["RightElbow"], J["RightWrist"]], 2] -= toward_m  # keeps the middle where it is
        pose = pose_of(points_m)
        scene = SceneTracker().update(pose, 0.0)
        hand_columns = []
        for yaw_rad in (-0.3, 0.0, 0.3):
            drawn = panel()
            draw_turning_view(drawn, pose, scene, Viewpoint(yaw_rad))
            hand_columns.append(np.nonzero(is_near(drawn, LEFT_BGR))[1].max())
        assert hand_columns == sorted(hand_columns, reverse=falling)
        assert np.ptp(hand_columns) > 10


def test_turning_view_holds_the_whole_person_and_the_floor_lies_below() -> None:
    pose = pose_of(standing_m())
    scene = SceneTracker().update(pose, 0.0)
    with_person, floor = panel(), panel()
    draw_turning_view(with_person, pose, scene, Viewpoint())
    draw_turning_view(floor, None, scene, Viewpoint())
    rows = np.nonzero((with_person != floor).any(axis=(1, 2)))[0]
    assert 5 < rows.min() < 100
    assert 300 < rows.max() < 395
    assert np.nonzero(floor.any(axis=(1, 2)))[0].min() > 200


def test_plan_is_to_scale_and_away_is_up() -> None:
    points_m = standing_m()
    points_m[[J["LeftElbow"], J["LeftWrist"]], 2] += 0.4
    pose = pose_of(points_m)
    scene = SceneTracker().update(pose, 0.0)
    drawn, floor = panel(), panel()
    draw_plan(drawn, pose, scene)
    draw_plan(floor, None, scene)
    assert row_of(drawn, LEFT_BGR) < row_of(drawn, RIGHT_BGR) - 10
    columns = np.nonzero((drawn != floor).any(axis=(0, 2)))[0]
    # From wrist to wrist 1.4 m; the person's height of 1.75 m fills the panel but for a margin of a tenth.
    assert np.ptp(columns) == pytest.approx(1.4 * 400 / 1.1 / 1.75, rel=0.08)


def test_level_rotation_undoes_a_tilted_camera() -> None:
    tilt = cv2.Rodrigues(np.array([0.4, 0.0, 0.1]))[0]  # tilted_from_level
    points_m = standing_m()
    level = Overlay(VIEW_PX).compose(frame(pose_of(points_m)))
    tilted = Overlay(VIEW_PX, tilt.T).compose(frame(pose_of(points_m @ tilt.T)))
    as_it_is = Overlay(VIEW_PX).compose(frame(pose_of(points_m @ tilt.T)))
    assert np.abs(level.astype(int) - tilted).max() <= 40  # a sixteenth of a pixel
    assert np.abs(level.astype(int) - as_it_is).max() > 100


def test_scene_glides_after_a_step_and_arrives() -> None:
    tracker = SceneTracker()
    before = tracker.update(pose_of(standing_m()), 0.0)
    moved = pose_of(standing_m() + np.array([0.5, 0.0, 0.0]))
    after_one_frame = tracker.update(moved, 1 / 30)
    assert 0 < after_one_frame.centre_m[0] - before.centre_m[0] < 0.05
    for number in range(2, 150):
        tracker.update(moved, number / 30)
    scene = tracker.scene
    assert scene.centre_m[0] == pytest.approx(0.5, abs=0.01)
    assert tracker.update(None, 5.1) is scene


def test_lifted_foot_does_not_lift_the_floor() -> None:
    tracker = SceneTracker()
    floor_m = tracker.update(pose_of(standing_m()), 0.0).floor_m
    points_m = standing_m()
    points_m[:, 1] -= 0.3  # a jump
    for number in range(1, 10):
        tracker.update(pose_of(points_m), number / 30)
    assert tracker.scene.floor_m == pytest.approx(floor_m, abs=0.02)


def test_stray_joint_does_not_zoom_out() -> None:
    points_m = standing_m()
    size_m = SceneTracker().update(pose_of(points_m), 0.0).size_m
    points_m[J["LeftWrist"]] = (0, 0, 400)
    assert SceneTracker().update(pose_of(points_m), 0.0).size_m == pytest.approx(size_m, rel=0.05)


@pytest.mark.parametrize("timestamp_s", [0.5, 60.0, 10.1])
def test_scene_starts_afresh_for_somebody_else(timestamp_s: float) -> None:
    """After a recording that starts over, after a long pause, and for somebody who stands elsewhere."""
    tracker = SceneTracker()
    tracker.update(pose_of(standing_m(3.0)), 10.0)
    depth_m = 6.0 if timestamp_s == 10.1 else 3.8
    assert tracker.update(pose_of(standing_m(depth_m)), timestamp_s).centre_m[2] == pytest.approx(depth_m)


def with_sigma(pose: Pose3D, sigma_m: np.ndarray) -> Pose3D:
    return Pose3D(pose.points_m, pose.confidence, sigma_m, pose.skeleton, pose.timestamp_s)


@pytest.mark.parametrize("confidence", [1.0, 0.0])
def test_what_is_uncertain_fades(confidence: float) -> None:
    """The right arm is known to 2, 8 or 30 cm per axis, the left one to 2: seen in both views and in space."""
    arm = [J["RightElbow"], J["RightWrist"]]
    found = []
    for arm_sigma_m in (0.02, 0.08, 0.3):
        sigma_m = np.full((17, 3), 0.02)
        sigma_m[arm] = arm_sigma_m
        pose = with_sigma(pose_of(standing_m(), np.where(np.isin(np.arange(17), arm), confidence, 1.0)), sigma_m)
        found.append(Overlay(VIEW_PX).compose(frame(pose, pixels_of(standing_m()))))
    left_arm = [is_near(picture, LEFT_BGR).sum() for picture in found]
    assert left_arm[0] == left_arm[1] == left_arm[2]
    # Where the right forearm is drawn in the left view, by how much the picture differs from the empty one.
    middle_px = pixels_of(standing_m())[arm].mean(axis=0) * HALF
    row, column = round(middle_px[1]), round(middle_px[0])
    there = [picture[row - 4 : row + 5, column - 8 : column + 9].astype(int) for picture in found]
    contrast = [np.abs(part - 120).mean() for part in there]
    assert contrast[0] > 1.2 * contrast[1] > 1.5 * contrast[2] > 3
    # The view in space: fewer orange pixels the less is known.
    in_space = [is_near(picture[362:, :600], RIGHT_BGR, 40).sum() for picture in found]
    assert in_space[0] > in_space[1] >= in_space[2]


def test_unknown_uncertainty_fades_nothing() -> None:
    sure = with_sigma(pose_of(standing_m()), np.full((17, 3), 0.01))
    unsaid = pose_of(standing_m())
    first, second = (Overlay(VIEW_PX).compose(frame(pose, pixels_of(standing_m()))) for pose in (unsaid, sure))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("seen_from", ["front", "above"])
def test_joints_and_bones_in_space_fade_without_a_step(seen_from: str) -> None:
    """The less is known of a wrist the closer forearm and hand are to the picture without them, never all at once."""
    scene = SceneTracker().update(pose_of(standing_m()), 0.0)

    def drawn(points_m: np.ndarray, length_m: float) -> np.ndarray:
        sigma_m = np.full((17, 3), 0.02)
        sigma_m[J["RightWrist"]] = length_m / math.sqrt(3)
        pose, picture = with_sigma(pose_of(points_m), sigma_m), panel()
        if seen_from == "front":
            draw_turning_view(picture, pose, scene, Viewpoint())
        else:
            draw_plan(picture, pose, scene)
        return picture.astype(int)

    without_m = standing_m()
    without_m[J["RightWrist"]] = math.nan
    missing, surest = drawn(without_m, 0.0), drawn(standing_m(), 0.0)
    where = is_near(surest, RIGHT_BGR) & ~is_near(missing, RIGHT_BGR)
    contrast = [
        np.abs(drawn(standing_m(), length_m) - missing)[where].mean() for length_m in np.linspace(0.05, 0.21, 33)
    ]
    steps = -np.diff(contrast)
    assert steps.min() >= 0
    assert steps.max() < 0.06 * contrast[0]
    assert 0.2 < contrast[-1] / contrast[0] < 0.3


def test_uncertain_joints_outside_the_picture_are_no_problem() -> None:
    pose = with_sigma(pose_of(standing_m()), np.full((17, 3), 0.1))
    scene = SceneTracker().update(pose, 0.0)
    for viewpoint in (Viewpoint(zoom=8), Viewpoint(yaw_rad=1.0, zoom=20)):
        draw_turning_view(panel(), pose, scene, viewpoint)
    Overlay(VIEW_PX).compose(frame(pose, pixels_of(standing_m()) + 900))
