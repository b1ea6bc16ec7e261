"""The pipeline around left and right, outliers and people who come and go; with look-ahead and at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from binopose.app.frames import FramePair
from binopose.app.lookahead import LookAhead
from binopose.app.pipeline import FrameResult, Pipeline
from binopose.app.simulation.motion import SimulatedPerson
from binopose.app.simulation.scene import SimulatedScene
from binopose.app.simulation.virtual_rig import virtual_rig
from binopose.calibration.rectify import Rectifier
from binopose.engines.denoiser import NoDenoiser, SkeletonDenoiser
from binopose.engines.detectors.simulated import DetectorNoise, SimulatedDetector
from binopose.models.pose import Pose2D, Pose3D
from binopose.models.sides import NO_EXCHANGE, SideExchange
from binopose.models.skeleton import BODY17

RATE_HZ = 30.0
FRAMES = 60
PICTURE = np.zeros((720, 1280, 3), np.uint8)
RIG = virtual_rig(4)
RECTIFIER = Rectifier(RIG)
SCENE = SimulatedScene(RIG, SimulatedPerson(seed=4))
RIGHT_VIEW = SideExchange(((0, 0), (3, 3)))
Detections = tuple[Pose2D | None, Pose2D | None]


class Spoilt:
    """The simulated detector, with something done to what it gives."""

    name = "spoilt"
    device = "cpu"
    skeleton = BODY17

    def __init__(self, spoil: Callable[[int, Detections], Detections]) -> None:
        self._inner = SimulatedDetector(SCENE.truth_m, RECTIFIER, DetectorNoise(gross_share=0, missing_share=0), 4)
        self._spoil = spoil

    def detect(self, left: np.ndarray, right: np.ndarray, timestamp_s: float) -> Detections:
        return self._spoil(round(timestamp_s * RATE_HZ), self._inner.detect(left, right, timestamp_s))

    def reset(self) -> None:
        self._inner.reset()

    def close(self) -> None:
        self._inner.close()


def pairs(numbers: Sequence[int]) -> list[FramePair]:
    return [FramePair(PICTURE, PICTURE, number / RATE_HZ, number) for number in numbers]


def results(
    spoil: Callable[[int, Detections], Detections], frames: int = 0, numbers: Sequence[int] = range(FRAMES)
) -> list[FrameResult]:
    ahead = LookAhead(Pipeline(RECTIFIER, Spoilt(spoil), NoDenoiser()), frames)
    found = [result for pair in pairs(numbers) for result in ahead.push(pair)]
    return [*found, *ahead.finish()]


def error_m(result: FrameResult) -> float:
    """Of the trunk and limbs, in the frame of the left camera."""
    assert result.person is not None
    truth_m = SCENE.truth_m(result.pair.timestamp_s) @ RECTIFIER.rig.left_from_rectified
    return float(np.nanmedian(np.linalg.norm(result.person.pose.points_m - truth_m, axis=1)))


def exchanging(number: int, found: Detections) -> Detections:
    left, right = found
    return (left, RIGHT_VIEW.corrected(1, right)) if right is not None and 30 <= number < 40 else found


@pytest.mark.parametrize("frames", [0, 1, 12, 100])
def test_every_pair_comes_out_once_in_order_and_put_right(frames: int) -> None:
    found = results(exchanging, frames)
    assert [result.pair.index for result in found] == list(range(FRAMES))
    assert [n for n, result in enumerate(found) if result.exchange] == list(range(30, 40))
    assert all(result.exchange in (NO_EXCHANGE, RIGHT_VIEW) for result in found)
    plain = results(lambda _, detections: detections)
    for put_right, undisturbed in zip(found, plain, strict=True):
        for pose, expected in zip(put_right.detections, undisturbed.detections, strict=True):
            assert pose is not None
            assert expected is not None
            np.testing.assert_array_equal(pose.points_px, expected.points_px)
        assert error_m(put_right) == error_m(undisturbed)


def test_no_look_ahead_is_the_pipeline_itself() -> None:
    pipeline = Pipeline(RECTIFIER, Spoilt(exchanging), NoDenoiser())
    at_once = [pipeline.process(pair) for pair in pairs(range(FRAMES))]
    for one, other in zip(at_once, results(exchanging, 0), strict=True):
        assert one.exchange == other.exchange
        assert one.person is not None
        assert other.person is not None
        np.testing.assert_array_equal(one.person.pose.points_m, other.person.pose.points_m)


def test_look_ahead_waits_so_many_frames() -> None:
    ahead = LookAhead(Pipeline(RECTIFIER, Spoilt(exchanging), NoDenoiser()), 3)
    due = [[result.pair.index for result in ahead.push(pair)] for pair in pairs(range(6))]
    assert due == [[], [], [], [0], [1], [2]]
    assert [result.pair.index for result in ahead.finish()] == [3, 4, 5]


def test_an_outlier_is_not_observed_and_said() -> None:
    wrist = BODY17.index("RightWrist")

    def misplace(number: int, found: Detections) -> Detections:
        left, right = found
        assert right is not None
        if number == 40:
            right.points_px[wrist, 1] += 150
        return left, right

    found = results(misplace)
    flagged = [
        (n, [BODY17.joints[j] for j in np.flatnonzero(result.person.outliers)])
        for n, result in enumerate(found)
        if result.person is not None and result.person.outliers.any()
    ]
    assert flagged == [(40, ["RightWrist"])]
    person = found[40].person
    assert person is not None
    assert person.raw.confidence[wrist] == 0
    assert np.isnan(person.raw.points_m[wrist]).all()
    assert np.isfinite(person.epipolar_px[wrist])


def test_half_of_one_and_half_of_another_is_nobody() -> None:
    """The right view's upper body comes from somebody who stands elsewhere."""
    upper = [BODY17.index(joint) for joint in BODY17.joints if not joint.endswith(("Hip", "Knee", "Ankle", "Pelvis"))]

    def mix(number: int, found: Detections) -> Detections:
        left, right = found
        assert right is not None
        if 40 <= number < 43:
            right.points_px[upper] += [0, 110]
        return left, right

    missing = [n for n, result in enumerate(results(mix)) if result.person is None]
    assert missing == [40, 41, 42]


class Forgetful(SkeletonDenoiser):
    """Counts how often it is told to forget."""

    forgotten = 0

    def reset(self) -> None:
        self.forgotten += 1
        super().reset()


def test_who_comes_back_is_marked_and_learnt_anew() -> None:
    numbers = [*range(40), *range(140, 160)]
    denoiser = Forgetful()
    ahead = LookAhead(Pipeline(RECTIFIER, Spoilt(lambda _, found: found), denoiser), 5)
    found = [result for pair in pairs(numbers) for result in ahead.push(pair)] + list(ahead.finish())
    assert [result.pair.index for result in found if result.reacquired] == [140]
    assert denoiser.forgotten == 1


def test_people_in_one_view_or_none_give_no_pose() -> None:
    def hide(number: int, found: Detections) -> Detections:
        left, right = found
        return (left, None) if number % 3 == 1 else (None, None) if number % 3 == 2 else (left, right)

    found = results(hide, 4)
    assert [result.person is not None for result in found] == [number % 3 == 0 for number in range(FRAMES)]
    assert not any(result.exchange or result.reacquired for result in found)


def test_reset_lets_somebody_else_begin() -> None:
    pipeline = Pipeline(RECTIFIER, Spoilt(exchanging), NoDenoiser())
    for pair in pairs(range(20)):
        pipeline.process(pair)
    pipeline.reset()
    pose = pipeline.process(pairs([200])[0])
    assert pose.person is not None
    assert isinstance(pose.person.pose, Pose3D)
    assert not pose.reacquired
