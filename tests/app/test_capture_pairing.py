"""Pairing of frames against an exhaustive search over the same times."""

from __future__ import annotations

import numpy as np
import pytest
from binopose.app.capture.camera import CapturedFrame
from binopose.app.capture.pairing import PairMatcher

IMAGE = np.zeros((2, 2, 3), np.uint8)


def clock(rate_hz: float, phase_s: float, seconds: float, jitter_s: float = 0.0, seed: int = 0) -> np.ndarray:
    """Times of a free-running camera whose ticks jitter."""
    ticks = np.arange(int(seconds * rate_hz)) / rate_hz + 100 + phase_s
    return ticks + np.random.default_rng(seed).normal(0, jitter_s, ticks.size)


def run(left_s: np.ndarray, right_s: np.ndarray, delays_s: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """All pairs as (time handed out, left time, right time) when frames arrive after a delay of each camera."""
    events = [
        (time_s + delays_s[side], side, time_s) for side, times in enumerate((left_s, right_s)) for time_s in times
    ]
    matcher, found, counts = PairMatcher(), [], [0, 0]
    for now_s, side, time_s in sorted(events):
        frame = CapturedFrame(IMAGE, time_s, counts[side])
        counts[side] += 1
        found += [(now_s, left.timestamp_s, right.timestamp_s) for left, right in matcher.add(side, frame)]
    lost = np.array(matcher.unpaired()) + len(found)
    # What is neither paired nor lost still waits: a few at most.
    assert (np.array(counts) - lost <= 16).all()
    return np.array(found)


def nearest_s(slow_s: np.ndarray, fast_s: np.ndarray) -> np.ndarray:
    """Distance of each slow frame to the nearest fast one, by trying all."""
    return np.abs(fast_s[None] - slow_s[:, None]).min(axis=1)


@pytest.mark.parametrize("phase_ms", [0.0, 3.0, 10.0, 15.0, 19.0, 25.0, 32.0])
def test_equal_cameras_pair_every_frame_with_the_nearest(phase_ms: float) -> None:
    left_s, right_s = clock(30, 0, 10, 0.0003, 1), clock(30, phase_ms / 1e3, 10, 0.0003, 2)
    found = run(left_s, right_s)
    assert len(found) >= len(left_s) - 3
    offset_ms = phase_ms if phase_ms < 1000 / 60 else phase_ms - 1000 / 30
    assert (found[15:, 2] - found[15:, 1]).mean() * 1e3 == pytest.approx(offset_ms, abs=0.2)
    # Handed out with the later of the two: nobody waits for a frame that cannot be nearer.
    assert (found[15:, 0] - found[15:, 1:].max(axis=1)).max() < 1e-9


def test_half_an_interval_apart_with_jitter_loses_nothing() -> None:
    left_s, right_s = clock(30, 0, 20, 0.002, 1), clock(30, 1 / 60, 20, 0.002, 2)
    found = run(left_s, right_s)
    assert len(found) > 0.97 * len(left_s)
    assert np.abs(found[:, 2] - found[:, 1]).max() < 0.75 / 30 * 1.1


@pytest.mark.parametrize(("left_hz", "right_hz"), [(30, 15), (15, 30), (60, 30), (30, 25), (24, 60), (10, 30)])
@pytest.mark.parametrize("phase_ms", [0.0, 9.0, 21.0])
def test_the_slower_camera_sets_the_rate(left_hz: float, right_hz: float, phase_ms: float) -> None:
    left_s, right_s = clock(left_hz, 0.0, 10, 0.0005, 3), clock(right_hz, phase_ms / 1e3, 10, 0.0005, 4)
    found = run(left_s, right_s)
    slow, fast = (left_s, right_s) if left_hz < right_hz else (right_s, left_s)
    assert len(found) > 0.97 * len(slow) - 2
    used = found[10:, 1] if left_hz < right_hz else found[10:, 2]
    best_s = nearest_s(used, fast)
    # A nearer frame may be taken already, by the slow frame before; that must stay the exception.
    assert np.mean(np.abs(found[10:, 2] - found[10:, 1]) <= best_s + 1e-9) > 0.9


def test_no_frame_is_used_twice_and_time_runs_on() -> None:
    found = run(clock(30, 0, 30, 0.004, 5), clock(27, 0.01, 30, 0.006, 6))
    assert len(found) > 700
    assert (np.diff(found[:, 1:], axis=0) > 0).all()


def test_clocks_that_drift_through_each_other() -> None:
    left_s, right_s = clock(30, 0, 60), clock(30.05, 0.002, 60)
    found = run(left_s, right_s)
    # Three rounds of drift lose a frame or two each.
    assert len(found) > len(left_s) - 10
    assert np.abs(found[:, 2] - found[:, 1]).max() < 0.6 / 30


def test_lost_frames_cost_only_their_own_pairs() -> None:
    left_s, right_s = clock(30, 0, 20, 0.0005, 7), clock(30, 0.005, 20, 0.0005, 8)
    kept = np.random.default_rng(9).random(right_s.size) > 0.2
    found = run(left_s, right_s[kept])
    assert len(found) > 0.97 * kept.sum()
    # Beside the first pairs, made before the rates are known, only true partners.
    assert np.abs(found[5:, 2] - found[5:, 1]).max() < 0.022


def test_a_camera_that_delivers_later_does_not_break_the_pairs() -> None:
    found = run(clock(30, 0, 10, 0.0005, 1), clock(30, 0.004, 10, 0.0005, 2), delays_s=(0.005, 0.120))
    assert len(found) > 290
    assert np.abs(found[5:, 2] - found[5:, 1]).max() < 0.007


def test_pairs_come_back_after_a_camera_was_away() -> None:
    right_s = clock(30, 0.006, 30, 0.0005, 2)
    away = (right_s > 105) & (right_s < 115)
    found = run(clock(30, 0, 30, 0.0005, 1), right_s[~away])
    assert len(found) == pytest.approx((~away).sum(), abs=4)
    assert np.abs(found[5:, 2] - found[5:, 1]).max() < 0.022


def test_a_camera_that_changes_its_rate_is_followed() -> None:
    """In the dark many webcams halve their rate."""
    right_s = np.concatenate([clock(30, 0.004, 5), 105 + clock(15, 0.004, 5) - 100])
    found = run(clock(30, 0, 10), right_s)
    after = found[found[:, 2] > 106]
    assert len(after) == pytest.approx(15 * 4, abs=2)
    assert np.abs(after[:, 2] - after[:, 1]).max() < 0.007
