"""Where one person's course ends and another's begins."""

from __future__ import annotations

import numpy as np
from binopose.models.presence import AWAY_S, PresenceWatch

BODY_M = np.random.default_rng(0).normal(0, 0.4, (17, 3)) + np.array([0, 0, 3])


def seen(places_m: list[tuple[float, float]]) -> list[bool]:
    """Told a body at (time, x) one after the other."""
    watch = PresenceWatch()
    return [watch.is_new(BODY_M + np.array([x, 0, 0]), time_s) for time_s, x in places_m]


def test_walking_and_running_is_one_person() -> None:
    assert not any(seen([(n / 30, 0.2 * n) for n in range(60)]))


def test_a_jump_counts_when_two_poses_agree_on_it() -> None:
    assert seen([(0, 0), (0.033, 0), (0.067, 2), (0.1, 2), (0.133, 2)]) == [False, False, False, True, False]


def test_a_single_pose_aside_is_an_error() -> None:
    assert not any(seen([(0, 0), (0.033, 0), (0.067, 2), (0.1, 0), (0.133, 0), (0.167, -2), (0.2, 0)]))


def test_whoever_comes_after_a_long_absence_is_new() -> None:
    assert seen([(0, 0), (AWAY_S * 0.9, 0), (AWAY_S * 2, 0), (AWAY_S * 2.1, 0)]) == [False, False, True, False]


def test_time_that_goes_back_begins_anew() -> None:
    assert seen([(5, 0), (5.1, 0), (0, 0), (0.1, 0)]) == [False, False, True, False]


def test_reset_forgets() -> None:
    watch = PresenceWatch()
    watch.is_new(BODY_M, 0.0)
    watch.reset()
    assert not watch.is_new(BODY_M, 100.0)


def test_missing_joints_are_survived() -> None:
    watch = PresenceWatch()
    nowhere = np.full((17, 3), np.nan)
    assert not watch.is_new(nowhere, 0.0)
    assert not watch.is_new(BODY_M, 0.1)
