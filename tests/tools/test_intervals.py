"""Intervals: how often they hold the truth, which is known because the data are drawn from it."""

from __future__ import annotations

import numpy as np
import pytest
from binopose.tools.intervals import inside_interval, mean_interval


def clustered(rng: np.random.Generator, blocks: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Values of mean 0 whose blocks err together, blocks of different sizes, and their labels."""
    sizes = rng.integers(size // 2, 2 * size, blocks)
    label = np.repeat(np.arange(blocks), sizes)
    return (rng.normal(size=blocks)[label] + rng.normal(size=len(label)))[:, None], label


def test_intervals_of_clustered_data_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    held, held_if_independent = [], []
    for trial in range(300):
        values, label = clustered(rng, blocks=11, size=30)
        low, _, high = mean_interval(values, label, resamples=1000, seed=trial)[:, 0]
        held.append(low <= 0 <= high)
        if trial < 60:
            low, _, high = mean_interval(values, np.arange(len(label)), resamples=300, seed=trial)[:, 0]
            held_if_independent.append(low <= 0 <= high)
    assert 0.90 <= np.mean(held) <= 0.98
    assert np.mean(held_if_independent) < 0.6, "drawing samples one by one has to be far too sure here"


def test_interval_of_independent_values_is_that_of_theory() -> None:
    values = np.random.default_rng(3).normal(5, 2, (400, 2))
    low, mean, high = mean_interval(values, np.arange(400))
    np.testing.assert_allclose(mean, values.mean(axis=0))
    expected = 1.966 * values.std(axis=0, ddof=1) / 20  # the t distribution with 399 degrees of freedom
    np.testing.assert_allclose([mean - low, high - mean], [expected] * 2, rtol=0.06)


def test_a_constant_is_certain_whatever_the_sizes_of_the_blocks() -> None:
    values = np.full((60, 1), 5.0)
    np.testing.assert_allclose(mean_interval(values, np.repeat([0, 1, 2], [5, 15, 40])), 5)


def test_one_block_has_no_interval() -> None:
    low, mean, high = mean_interval(np.arange(4.0)[:, None], np.array(["walk"] * 4))
    assert np.isnan([low[0], high[0]]).all()
    assert mean[0] == 1.5


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_intervals_of_normal_errors_hold_their_share(share: float) -> None:
    sigma = np.random.default_rng(0).uniform(0.1, 5, 20_000)
    errors = sigma * np.random.default_rng(1).normal(size=20_000)
    assert inside_interval(errors, sigma, share).mean() == pytest.approx(share, abs=0.01)
    assert inside_interval(errors, 2 * sigma, share).mean() > share + 0.05


def test_nothing_stated_is_neither_inside_nor_outside() -> None:
    inside = inside_interval(np.array([0.0, 9.0, np.nan]), np.array([np.nan, 1.0, 1.0]), 0.5)
    np.testing.assert_array_equal(inside, [np.nan, 0, 0])
