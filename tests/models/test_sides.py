"""Left and right exchanged by the detector, and put right again: the simulated person before simulated rigs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from binopose.app.simulation.motion import SimulatedPerson
from binopose.app.simulation.scene import SimulatedScene
from binopose.app.simulation.virtual_rig import virtual_rig
from binopose.calibration.rectify import Rectifier
from binopose.engines.detectors.simulated import DetectorNoise, SimulatedDetector
from binopose.models.epipolar import RowStatistics
from binopose.models.pose import Pose2D
from binopose.models.side_tracker import SideTracker
from binopose.models.sides import NO_EXCHANGE, SideExchange
from binopose.models.skeleton import BLAZEPOSE33, BODY17

RATE_HZ = 30.0
BLAZEPOSE_GIVES = [joint for joint in BODY17.joints if joint in BLAZEPOSE33.joints]
BLANK = np.zeros((720, 1280, 1), np.uint8)
WHOLE, ARMS, LEGS, NOTHING = (3, 3), (3, 0), (0, 3), (0, 0)
VIEWS_OF = {"left view": (1, 0), "right view": (0, 1), "both views": (1, 1)}


def exchange(limbs: tuple[int, int], views: str) -> SideExchange:
    left, right = VIEWS_OF[views]
    return SideExchange((limbs if left else NOTHING, limbs if right else NOTHING))


@dataclass(frozen=True)
class Stream:
    """Rectified detections of the simulated person, sides as they are."""

    rectifier: Rectifier
    bodies: list[tuple[Pose2D, Pose2D]]

    def settled(self, exchanges: Sequence[SideExchange], lookahead: int) -> list[SideExchange]:
        """What a tracker says of the detections after `exchanges` were made in them."""
        tracker, rows, found = SideTracker(lookahead), RowStatistics(), []
        for number, (bodies, made) in enumerate(zip(self.bodies, exchanges, strict=True)):
            shown = made.corrected(0, bodies[0]), made.corrected(1, bodies[1])  # the same thing undone is done
            rows.observe(shown[0].points_px[:, 1] - shown[1].points_px[:, 1])
            found.append(tracker.push(self.rectifier.rig, rows, shown, number / RATE_HZ))
        return [each for each in found if each is not None] + tracker.finish()


def rectified(rectifier: Rectifier, view: int, pose: Pose2D) -> Pose2D:
    return Pose2D(rectifier.points(view, pose.points_px), pose.confidence, pose.skeleton)


def stream(seed: int, frames: int, disparity_sd_px: float = 0.6) -> Stream:
    rig = virtual_rig(seed)
    scene, rectifier = SimulatedScene(rig, SimulatedPerson(seed=seed)), Rectifier(rig)
    noise = DetectorNoise(disparity_sd_px=disparity_sd_px, row_sd_px=disparity_sd_px)
    detector = SimulatedDetector(scene.truth_m, rectifier, noise, seed, BLAZEPOSE_GIVES)
    bodies = []
    for number in range(frames):
        left, right = detector.detect(BLANK, BLANK, number / RATE_HZ)
        assert left is not None
        assert right is not None
        bodies.append((rectified(rectifier, 0, left), rectified(rectifier, 1, right)))
    return Stream(rectifier, bodies)


@pytest.fixture(scope="module")
def walk() -> Stream:
    return stream(seed=1, frames=450)


def episodes(frames: int, seed: int) -> list[SideExchange]:
    """10 % of the frames with the whole body and 10 % with legs or arms exchanged, in one view or both, at random."""
    rng = np.random.default_rng(seed)
    made = [NO_EXCHANGE] * frames
    number = 8
    while number < frames:
        length = int(rng.integers(1, 12))
        limbs = [WHOLE, WHOLE, LEGS, ARMS][rng.integers(4)]
        made[number : number + length] = [exchange(limbs, list(VIEWS_OF)[rng.integers(3)])] * length
        number += length + int(rng.geometric(1 / (4 * 6)))
    return made[:frames]


@pytest.mark.parametrize("lookahead", [0, 12])
def test_exchanges_are_put_right_and_good_frames_left_alone(walk: Stream, lookahead: int) -> None:
    exchanged = put_right = good = spoiled = 0
    for seed in range(3):
        made = episodes(len(walk.bodies), seed)
        for wanted, found in zip(made, walk.settled(made, lookahead), strict=True):
            exchanged, put_right = exchanged + bool(wanted), put_right + (bool(wanted) and wanted == found)
            good, spoiled = good + (not wanted), spoiled + (not wanted and bool(found))
    assert 0.12 < exchanged / (exchanged + good) < 0.35
    assert put_right >= 0.97 * exchanged
    assert spoiled <= 0.005 * good


@pytest.mark.parametrize("seed", [2, 3])
@pytest.mark.parametrize("disparity_sd_px", [0.5, 3.0])
def test_nothing_is_found_where_nothing_is(seed: int, disparity_sd_px: float) -> None:
    people = stream(seed, 200, disparity_sd_px)
    found = people.settled([NO_EXCHANGE] * 200, lookahead=0)
    assert sum(map(bool, found)) <= 1


@pytest.mark.parametrize("views", ["left view", "right view"])
def test_a_stream_that_begins_wrong_is_put_right_from_its_start(walk: Stream, views: str) -> None:
    """No bones are known yet, and nothing came before."""
    frames = 60
    part = Stream(walk.rectifier, walk.bodies[:frames])
    made = [exchange(WHOLE, views)] * 10 + [NO_EXCHANGE] * (frames - 10)
    assert part.settled(made, lookahead=12) == made


@pytest.mark.parametrize("views", VIEWS_OF)
def test_long_exchanges_end_where_they_end(walk: Stream, views: str) -> None:
    made = [NO_EXCHANGE] * 60 + [exchange(WHOLE, views)] * 45 + [NO_EXCHANGE] * 60
    part = Stream(walk.rectifier, walk.bodies[: len(made)])
    wrong = [n for n, (a, b) in enumerate(zip(made, part.settled(made, 0), strict=True)) if a != b]
    assert wrong == []


def test_frames_without_anybody_keep_their_places(walk: Stream) -> None:
    tracker, rows = SideTracker(lookahead=5), RowStatistics()
    found = [
        tracker.push(walk.rectifier.rig, rows, None if number % 7 == 3 else walk.bodies[number], number / RATE_HZ)
        for number in range(40)
    ]
    assert found[:5] == [None] * 5
    assert found[5:] + tracker.finish() == [NO_EXCHANGE] * 40
    assert tracker.finish() == []


def test_nothing_to_see_is_survived(walk: Stream) -> None:
    nothing = Pose2D(np.full((17, 2), np.nan), np.zeros(17), BODY17)
    tracker = SideTracker()
    for number in range(3):
        assert tracker.push(walk.rectifier.rig, RowStatistics(), (nothing, nothing), float(number)) == NO_EXCHANGE
    half = walk.bodies[0][0], nothing
    assert tracker.push(walk.rectifier.rig, RowStatistics(), half, 4.0) == NO_EXCHANGE


# --- what an exchange is


def test_undoing_an_exchange_renames_joints_and_what_hangs_on_them() -> None:
    joints = BLAZEPOSE33.joints
    pose = Pose2D(np.arange(66.0).reshape(33, 2), np.linspace(0.1, 1, 33), BLAZEPOSE33)

    def renamed(limbs: tuple[int, int]) -> set[str]:
        found = exchange(limbs, "right view").corrected(1, pose)
        return {joint for joint, a, b in zip(joints, found.confidence, pose.confidence, strict=True) if a != b}

    sides = ("Left", "Right")
    assert renamed((1, 0)) == {side + part for side in sides for part in ("Wrist", "Pinky", "Index", "Thumb")}
    assert renamed((0, 2)) == {side + part for side in sides for part in ("Knee", "Ankle", "Heel", "Toe")}
    assert renamed(WHOLE) == {joint for joint in joints if joint.startswith(sides)}
    found = exchange(LEGS, "right view").corrected(1, pose)
    left, right = joints.index("LeftKnee"), joints.index("RightKnee")
    np.testing.assert_array_equal(found.points_px[left], pose.points_px[right])
    assert exchange(LEGS, "right view").corrected(0, pose) is pose


def test_exchanges_tell_what_they_are() -> None:
    found = exchange((1, 3), "left view")
    assert [found.of(view, limb) for view in (0, 1) for limb in ("arms", "legs")] == [1, 3, 0, 0]
    assert found
    assert not NO_EXCHANGE
