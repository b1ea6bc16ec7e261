"""Speed, jitter and lag against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from binopose.models.motion import body_changes, derivative, jitter_m_s3, lag_s, speed_m_s
from binopose.models.skeleton import BODY17

RNG = np.random.default_rng(5)
IRREGULAR_S = np.cumsum(RNG.uniform(0.01, 0.04, 400))
STANDING_M = RNG.normal((0, 0, 3), 0.4, (17, 3))


def wave_m(time_s: np.ndarray, frequency_hz: float = 1.5, amplitude_m: float = 0.2) -> np.ndarray:
    """One joint that swings, (N, 1, 3)."""
    return amplitude_m * np.sin(2 * np.pi * frequency_hz * time_s)[:, None, None] * np.array([0.6, 0.0, 0.8])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives_of_polynomials_are_exact_whatever_the_steps(order: int) -> None:
    values = IRREGULAR_S**order * 2.5 - 4.0
    found = derivative(values, IRREGULAR_S, order)
    assert len(found) == len(values) - order
    np.testing.assert_allclose(found, 2.5 * [1, 2, 6][order - 1], rtol=1e-6)


def test_speed_of_a_steady_motion() -> None:
    points_m = IRREGULAR_S[:, None, None] * np.array([[0.3, 0.0, 0.4], [0.0, -2.0, 0.0]])
    points_m[10, 0] = np.nan
    found = speed_m_s(points_m, IRREGULAR_S)
    np.testing.assert_allclose(found[:, 1], 2.0)
    assert np.isnan(found[9:11, 0]).all()
    np.testing.assert_allclose(np.delete(found[:, 0], [9, 10]), 0.5)


def test_jitter_of_a_wave_is_amplitude_times_frequency_cubed() -> None:
    time_s = np.arange(3000) / 500
    expected = 0.2 * (2 * np.pi * 1.5) ** 3 / np.sqrt(2)
    assert jitter_m_s3(wave_m(time_s), time_s) == pytest.approx(expected, rel=1e-3)


def test_jitter_of_independent_noise() -> None:
    """The third difference of white noise has 1 + 9 + 9 + 1 times its variance, in each of three axes."""
    time_s = np.arange(4000) / 60
    noise_m = RNG.normal(0, 0.01, (4000, 5, 3))
    assert jitter_m_s3(noise_m, time_s) == pytest.approx(0.01 * np.sqrt(3 * 20) * 60**3, rel=0.02)


def test_jitter_leaves_out_what_is_missing() -> None:
    time_s = np.arange(2000) / 500
    points_m = wave_m(time_s)
    whole = jitter_m_s3(points_m, time_s)
    points_m[500:600] = np.nan
    assert jitter_m_s3(points_m, time_s) == pytest.approx(whole, rel=0.1)
    assert np.isnan(jitter_m_s3(points_m[500:600], time_s[500:600]))
    assert np.isnan(jitter_m_s3(points_m[:3], time_s[:3]))


@pytest.mark.parametrize("late_s", [0.01, -0.02, 0.0])
def test_lag_of_a_shifted_wave(late_s: float) -> None:
    found_s = lag_s(wave_m(IRREGULAR_S), wave_m(IRREGULAR_S - late_s), IRREGULAR_S)
    assert found_s == pytest.approx(late_s, abs=0.0012)


def test_who_does_not_move_has_no_lag() -> None:
    assert np.isnan(lag_s(np.ones((9, 2, 3)), np.ones((9, 2, 3)), np.arange(9.0)))


def test_another_person_is_noticed_and_a_runner_is_not() -> None:
    time_s = np.arange(40) / 30
    running_m = STANDING_M + time_s[:, None, None] * np.array([6.0, 0, 0])
    assert not body_changes(running_m, time_s).any()
    running_m[20:] += [0.0, 0.0, 1.2]
    running_m[15:20] = np.nan
    assert np.flatnonzero(body_changes(running_m, time_s)).tolist() == [20]


def test_exchanged_sides_are_not_another_person() -> None:
    points_m = np.tile(STANDING_M, (10, 1, 1))
    points_m[5] = points_m[5, BODY17.mirror]
    assert not body_changes(points_m, np.arange(10) / 30).any()


def test_nobody_at_all() -> None:
    assert not body_changes(np.full((5, 17, 3), np.nan), np.arange(5.0)).any()
