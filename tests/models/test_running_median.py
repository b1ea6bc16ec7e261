"""The running median against numpy's."""

from __future__ import annotations

import numpy as np
import pytest
from binopose.models.running_median import RunningMedian

BIN = 0.01


def between_middles(values: np.ndarray, found: float) -> bool:
    """Whether `found` is a median to one bin: between the two middle values of an even number, which numpy averages."""
    ordered = np.sort(values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return low - BIN <= found <= high + BIN


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 100, 1001])
@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_numpy_to_a_bin_after_every_value(count: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(0.4, 0.15, count).clip(0.001, 0.999)
    stream = RunningMedian(1, 0.0, 1.0, BIN)
    for number, value in enumerate(values):
        stream.observe(np.array([0]), np.array([value]))
        if number < 10 or number == count - 1:
            assert between_middles(values[: number + 1], stream.median[0])
    if count % 2 or count > 50:
        assert stream.median[0] == pytest.approx(np.median(values), abs=BIN)


def test_heavy_tails_and_two_peaks() -> None:
    rng = np.random.default_rng(9)
    for values in (
        np.concatenate([rng.normal(0.3, 0.01, 601), rng.normal(0.8, 0.01, 400)]),
        0.5 + 0.02 * rng.standard_t(1.5, 999),
        np.full(501, 0.255),
    ):
        inside = values[(values >= 0) & (values < 1)]
        stream = RunningMedian(1, 0.0, 1.0, BIN)
        stream.observe(np.zeros(len(values), dtype=np.intp), values)
        assert stream.seen[0] == len(inside)
        assert stream.median[0] == pytest.approx(np.median(inside), abs=BIN)


def test_is_finer_than_its_bins_for_spread_values() -> None:
    """Interpolated: with many values the error is a small part of a bin."""
    values = np.random.default_rng(3).normal(0.4567, 0.05, 50_000)
    stream = RunningMedian(1, 0.0, 1.0, BIN)
    stream.observe(np.zeros(len(values), dtype=np.intp), values)
    assert stream.median[0] == pytest.approx(np.median(values), abs=0.1 * BIN)


def test_quantities_do_not_mix() -> None:
    rng = np.random.default_rng(4)
    stream = RunningMedian(4, -10.0, 10.0, BIN)
    quantity = rng.integers(0, 3, 3000)
    values = rng.normal(quantity * 3.0 - 4, 1.0)
    for start in range(0, 3000, 17):
        stream.observe(quantity[start : start + 17], values[start : start + 17])
    for number in range(3):
        assert stream.median[number] == pytest.approx(np.median(values[quantity == number]), abs=BIN)
        assert stream.seen[number] == np.count_nonzero(quantity == number)
    assert stream.seen[3] == 0
    assert np.isnan(stream.median[3])


def test_implausible_values_are_not_counted() -> None:
    stream = RunningMedian(1, 0.0, 1.0, BIN)
    values = np.array([0.5, np.nan, np.inf, -np.inf, -0.001, 1.0, 1e300, 7.0])
    stream.observe(np.zeros(len(values), dtype=np.intp), values)
    assert stream.seen[0] == 1
    assert stream.median[0] == pytest.approx(0.5, abs=BIN)
    stream.observe(np.zeros(0, dtype=np.intp), np.zeros(0))
    assert stream.seen[0] == 1
