"""Medians of endless streams in constant memory and time."""

from __future__ import annotations

import numpy as np


class RunningMedian:
    """The median of everything seen so far, for several quantities at once, from a histogram of fixed bins.

    low, high, bin_width: range and resolution in the unit of the values; values outside the range are ignored, so the
    range is also the plausibility check. The answer is interpolated inside its bin.
    """

    def __init__(self, quantities: int, low: float, high: float, bin_width: float) -> None:
        self._low, self._bin_width = low, bin_width
        self._counts = np.zeros((quantities, round((high - low) / bin_width)))
        self._known: tuple[np.ndarray, np.ndarray] | None = None

    def observe(self, quantity: np.ndarray, values: np.ndarray) -> None:
        """Add values. quantity: (N,) which quantity each belongs to; values: (N,), NaN ignored."""
        with np.errstate(invalid="ignore"):
            bins = np.floor((values - self._low) / self._bin_width)
            plausible = (bins >= 0) & (bins < self._counts.shape[1])
        np.add.at(self._counts, (quantity[plausible], bins[plausible].astype(np.intp)), 1.0)
        self._known = None

    @property
    def seen(self) -> np.ndarray:
        """How many values each quantity has had, (Q,); not to be written to."""
        return self._seen_and_median()[0]

    @property
    def median(self) -> np.ndarray:
        """The median of each quantity, (Q,), NaN where nothing was seen; not to be written to."""
        return self._seen_and_median()[1]

    def _seen_and_median(self) -> tuple[np.ndarray, np.ndarray]:
        # Asked several times between two observations.
        if self._known is None:
            self._known = self._counts.sum(axis=1), self._median()
        return self._known

    def _median(self) -> np.ndarray:
        cumulative = self._counts.cumsum(axis=1)
        half = cumulative[:, -1] / 2
        position = (cumulative >= half[:, None]).argmax(axis=1)
        rows = np.arange(len(half))
        inside = self._counts[rows, position]
        with np.errstate(invalid="ignore", divide="ignore"):
            share = (half - (cumulative[rows, position] - inside)) / inside
        return np.where(half > 0, self._low + (position + share) * self._bin_width, np.nan)
