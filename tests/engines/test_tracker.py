"""Choosing and keeping one person: simulated people in front of a simulated rig, and the recording with two of them.

The stand-in detector and network see the people of a list that the tests change; nothing is computed from pixels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
from binopose.calibration.rectify import Rectifier
from binopose.calibration.rig import Camera, RigidTransform, StereoRig
from binopose.engines.detectors import blazepose
from binopose.engines.detectors.person import PersonCandidate, body_region
from binopose.engines.detectors.pose_network import PoseReading
from binopose.engines.detectors.region import Region
from binopose.engines.detectors.tracker import (
    DISAGREEMENT_PAUSE,
    MAX_DISAGREEING,
    SEARCH_PAUSE,
    StereoTracker,
    steady,
    within_picture,
)
from binopose.models.pose import Pose2D
from binopose.models.skeleton import COCO17

SIZE_PX = (1280, 720)
BLANK = np.zeros((SIZE_PX[1], SIZE_PX[0], 3), np.uint8)
# A standing person, metres right of, below and in front of the middle of the hips, in the order of COCO17.
BODY_M = np.array(
    [
        *([0, -0.65, 0], [0.03, -0.68, 0], [-0.03, -0.68, 0], [0.07, -0.66, 0], [-0.07, -0.66, 0]),
        *([0.18, -0.5, 0], [-0.18, -0.5, 0], [0.25, -0.2, 0], [-0.25, -0.2, 0], [0.25, 0.05, 0], [-0.25, 0.05, 0]),
        *([0.1, 0, 0], [-0.1, 0, 0], [0.1, 0.45, 0], [-0.1, 0.45, 0], [0.1, 0.85, 0], [-0.1, 0.85, 0]),
    ]
)


def rig(tilt_rad: float = 0.0) -> StereoRig:
    camera = Camera(SIZE_PX, np.array([[900.0, 0, 640], [0, 900, 360], [0, 0, 1]]))
    turn, _ = cv2.Rodrigues(np.array([tilt_rad, 0.1, 0.0]))
    return StereoRig(camera, camera, RigidTransform(turn, turn @ np.array([-0.4, 0.0, 0.0])))


@dataclass
class World:
    """People, and what became of the calls. hidden: (view, person) not to be seen; raised: arms up."""

    rectifier: Rectifier
    hips_m: dict[str, tuple[float, float, float]]
    hidden: set[tuple[int, str]] = field(default_factory=set)
    raised: set[str] = field(default_factory=set)
    presence: dict[tuple[int, str], float] = field(default_factory=dict)
    searches: list[int] = field(default_factory=list)
    close_searches: int = 0

    def joints_px(self, view: int, person: str) -> np.ndarray:
        body_m = BODY_M.copy()
        if person in self.raised:
            body_m[7:11, 1] -= [0.6, 0.6, 1.1, 1.1]  # elbows and wrists
        return self.rectifier.picture_px(view, body_m + self.hips_m[person])

    def body(self, view: int, person: str) -> Region:
        points_px = self.joints_px(view, person)
        hips_px = points_px[11:13].mean(axis=0)
        return body_region(hips_px, hips_px - [0, np.ptp(points_px[:, 1]) * 0.6])

    def visible(self, view: int) -> list[str]:
        return [person for person in self.hips_m if (view, person) not in self.hidden]


class Searcher:
    def __init__(self, world: World) -> None:
        self.world = world

    def find(self, view: int, picture: np.ndarray, closely: bool = False) -> list[PersonCandidate]:
        self.world.searches.append(view)
        self.world.close_searches += closely
        return [PersonCandidate(self.world.body(view, person), 0.9) for person in self.world.visible(view)]


class Reader:
    device = "cpu"
    skeleton = COCO17
    min_presence = 0.5

    def __init__(self, world: World) -> None:
        self.world = world

    def first_region(self, candidate: PersonCandidate) -> Region:
        return candidate.body

    def read(self, view: int, picture: np.ndarray, region: Region) -> PoseReading:
        distances = {
            person: float(np.hypot(*np.subtract(self.world.body(view, person).centre_px, region.centre_px)))
            for person in self.world.visible(view)
        }
        person = min(distances, key=lambda name: distances[name], default=None)
        if person is None or distances[person] > region.size_px[1] / 3:
            nowhere = Pose2D(np.zeros((17, 2)), np.full(17, 0.05), COCO17)
            return PoseReading(nowhere, 0.1, region)
        pose = Pose2D(self.world.joints_px(view, person), np.full(17, 0.9), COCO17)
        return PoseReading(pose, self.world.presence.get((view, person), 0.95), self.world.body(view, person))

    def read_both(
        self, pictures: tuple[np.ndarray, np.ndarray], regions: tuple[Region, Region]
    ) -> tuple[PoseReading, PoseReading]:
        return self.read(0, pictures[0], regions[0]), self.read(1, pictures[1], regions[1])

    def close(self) -> None:
        pass


class Scene:
    """A tracker in a world."""

    def __init__(
        self, hips_m: dict[str, tuple[float, float, float]], tracker_rectifier: Rectifier | None = None
    ) -> None:
        self.world = World(Rectifier(rig(), mode="points"), hips_m)
        rectifier = tracker_rectifier or self.world.rectifier
        self.tracker = StereoTracker("simulated", rectifier, Searcher(self.world), Reader(self.world))

    def step(self) -> tuple[str | None, str | None]:
        """Who is followed in each view."""
        poses = self.tracker.detect(BLANK, BLANK, 0.0)
        return self._who(0, poses[0]), self._who(1, poses[1])

    def _who(self, view: int, pose: Pose2D | None) -> str | None:
        if pose is None:
            return None
        return min(
            self.world.hips_m,
            key=lambda person: float(np.nanmean(np.abs(pose.points_px - self.world.joints_px(view, person)))),
        )


ANNA, BOB = (-0.4, 0.1, 3.0), (0.6, 0.2, 4.5)


def test_nearest_person_is_followed_in_both_views() -> None:
    scene = Scene({"bob": BOB, "anna": ANNA})
    assert [scene.step() for _ in range(3)] == [("anna", "anna")] * 3
    assert len(scene.world.searches) == 2  # once per view, then never again


def test_person_seen_by_both_is_preferred_to_a_nearer_one_seen_by_one() -> None:
    # At different heights: with equal heads and feet in one row, rows could not tell the two apart.
    scene = Scene({"bob": (0.6, -0.3, 4.5), "anna": (-0.4, 0.4, 3.0)})
    scene.world.hidden = {(1, "anna")}
    assert scene.step() == ("bob", "bob")


def test_single_view_is_followed_alone_until_the_other_sees_the_same_person() -> None:
    scene = Scene({"anna": ANNA})
    scene.world.hidden = {(1, "anna")}
    assert scene.step() == ("anna", None)
    scene.world.searches.clear()
    assert [scene.step() for _ in range(SEARCH_PAUSE)] == [("anna", None)] * SEARCH_PAUSE
    assert scene.world.searches == []  # searching at every picture would halve the speed
    scene.world.hidden.clear()
    assert scene.step() == ("anna", "anna")
    assert scene.world.searches == [1]


def test_lost_view_is_searched_at_once() -> None:
    scene = Scene({"anna": ANNA})
    scene.step()
    scene.world.hidden = {(0, "anna")}
    scene.world.searches.clear()
    assert scene.step() == (None, "anna")
    assert scene.world.searches == [0]
    scene.world.hidden.clear()
    assert [scene.step() for _ in range(SEARCH_PAUSE + 1)][-1] == ("anna", "anna")


def test_somebody_else_is_not_taken_for_the_person_followed() -> None:
    scene = Scene({"anna": (-0.4, 0.4, 3.0), "bob": (0.6, -0.4, 4.5)})
    assert scene.step() == ("anna", "anna")
    scene.world.hidden = {(1, "anna")}
    assert {scene.step() for _ in range(3 * SEARCH_PAUSE)} == {("anna", None)}


def test_empty_room_is_searched_closely_now_and_then() -> None:
    scene = Scene({})
    assert {scene.step() for _ in range(16)} == {(None, None)}
    assert scene.world.close_searches == 2 * 2  # two views, every eighth time


def test_views_on_different_people_are_brought_together() -> None:
    scene = Scene({"anna": (-0.4, 0.4, 3.0), "bob": (0.6, -0.4, 4.5)})
    scene.step()
    # Something made the right view follow Bob.
    scene.tracker._bodies[1] = scene.world.body(1, "bob")
    seen = [scene.step() for _ in range(MAX_DISAGREEING + 1)]
    # Never half one and half another.
    assert seen[: MAX_DISAGREEING - 1] == [("anna", None)] * (MAX_DISAGREEING - 1)
    assert seen[-1] == ("anna", "anna")


def test_a_view_that_slips_to_a_neighbour_of_the_same_height_is_held_back() -> None:
    """Rows cannot tell them apart; that the person would have jumped toward the cameras can."""
    scene = Scene({"anna": (-0.6, 0.1, 3.0), "bob": (0.6, 0.1, 3.0)})
    first = scene.step()
    assert first[0] == first[1]
    other = "bob" if first[0] == "anna" else "anna"
    scene.tracker._bodies[1] = scene.world.body(1, other)
    seen = [scene.step() for _ in range(MAX_DISAGREEING + 1)]
    assert all(right in (None, left) for left, right in seen)
    assert seen[-1] == ("anna", "anna") or seen[-1] == ("bob", "bob")


def test_a_view_that_slipped_is_searched_alone_when_the_person_is_hidden_there() -> None:
    scene = Scene({"anna": (-0.4, 0.4, 3.0), "bob": (0.6, -0.4, 4.5)})
    assert scene.step() == ("anna", "anna")
    scene.world.hidden = {(1, "anna"), (0, "bob")}
    scene.tracker._bodies[1] = scene.world.body(1, "bob")
    assert {scene.step() for _ in range(3 * SEARCH_PAUSE)} == {("anna", None)}
    scene.world.hidden.clear()
    assert [scene.step() for _ in range(SEARCH_PAUSE + 1)][-1] == ("anna", "anna")


def test_of_neighbours_the_pair_that_moves_alike_is_taken() -> None:
    """Both stand equally high and near, and the views prefer different ones; Bob alone has raised his arms."""
    scene = Scene({"anna": (-0.5, 0.1, 3.0), "bob": (0.5, 0.1, 3.0)})
    scene.world.raised = {"bob"}
    scene.world.presence = {(1, "bob"): 0.6}
    left, right = scene.step()
    assert left == right


def test_wrong_calibration_neither_hides_the_person_nor_costs_searches_for_ever() -> None:
    # The tracker believes in a rig whose right camera looks 12 degrees further up: rows are off by a fifth of a body.
    scene = Scene({"anna": ANNA}, Rectifier(rig(tilt_rad=0.2), mode="points"))
    steps = MAX_DISAGREEING + DISAGREEMENT_PAUSE
    assert {scene.step() for _ in range(steps)} == {("anna", "anna")}
    # first a search and a close one, then one close one when the views disagree
    assert len(scene.world.searches) == 2 * 3
    assert {scene.step() for _ in range(3 * DISAGREEMENT_PAUSE)} == {("anna", "anna")}
    assert len(scene.world.searches) == 2 * 5  # with a pause that does not grow it would be 2 * 6


def test_walking_out_of_the_picture_ends_the_track() -> None:
    scene = Scene({"anna": ANNA})
    seen = []
    for x in np.linspace(-0.4, -4.5, 30):
        scene.world.hips_m["anna"] = (float(x), 0.1, 3.0)
        seen.append(scene.step())
    assert seen[0] == ("anna", "anna")
    assert seen[-1] == (None, None)
    assert scene.tracker._bodies == [None, None]
    assert len(scene.world.searches) > 2  # whoever comes next is looked for


def test_tremor_does_not_move_the_region() -> None:
    scene = Scene({"anna": ANNA})
    scene.step()
    bodies = list(scene.tracker._bodies)
    scene.world.hips_m["anna"] = (ANNA[0] + 0.02, ANNA[1], ANNA[2])
    scene.step()
    assert scene.tracker._bodies == bodies
    scene.world.hips_m["anna"] = (ANNA[0] + 0.3, ANNA[1], ANNA[2])
    scene.step()
    assert scene.tracker._bodies[0] == scene.world.body(0, "anna") != bodies[0]


def test_reset_forgets() -> None:
    scene = Scene({"anna": ANNA})
    scene.step()
    scene.tracker.reset()
    scene.world.searches.clear()
    assert scene.step() == ("anna", "anna")
    assert sorted(scene.world.searches) == [0, 1]


def test_joints_outside_the_picture_are_not_observed() -> None:
    points_px = np.full((17, 2), 100.0)
    points_px[0] = [-0.6, 50]
    points_px[1] = [1279.6, 50]
    points_px[2] = [-0.4, 719.4]
    pose = within_picture(Pose2D(points_px, np.full(17, 0.7), COCO17), BLANK)
    assert pose is not None
    assert np.isnan(pose.points_px[:2]).all()
    assert (pose.confidence[:3] == [0, 0, 0.7]).all()
    np.testing.assert_allclose(pose.points_px[2:], points_px[2:])
    assert within_picture(Pose2D(points_px - 2000, np.full(17, 0.7), COCO17), BLANK) is None


def test_region_stays_until_the_body_has_moved() -> None:
    region = Region((300, 300), (200, 200))
    assert steady(region, Region((306, 303), (204, 204))) is region
    moved, grown = Region((312, 300), (200, 200)), Region((300, 300), (230, 230))
    assert steady(region, moved) is moved
    assert steady(region, grown) is grown


@pytest.mark.parametrize("name", ["pose2sim-single-person", "pose2sim-two-people"])
def test_recorded_people_are_followed_in_both_views(name: str, shared_data: Path, blazepose_weights: Path) -> None:
    """The epipolar geometry of the recording, which the two views' poses know nothing of, must confirm them."""
    folder = shared_data / "stereo" / name
    cameras = json.loads((folder / "calibration" / "cameras.json").read_text())["cameras"]
    captures = [cv2.VideoCapture(str(folder / "videos" / f"{camera}.mp4")) for camera in ("cam01", "cam02")]
    pictures = [tuple(capture.read()[1] for capture in captures) for _ in range(12)]
    size_px = (pictures[0][0].shape[1], pictures[0][0].shape[0])
    turns = [np.array(cameras[camera]["R"]) for camera in ("cam01", "cam02")]
    shifts_m = [np.array(cameras[camera]["T_mm"]) / 1000 for camera in ("cam01", "cam02")]
    right_from_left = turns[1] @ turns[0].T
    left_camera, right_camera = (
        Camera(size_px, np.array(cameras[name]["K"]), np.array(cameras[name]["dist"])) for name in ("cam01", "cam02")
    )
    right_m = shifts_m[1] - right_from_left @ shifts_m[0]
    recorded_rig = StereoRig(left_camera, right_camera, RigidTransform(right_from_left, right_m))
    rectifier = Rectifier(recorded_rig)
    detector = blazepose.open_detector(rectifier, blazepose_weights)
    torso = [detector.skeleton.index(f"{side}{joint}") for side in ("Left", "Right") for joint in ("Shoulder", "Hip")]
    rows_px = []
    for number, (left, right) in enumerate(pictures):
        poses = detector.detect(left, right, number / 60)
        points_px = [rectifier.points(v, pose.points_px[torso]) for v, pose in enumerate(poses) if pose is not None]
        assert len(points_px) == 2, f"picture {number}: {poses}"
        rows_px.append(points_px[0][:, 1] - points_px[1][:, 1])
    detector.close()
    # The two people's hips are 300 px apart in height.
    assert np.median(np.abs(rows_px)) < 30
    assert np.max(np.abs(rows_px)) < 100
