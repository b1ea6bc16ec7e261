"""The distribution of a long run against numpy on the same numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from binopose.app.distribution import Distribution


def collected(values: np.ndarray, pieces: int = 7) -> Distribution:
    distribution = Distribution()
    for part in np.array_split(values, pieces):
        distribution.add(part)
    return distribution


STREAMS = {
    "durations": np.random.default_rng(0).gamma(4, 5, 5000),
    "wide": 10 ** np.random.default_rng(1).uniform(-3, 5, 4001),
    "two peaks": np.concatenate([np.full(300, 2.0), np.full(701, 90.0)]),
    "few": np.array([3.0, 1.0, 2.0]),
    "one": np.array([17.3]),
}


@pytest.mark.parametrize("percent", [0.0, 5.0, 50.0, 95.0, 99.9, 100.0])
@pytest.mark.parametrize("name", STREAMS)
def test_percentiles_to_half_a_percent(name: str, percent: float) -> None:
    values = STREAMS[name]
    expected = np.percentile(values, percent, method="inverted_cdf")
    assert collected(values).percentile(percent) == pytest.approx(expected, rel=0.0051)


@pytest.mark.parametrize("name", STREAMS)
def test_mean_is_exact(name: str) -> None:
    assert collected(STREAMS[name]).mean == pytest.approx(STREAMS[name].mean(), rel=1e-12)
    assert collected(STREAMS[name]).count == len(STREAMS[name])


def test_single_numbers_and_arrays_of_any_shape() -> None:
    distribution = Distribution()
    distribution.add(4.0)
    distribution.add(np.array([[4.0, 5.0], [6.0, np.nan]]))
    distribution.add(np.zeros(0))
    distribution.add(math.inf)
    assert distribution.count == 4
    assert distribution.mean == pytest.approx(4.75)


def test_nothing_in_is_nan_out() -> None:
    empty = Distribution()
    empty.add(np.array([np.nan]))
    assert empty.count == 0
    assert math.isnan(empty.mean)
    assert math.isnan(empty.percentile(50))


def test_zero_and_numbers_beyond_the_range_are_counted() -> None:
    distribution = collected(np.array([0.0, 0.0, 0.0, 5.0, 1e9]), 1)
    assert distribution.count == 5
    assert distribution.percentile(50) < 1e-3
    assert distribution.percentile(99) > 9e5
    assert distribution.median_and_p95()["median"] == 0.0


def test_figures_for_the_summary() -> None:
    values = np.linspace(10, 20, 1001)
    assert collected(values).median_and_p95() == {
        "median": pytest.approx(15, rel=0.006),
        "p95": pytest.approx(19.5, rel=0.006),
    }
    assert collected(values).mean_and_median() == {"mean": 15.0, "median": pytest.approx(15, rel=0.006)}
