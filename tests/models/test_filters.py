"""The One Euro filter against closed forms, and on streams as they come: irregular, with joints missing."""

from __future__ import annotations

import numpy as np
import pytest
from binopose.models.filters import LEAST_TRUST, OneEuro

RATE_HZ = 60.0


def run(filter_: OneEuro, points_m: np.ndarray, time_s: np.ndarray, sigma_m: np.ndarray | None = None) -> np.ndarray:
    """All frames, (frames, J, 3)."""
    return np.stack([filter_.filter(p, float(t), sigma_m) for p, t in zip(points_m, time_s, strict=True)])


def times(frames: int, rate_hz: float = RATE_HZ) -> np.ndarray:
    return np.arange(frames) / rate_hz


def test_first_pose_comes_back_and_a_resting_joint_stays() -> None:
    point_m = np.array([[0.3, -0.2, 3.0], [1.0, 0.5, 2.0]])
    found_m = run(OneEuro(), np.tile(point_m, (30, 1, 1)), times(30))
    np.testing.assert_allclose(found_m, np.tile(point_m, (30, 1, 1)), atol=1e-12)


@pytest.mark.parametrize("cutoff_hz", [0.5, 2.0, 5.0])
def test_without_beta_a_step_decays_as_a_first_order_low_pass(cutoff_hz: float) -> None:
    """The discrete filter (equation 3) answers a step with 1 - (1 - gain)^n, in the limit with 1 - exp(-2 pi f t)."""
    rate_hz = 5000.0
    points_m = np.ones((2000, 1, 3))
    points_m[0] = 0.0
    found_m = run(OneEuro(cutoff_hz, beta=0.0), points_m, times(2000, rate_hz))
    np.testing.assert_allclose(
        found_m[:, 0, 0], 1 - np.exp(-2 * np.pi * cutoff_hz * times(2000, rate_hz)), atol=2 * cutoff_hz / rate_hz * 3
    )


@pytest.mark.parametrize("speed_m_s", [0.5, 2.0, 8.0])
def test_a_steady_motion_trails_by_what_the_formula_says(speed_m_s: float) -> None:
    """A low-pass of cutoff f trails a ramp by speed / (2 pi f), here with f = min + beta speed."""
    filter_ = OneEuro(1.0, beta=8.0, derivative_cutoff_hz=1.5)
    time_s = times(20 * 250, 250.0)
    points_m = (time_s[:, None, None] * speed_m_s) * np.array([0.6, 0.0, 0.8])
    lag_m = np.linalg.norm(points_m[-1, 0] - run(filter_, points_m, time_s)[-1, 0])
    expected_m = speed_m_s / (2 * np.pi * (1.0 + 8.0 * speed_m_s))
    assert lag_m == pytest.approx(expected_m, rel=1e-3)
    assert lag_m < 1 / (2 * np.pi * 8.0)


def test_irregular_steps_give_the_same_course_as_regular_ones() -> None:
    rng = np.random.default_rng(3)
    irregular_s = np.cumsum(rng.uniform(0.3, 1.7, 3000)) / 600
    regular_s = np.arange(0, irregular_s[-1], 1 / 600)

    def path_m(time_s: np.ndarray) -> np.ndarray:
        return 0.3 * np.sin(2 * np.pi * 0.7 * time_s)[:, None, None] * np.ones((1, 3))

    found_m = run(OneEuro(), path_m(irregular_s), irregular_s)[:, 0, 0]
    expected_m = run(OneEuro(), path_m(regular_s), regular_s)[:, 0, 0]
    np.testing.assert_allclose(found_m, np.interp(irregular_s, regular_s, expected_m), atol=0.004)
    # The same frames, taken to be equally far apart, are somewhere else: the time steps do count.
    blind_m = run(OneEuro(), path_m(irregular_s), np.linspace(0, irregular_s[-1], len(irregular_s)))[:, 0, 0]
    assert np.abs(blind_m - expected_m[-1]).max() > 0.02


def test_the_direction_of_the_axes_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    points_m = np.cumsum(rng.normal(0, 0.01, (100, 4, 3)), axis=0)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turned_m = run(OneEuro(), points_m @ turn.T, times(100))
    np.testing.assert_allclose(turned_m, run(OneEuro(), points_m, times(100)) @ turn.T, atol=1e-12)


def test_trembling_falls_and_fast_motion_is_kept() -> None:
    rng = np.random.default_rng(1)
    noise_m = rng.normal(0, 0.01, (600, 1, 3))
    resting_m = run(OneEuro(), noise_m, times(600))[60:]
    assert resting_m.std() < 0.45 * noise_m.std()
    wave_m = 0.4 * np.sin(2 * np.pi * times(600))[:, None, None] * np.array([1.0, 0.0, 0.0])
    error_m = run(OneEuro(), wave_m, times(600))[60:] - wave_m[60:]
    assert np.abs(error_m).max() < 0.055, "an arm that swings once a second at up to 2.5 m/s"


def test_a_missing_joint_is_missing_and_goes_on_after_a_short_gap() -> None:
    points_m = np.zeros((60, 2, 3))
    points_m[:, 1] = np.random.default_rng(2).normal(0, 0.01, (60, 3))
    points_m[30:36, 0] = np.nan
    points_m[36:, 0] = 0.02
    found_m = run(OneEuro(), points_m, times(60))
    assert np.isnan(found_m[30:36, 0]).all()
    assert (found_m[36, 0] < 0.02).all(), "after a tenth of a second the joint is still the same one"
    np.testing.assert_array_equal(found_m[:, 1], run(OneEuro(), points_m[:, 1:], times(60))[:, 0])


def test_a_joint_half_known_is_missing() -> None:
    filter_ = OneEuro()
    filter_.filter(np.zeros((1, 3)), 0.0)
    assert np.isnan(filter_.filter(np.array([[0.1, np.nan, 0.1]]), 0.1)).all()
    np.testing.assert_array_equal(filter_.filter(np.zeros((1, 3)), 0.2), np.zeros((1, 3)))


def test_after_a_long_gap_a_joint_starts_anew() -> None:
    points_m = np.zeros((60, 1, 3))
    points_m[20:40] = np.nan
    points_m[40:] = 1.0
    found_m = run(OneEuro(), points_m, times(60))
    np.testing.assert_array_equal(found_m[40:], points_m[40:])


def test_a_stream_that_stalls_or_starts_over_starts_anew() -> None:
    filter_ = OneEuro()
    filter_.filter(np.zeros((1, 3)), 10.0)
    np.testing.assert_array_equal(filter_.filter(np.ones((1, 3)), 13.0), np.ones((1, 3)))
    np.testing.assert_array_equal(filter_.filter(np.zeros((1, 3)), 2.0), np.zeros((1, 3)))
    assert (filter_.filter(np.ones((1, 3)), 2.02) < 1).all(), "from there on it filters again"


def test_the_same_moment_twice_changes_nothing() -> None:
    filter_ = OneEuro()
    filter_.filter(np.zeros((1, 3)), 0.0)
    moved_m = filter_.filter(np.ones((1, 3)), 0.02)
    np.testing.assert_array_equal(filter_.filter(np.full((1, 3), 5.0), 0.02), moved_m)


def test_reset_forgets_the_person() -> None:
    filter_ = OneEuro()
    filter_.filter(np.zeros((1, 3)), 0.0)
    filter_.reset()
    np.testing.assert_array_equal(filter_.filter(np.ones((1, 3)), 0.02), np.ones((1, 3)))


def test_uncertain_joints_move_more_slowly() -> None:
    points_m = np.zeros((30, 4, 3))
    points_m[1:] = 0.05
    sigma_m = np.array([0.01, 0.06, 10.0, np.nan])
    found_m = run(OneEuro(beta=0.0, sigma_m=0.03), points_m, times(30), sigma_m)[5, :, 0]
    assert found_m[0] == found_m[3] > found_m[1] > found_m[2]
    half_m = run(OneEuro(0.5, beta=0.0), points_m, times(30))[5, 1, 0]
    assert found_m[1] == pytest.approx(half_m), "twice the noise, half of the cutoff"
    least_m = run(OneEuro(LEAST_TRUST, beta=0.0), points_m, times(30))[5, 2, 0]
    assert found_m[2] == pytest.approx(least_m)


def test_uncertainty_counts_per_axis() -> None:
    points_m = np.zeros((10, 1, 3))
    points_m[1:] = 0.05
    found_m = run(OneEuro(), points_m, times(10), np.array([[0.01, 0.01, 0.09]]))[4, 0]
    assert found_m[0] == found_m[1] > found_m[2]


def test_a_pose_that_was_handed_out_does_not_change_later() -> None:
    filter_ = OneEuro()
    first_m = filter_.filter(np.zeros((1, 3)), 0.0)
    filter_.filter(np.ones((1, 3)), 0.02)
    np.testing.assert_array_equal(first_m, np.zeros((1, 3)))


@pytest.mark.parametrize(
    "settings",
    [
        {"min_cutoff_hz": 0.0},
        {"beta": -1.0},
        {"derivative_cutoff_hz": float("nan")},
        {"sigma_m": 0},
        {"longest_gap_s": -1},
    ],
)
def test_impossible_settings_are_named(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        OneEuro(**settings)
