"""Soft sync: cameras that run free, before a simulated person whose true joints are known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from binopose.app.frames import FramePair
from binopose.app.live.sync import SoftSync
from binopose.app.simulation.motion import SimulatedPerson
from binopose.app.simulation.scene import SimulatedScene
from binopose.app.simulation.virtual_rig import virtual_rig
from binopose.calibration.rectify import Rectifier
from binopose.calibration.triangulate import epipolar_residual_px, triangulate
from binopose.models.pose import Pose2D
from binopose.models.skeleton import BODY17

RIG = virtual_rig(3)
RECTIFIER = Rectifier(RIG)
SCENE = SimulatedScene(RIG, SimulatedPerson(seed=4))
NOTHING = np.empty((0, 0, 3), np.uint8)
RATE_HZ = 30.0


def truth_m(time_s: float) -> np.ndarray:
    return SCENE.truth_m(time_s) @ RECTIFIER.rig.left_from_rectified


def view(side: int, time_s: float, noise_px: float, rng: np.random.Generator) -> Pose2D:
    points_px = RECTIFIER.picture_px(side, truth_m(time_s)) + rng.normal(0, noise_px, (len(BODY17), 2))
    return Pose2D(points_px, np.full(len(BODY17), 0.9), BODY17)


def pairs(
    seconds: float, skew_s: float, late_s: float, noise_px: float = 1.0, start: int = 0
) -> Iterator[tuple[float, Pose2D, Pose2D, FramePair]]:
    """Pairs of a right camera that runs `skew_s` behind the left one by its stamps, and whose pictures are `late_s`
    older than these say: when the left picture was taken, both views, and the pair."""
    rng = np.random.default_rng(7)
    for number in range(start, start + round(seconds * RATE_HZ)):
        left_s = 10 + number / RATE_HZ
        right_s = left_s + skew_s
        left, right = view(0, left_s, noise_px, rng), view(1, right_s - late_s, noise_px, rng)
        yield left_s, left, right, FramePair(NOTHING, NOTHING, (left_s + right_s) / 2, number, skew_s)


def rows_px(left: Pose2D, right: Pose2D) -> float:
    return float(np.nanmean(np.abs(epipolar_residual_px(left.points_px, right.points_px))))


@pytest.mark.parametrize("late_s", [0.040, -0.025, 0.110])
def test_a_delayed_stream_is_found_and_compensated(late_s: float) -> None:
    sync = SoftSync()
    without_px, with_px, off_s = [], [], []
    for left_s, left, right, pair in pairs(14, 0.0, late_s):
        one, other, time_s = sync.align(left, right, pair)
        if left_s < 20:
            continue
        without_px.append(rows_px(left, right))
        with_px.append(rows_px(one, other))
        # Of the time it claims: the later view was interpolated, the earlier one is as it was seen.
        off_s.append(abs(time_s - min(left_s, left_s - late_s)))
    assert sync.offset_s == pytest.approx(late_s, abs=0.003)
    assert np.mean(with_px) < 0.92 * np.mean(without_px)
    assert max(off_s) < 0.008


def test_cameras_half_out_of_step_by_their_stamps_need_no_motion_to_be_brought_together() -> None:
    sync, errors = SoftSync(), []
    for left_s, left, right, pair in pairs(3, 0.0167, 0.0, noise_px=0.3):
        one, other, time_s = sync.align(left, right, pair)
        raw_m, aligned_m = (
            triangulate(RECTIFIER.rig, a.points_px, b.points_px) for a, b in ((left, right), (one, other))
        )
        if time_s == pytest.approx(left_s, abs=1e-6):
            errors.append([np.nanmean(np.linalg.norm(m - truth_m(left_s), axis=1)) for m in (raw_m, aligned_m)])
    assert len(errors) > 80  # all but the first
    raw_error_m, aligned_error_m = np.mean(errors, axis=0)
    assert aligned_error_m < 0.7 * raw_error_m


def test_cameras_in_step_are_left_alone() -> None:
    sync = SoftSync()
    for _, left, right, pair in pairs(12, 0.001, 0.0):
        assert sync.align(left, right, pair) == (left, right, pair.timestamp_s)
    assert sync.offset_s is None


def test_somebody_who_stands_still_tells_nothing() -> None:
    sync, rng = SoftSync(), np.random.default_rng(1)
    for number in range(300):
        left, right = view(0, 5.0, 1.0, rng), view(1, 5.0, 1.0, rng)
        sync.align(left, right, FramePair(NOTHING, NOTHING, number / RATE_HZ, number))
    assert sync.offset_s is None


def test_joints_seen_now_and_then_tell_nothing_and_do_no_harm() -> None:
    sync = SoftSync()
    nobody = Pose2D(np.full((len(BODY17), 2), np.nan), np.zeros(len(BODY17)), BODY17)
    for number, (_, left, right, pair) in enumerate(pairs(6, 0.0, 0.05)):
        sync.align(left if number % 2 else nobody, right if number % 2 else nobody, pair)
    assert sync.offset_s is None


def test_an_offset_that_no_longer_helps_is_dropped() -> None:
    sync = SoftSync()
    for _, left, right, pair in pairs(8, 0.0, 0.06):
        sync.align(left, right, pair)
    assert sync.offset_s == pytest.approx(0.06, abs=0.008)
    for _, left, right, pair in pairs(14, 0.0, 0.0, start=round(8 * RATE_HZ)):
        sync.align(left, right, pair)
    assert sync.offset_s is None or abs(sync.offset_s) < 0.008


def test_the_same_pairs_give_the_same_answers_also_after_an_interruption() -> None:
    def answers() -> list[tuple[float, float]]:
        sync, times = SoftSync(), []
        for _, left, right, pair in (*pairs(6, 0.0, 0.05), *pairs(2, 0.01, 0.05, start=3000)):
            one, _, time_s = sync.align(left, right, pair)
            times.append((time_s, float(np.nansum(one.points_px))))
        return times

    first = answers()
    assert first == answers()
    assert np.isfinite(first).all()
