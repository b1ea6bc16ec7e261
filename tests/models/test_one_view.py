"""Limb joints that one view shows elsewhere than the other: a person of known shape, seen by a known rig."""

from __future__ import annotations

import numpy as np
import pytest
from binopose.calibration.rectify import RectifiedRig
from binopose.calibration.triangulate import project, triangulate
from binopose.models.one_view import TRUST, OneViewPlacing, Placed, as_inferred, with_placed
from binopose.models.outliers import LIMB_ENDS
from binopose.models.pose import Pose2D, Pose3D
from binopose.models.skeleton import BODY17

RIG = RectifiedRig(900.0, 640.0, 600.0, 360.0, 1.2, np.eye(3), np.eye(3))
RIGHT_WRIST, RIGHT_ELBOW, LEFT_ANKLE = (BODY17.index(j) for j in ("RightWrist", "RightElbow", "LeftAnkle"))
STEP_S = 1 / 30

# Metres, x to the person's left, y down, z backward.
PERSON_M = np.array(
    [
        [-0.14, 0.85, 0.05], [-0.12, 0.43, -0.06], [-0.10, 0, 0], [0.10, 0, 0], [0.12, 0.43, -0.06], [0.14, 0.85, 0.05],
        [0, 0, 0], [0, -0.26, 0.02], [0, -0.48, 0], [0, -0.72, 0], [-0.30, 0.04, -0.15], [-0.24, -0.2, 0.02],
        [-0.18, -0.46, 0], [0.18, -0.46, 0], [0.24, -0.2, 0.02], [0.30, 0.04, -0.15], [0, -0.58, -0.1],
    ]
) + np.array([0.6, 0.1, 3.0])  # fmt: skip
# Upper arm, forearm, thigh, shin: of both sides alike.
LENGTHS_M = np.linalg.norm(PERSON_M[LIMB_ENDS[::2, 0]] - PERSON_M[LIMB_ENDS[::2, 1]], axis=1)


def seen(points_m: np.ndarray = PERSON_M, confidence: float = 0.9) -> tuple[Pose2D, Pose2D]:
    """Both views of a person."""
    left, right = (Pose2D(points_px, np.full(17, confidence), BODY17) for points_px in project(RIG, points_m))
    return left, right


def moved(pose: Pose2D, joint: int, by_px: tuple[float, float], confidence: float | None = None) -> Pose2D:
    """A view with one joint elsewhere."""
    points_px, confidences = pose.points_px.copy(), pose.confidence.copy()
    points_px[joint] += by_px
    if confidence is not None:
        confidences[joint] = confidence
    return Pose2D(points_px, confidences, BODY17)


def met(views: tuple[Pose2D, Pose2D], *refused: int) -> np.ndarray:
    """Where the views meet, without the joints that something before has refused."""
    points_m = triangulate(RIG, views[0].points_px, views[1].points_px)
    points_m[list(refused)] = np.nan
    return points_m


class Stream:
    """Frames of one person; each step gives what one view placed."""

    def __init__(self) -> None:
        self.placing, self.time_s = OneViewPlacing(), 0.0
        assert self.step(seen()) == []

    def step(
        self, views: tuple[Pose2D, Pose2D], *refused: int, lengths_m: np.ndarray = LENGTHS_M, after_s: float = STEP_S
    ) -> list[Placed]:
        self.time_s += after_s
        return self.placing.place(RIG, views, met(views, *refused), lengths_m, 1.0, self.time_s)


@pytest.mark.parametrize("wrong", [0, 1])
@pytest.mark.parametrize("joint", [RIGHT_WRIST, RIGHT_ELBOW, LEFT_ANKLE])
def test_the_view_that_shows_it_is_believed(wrong: int, joint: int) -> None:
    """The joint is where it was and one view says otherwise: from the line of sight and the bone the place is exact."""
    stream, views = Stream(), list(seen())
    views[wrong] = moved(views[wrong], joint, (70.0, 60.0))
    (found,) = stream.step((views[0], views[1]), joint)
    assert (found.joint, found.view) == (joint, 1 - wrong)
    assert np.linalg.norm(found.point_m - PERSON_M[joint]) < 1e-6
    assert found.confidence == pytest.approx(TRUST * 0.9)


def test_a_joint_that_moves_on_while_one_view_is_lost_is_followed() -> None:
    """The forearm turns by 80 degrees in a second about the elbow; the left view sticks to where the hand was."""
    stream, arm_m = Stream(), PERSON_M[RIGHT_WRIST] - PERSON_M[RIGHT_ELBOW]
    for frame in range(30):
        angle = np.deg2rad(80) * frame / 30
        turned_m = np.array([
            arm_m[0] * np.cos(angle) - arm_m[1] * np.sin(angle),
            arm_m[0] * np.sin(angle) + arm_m[1] * np.cos(angle),
            arm_m[2],
        ])  # fmt: skip
        now_m = PERSON_M.copy()
        now_m[RIGHT_WRIST] = now_m[RIGHT_ELBOW] + turned_m
        views = moved(seen()[0], RIGHT_WRIST, (0, 0), confidence=0.3), seen(now_m)[1]
        found = stream.step(views, RIGHT_WRIST)
        assert [placed.view for placed in found] == [1]
        assert np.linalg.norm(found[0].point_m - now_m[RIGHT_WRIST]) < 1e-6


def test_views_that_agree_are_left_alone() -> None:
    stream = Stream()
    assert stream.step(seen()) == []
    # Even after a mistake, and at a place where nobody expected the joint: a hand that has swung round fast.
    swung_m = PERSON_M.copy()
    swung_m[RIGHT_WRIST] = 2 * PERSON_M[RIGHT_ELBOW] - PERSON_M[RIGHT_WRIST]
    assert stream.step(seen(swung_m)) == []


def test_views_that_meet_where_the_bone_cannot_reach_are_doubted() -> None:
    """Moved along its row, which no row tells."""
    stream, (left, right) = Stream(), seen()
    (found,) = stream.step((left, moved(right, RIGHT_WRIST, (80.0, 0.0))))
    assert (found.joint, found.view) == (RIGHT_WRIST, 0)
    assert np.linalg.norm(found.point_m - PERSON_M[RIGHT_WRIST]) < 1e-6


@pytest.mark.parametrize(
    ("confidence", "lengths_m", "after_s"),
    [
        (0.1, LENGTHS_M, STEP_S),  # neither view is sure of anything
        (0.9, np.full(4, np.nan), STEP_S),  # the person is not known yet
        (0.9, LENGTHS_M, 1.5),  # the joint may be anywhere by now
    ],
)
def test_nothing_is_made_up(confidence: float, lengths_m: np.ndarray, after_s: float) -> None:
    stream, (left, right) = Stream(), seen(confidence=confidence)
    views = left, moved(right, RIGHT_WRIST, (70.0, 60.0))
    assert stream.step(views, RIGHT_WRIST, lengths_m=lengths_m, after_s=after_s) == []


def test_lines_of_sight_out_of_reach_place_nothing() -> None:
    stream, (left, right) = Stream(), seen()
    views = moved(left, RIGHT_WRIST, (-250.0, 0.0)), moved(right, RIGHT_WRIST, (0.0, 300.0))
    assert stream.step(views, RIGHT_WRIST) == []


def test_a_joint_without_its_neighbour_is_not_placed_and_reset_forgets() -> None:
    stream, (left, right) = Stream(), seen()
    views = left, moved(right, RIGHT_WRIST, (70.0, 60.0))
    # The elbow is gone altogether, in both views.
    gone = tuple(moved(view, RIGHT_ELBOW, (0, 0), confidence=0.0) for view in views)
    assert stream.step((gone[0], gone[1]), RIGHT_WRIST, RIGHT_ELBOW) == []
    stream.placing.reset()
    assert stream.step(views, RIGHT_WRIST) == []


def test_two_places_alike_make_it_unsure() -> None:
    """A forearm along the line of sight's perpendicular could point toward the camera or away from it."""
    ahead_m = PERSON_M.copy()
    ahead_m[RIGHT_WRIST] = ahead_m[RIGHT_ELBOW] + [0.0, 0.255, -0.05]
    stream, (left, right) = Stream(), seen(ahead_m)
    assert stream.step((left, right)) == []
    (unsure,) = stream.step((left, moved(right, RIGHT_WRIST, (70.0, 60.0))), RIGHT_WRIST)
    clear = Stream()
    (sure,) = clear.step((seen()[0], moved(seen()[1], RIGHT_WRIST, (70.0, 60.0))), RIGHT_WRIST)
    assert np.linalg.norm(unsure.sigma_m) > 1.3 * np.linalg.norm(sure.sigma_m)


def test_what_the_denoiser_is_told_and_how_sure_its_answer_may_be() -> None:
    left, right = seen()
    right = moved(right, RIGHT_WRIST, (70.0, 60.0))
    confidence = np.where(np.arange(17) == RIGHT_WRIST, 0, 0.9)
    raw = Pose3D(met((left, right), RIGHT_WRIST), confidence, np.full((17, 3), 0.02), BODY17, 0.0)
    placed = [Placed(RIGHT_WRIST, 0, PERSON_M[RIGHT_WRIST], 0.36, np.array([0.03, 0.03, 0.1]))]
    new_left, new_right, completed = with_placed(RIG, left, right, raw, placed)
    assert np.abs(completed.points_m - PERSON_M).max() < 1e-9
    assert completed.confidence[RIGHT_WRIST] == 0.36
    assert np.abs(new_left.points_px - left.points_px).max() < 1e-9
    assert np.abs(new_right.points_px - seen()[1].points_px).max() < 1e-9
    assert np.isnan(raw.points_m[RIGHT_WRIST]).all(), "what came in is left as it was"
    answer = as_inferred(completed, placed)
    assert answer.confidence[RIGHT_WRIST] == 0
    assert answer.sigma_m[RIGHT_WRIST].tolist() == [0.03, 0.03, 0.1]
    assert (np.delete(answer.sigma_m, RIGHT_WRIST, axis=0) == 0.02).all()
    assert with_placed(RIG, left, right, raw, []) == (left, right, raw)
