"""The smoother for recordings against the closed form of its filter, and on recordings with gaps and odd clocks."""

from __future__ import annotations

import numpy as np
import pytest
from binopose.models.motion import jitter_m_s3, lag_s
from binopose.models.zero_phase import smooth

RATE_HZ = 60.0
TIME_S = np.arange(600) / RATE_HZ


def wave_m(time_s: np.ndarray, frequency_hz: float, amplitude_m: float = 0.3) -> np.ndarray:
    """One joint, (N, 1, 3)."""
    return amplitude_m * np.sin(2 * np.pi * frequency_hz * time_s)[:, None, None] * np.array([1.0, -0.5, 0.2])


def gain(frequency_hz: float, cutoff_hz: float) -> float:
    """How much of a wave comes through, in the middle of the recording."""
    before_m = wave_m(TIME_S, frequency_hz)[150:450, 0, 0]
    after_m = smooth(wave_m(TIME_S, frequency_hz), TIME_S, cutoff_hz).points_m[150:450, 0, 0]
    return float(before_m @ after_m / (before_m @ before_m))


@pytest.mark.parametrize("cutoff_hz", [3.0, 6.0, 12.0])
def test_the_cutoff_is_where_both_passes_together_let_half_of_the_power_through(cutoff_hz: float) -> None:
    assert gain(cutoff_hz, cutoff_hz) == pytest.approx(1 / np.sqrt(2), rel=0.01)


@pytest.mark.parametrize("frequency_hz", [1.0, 2.0, 4.0, 9.0, 15.0])
def test_gain_follows_butterworth(frequency_hz: float) -> None:
    """Two passes of order two: 1 / (1 + (w / w_c)^4), on the frequency axis as the bilinear transform bends it."""
    ratio = np.tan(np.pi * frequency_hz / RATE_HZ) / np.tan(np.pi * 6.0 / RATE_HZ)
    assert gain(frequency_hz, 6.0) == pytest.approx(1 / (1 + (np.sqrt(2) - 1) * ratio**4), abs=0.01)


def test_no_lag_and_far_less_jitter() -> None:
    rng = np.random.default_rng(0)
    truth_m = wave_m(TIME_S, 1.2)
    seen_m = truth_m + rng.normal(0, 0.01, truth_m.shape)
    found = smooth(seen_m, TIME_S, 6.0)
    assert abs(lag_s(seen_m, found.points_m, TIME_S)) < 0.0005
    assert jitter_m_s3(found.points_m, TIME_S) < 0.1 * jitter_m_s3(seen_m, TIME_S)
    before_m, after_m = (np.linalg.norm(each - truth_m, axis=-1).mean() for each in (seen_m, found.points_m))
    assert after_m < 0.6 * before_m
    assert found.cutoff_hz == 6.0
    assert found.rate_hz == pytest.approx(RATE_HZ)


def test_the_true_time_steps_count() -> None:
    """A recording with uneven frames, among them dropped ones, is smoothed as the even one is."""
    rng = np.random.default_rng(1)
    uneven_s = np.delete(TIME_S, rng.choice(np.arange(5, 590), 60, replace=False))
    uneven_s = uneven_s + rng.uniform(-0.003, 0.003, len(uneven_s))
    expected_m = smooth(wave_m(TIME_S, 3.0), TIME_S, 6.0).points_m[:, 0, 0]
    found_m = smooth(wave_m(uneven_s, 3.0), uneven_s, 6.0).points_m[:, 0, 0]
    np.testing.assert_allclose(found_m, np.interp(uneven_s, TIME_S, expected_m), atol=0.008)
    blind_m = smooth(wave_m(uneven_s, 3.0), np.arange(len(uneven_s)) / RATE_HZ, 6.0).points_m[:, 0, 0]
    assert np.abs(blind_m - found_m).max() > 0.03, "taken for even, the same frames give something else"


def test_short_gaps_are_closed_and_long_ones_stay() -> None:
    points_m = np.concatenate([wave_m(TIME_S, 0.5), wave_m(TIME_S, 0.5)], axis=1)
    points_m[100:112, 0] = np.nan  # 0.2 s
    points_m[300:313, 0] = np.nan  # a frame longer
    points_m[400:405, 1] = np.nan
    found = smooth(points_m, TIME_S, 6.0)
    assert np.flatnonzero(found.filled[:, 0]).tolist() == list(range(100, 112))
    assert np.flatnonzero(found.filled[:, 1]).tolist() == list(range(400, 405))
    assert np.flatnonzero(np.isnan(found.points_m[:, 0, 0])).tolist() == list(range(300, 313))
    np.testing.assert_allclose(found.points_m[100:112, 0], wave_m(TIME_S, 0.5)[100:112, 0], atol=0.03)


def test_nothing_is_added_before_the_first_and_after_the_last_known_place() -> None:
    points_m = wave_m(TIME_S, 1.0)
    points_m[:5] = points_m[-4:] = np.nan
    found = smooth(points_m, TIME_S, 6.0)
    assert np.isnan(found.points_m[:5]).all()
    assert np.isnan(found.points_m[-4:]).all()
    assert not found.filled.any()


def test_spikes_do_not_smear() -> None:
    truth_m = wave_m(TIME_S, 1.0)
    seen_m = truth_m + np.random.default_rng(6).normal(0, 0.005, truth_m.shape)
    wrong = [100, 101, 250, 400, 401, 402]
    seen_m[wrong] += 0.3
    found = smooth(seen_m, TIME_S, 6.0)
    assert found.spikes[wrong].all()
    assert found.spikes.sum() <= len(wrong) + 2, "now and then a neighbour goes too"
    np.testing.assert_array_equal(found.filled, found.spikes)
    assert np.linalg.norm(found.points_m - truth_m, axis=-1).max() < 0.02


@pytest.mark.parametrize(("frequency_hz", "amplitude_m"), [(0.5, 0.5), (2.0, 0.3), (3.0, 0.1)])
def test_fast_motion_is_no_spike(frequency_hz: float, amplitude_m: float) -> None:
    """Up to 3.8 m/s, to and fro."""
    noise_m = np.random.default_rng(7).normal(0, 0.005, (600, 1, 3))
    assert not smooth(wave_m(TIME_S, frequency_hz, amplitude_m) + noise_m, TIME_S, 6.0).spikes.any()


def test_what_lasts_is_no_spike() -> None:
    points_m = np.random.default_rng(8).normal(0, 0.002, (600, 1, 3))
    points_m[200:220] += 0.3  # a third of a second
    found = smooth(points_m, TIME_S, 6.0)
    assert not found.spikes[203:217].any()
    assert found.points_m[210, 0, 0] == pytest.approx(0.3, abs=0.05)


def test_a_wrong_place_at_an_end_does_not_make_it_missing() -> None:
    points_m = np.zeros((60, 1, 3))
    points_m[[0, -1]] = 0.5
    assert np.isfinite(smooth(points_m, TIME_S[:60], 6.0).points_m).all()


def test_frames_that_are_not_there_at_all_separate_too() -> None:
    """The clock jumps by a second and the joint is elsewhere: both parts stay as flat as they are."""
    time_s = np.concatenate([TIME_S[:100], TIME_S[:100] + 3.0])
    points_m = np.concatenate([np.zeros((100, 1, 3)), np.ones((100, 1, 3))])
    np.testing.assert_allclose(smooth(points_m, time_s, 6.0).points_m, points_m, atol=1e-9)


@pytest.mark.parametrize("gap", [0, 5])
def test_never_across_a_change_of_person(gap: int) -> None:
    points_m = np.concatenate([np.zeros((100, 1, 3)), np.ones((100, 1, 3))])
    points_m[100 : 100 + gap] = np.nan
    starts = np.arange(200) == 100 + gap
    found = smooth(points_m, TIME_S[:200], 6.0, starts=starts)
    np.testing.assert_allclose(found.points_m, points_m, atol=1e-9)
    assert not found.filled.any()
    assert np.nanmax(np.abs(smooth(points_m, TIME_S[:200], 6.0).points_m - points_m)) > 0.03, "without the mark it does"


def test_a_clock_that_starts_over_separates() -> None:
    time_s = np.concatenate([TIME_S[:100], TIME_S[:100]])
    points_m = np.concatenate([np.zeros((100, 1, 3)), np.ones((100, 1, 3))])
    np.testing.assert_allclose(smooth(points_m, time_s, 6.0).points_m, points_m, atol=1e-9)


def test_too_few_frames_a_second_are_left_as_they_are() -> None:
    time_s = np.arange(50) / 10
    points_m = np.random.default_rng(2).normal(0, 0.1, (50, 1, 3))
    points_m[20] = np.nan
    found = smooth(points_m, time_s, 6.0)
    assert found.cutoff_hz is None
    np.testing.assert_allclose(np.delete(found.points_m, 20, 0), np.delete(points_m, 20, 0))
    assert found.filled[20].all()


@pytest.mark.parametrize("frames", [0, 1, 2, 3, 4, 7])
def test_hardly_any_frames(frames: int) -> None:
    points_m = wave_m(TIME_S[:frames], 1.0)
    found = smooth(points_m, TIME_S[:frames], 6.0)
    assert found.points_m.shape == points_m.shape
    assert np.isfinite(found.points_m).all()


def test_nobody_at_all() -> None:
    found = smooth(np.full((20, 17, 3), np.nan), TIME_S[:20], 6.0)
    assert np.isnan(found.points_m).all()


def test_the_ends_stay_with_the_motion() -> None:
    """At its ends a recording has no neighbours on one side; the joint must not fly off there."""
    truth_m = TIME_S[:, None, None] * np.array([1.0, 0.0, 0.0])
    seen_m = truth_m + np.random.default_rng(3).normal(0, 0.01, truth_m.shape)
    found_m = smooth(seen_m, TIME_S, 6.0).points_m
    assert np.abs(found_m - truth_m)[[0, 1, -2, -1]].max() < 0.03


def test_an_impossible_cutoff_is_named() -> None:
    with pytest.raises(ValueError, match="cutoff_hz"):
        smooth(np.zeros((5, 1, 3)), TIME_S[:5], 0.0)
