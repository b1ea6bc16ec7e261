"""Mean, median and percentiles of a long run in constant memory."""

from __future__ import annotations

import numpy as np

# Bins grow by 1 %, so a percentile is right to half a percent of itself.
_GROWTH = 1.01
_SMALLEST, _LARGEST = 1e-4, 1e6
_BINS = int(np.ceil(np.log(_LARGEST / _SMALLEST) / np.log(_GROWTH))) + 2


class Distribution:
    """Collects positive numbers (milliseconds, pixels); NaN is not counted."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, dtype=np.int64)
        self._sum = 0.0

    def add(self, values: np.ndarray | float) -> None:
        """Add one number or an array of any shape."""
        flat = np.ravel(np.asarray(values, dtype=np.float64))
        flat = flat[np.isfinite(flat)]
        clipped = np.clip(flat, _SMALLEST, _LARGEST)
        bins = np.floor(np.log(clipped / _SMALLEST) / np.log(_GROWTH)).astype(np.intp)
        np.add.at(self._counts, bins, 1)
        self._sum += float(flat.sum())

    @property
    def count(self) -> int:
        """How many numbers came in."""
        return int(self._counts.sum())

    @property
    def mean(self) -> float:
        """Exact mean; NaN when nothing came in."""
        return self._sum / self.count if self.count else float("nan")

    def percentile(self, percent: float) -> float:
        """The number below which `percent` of them lie, to 0.5 % of itself; NaN when nothing came in."""
        if not self.count:
            return float("nan")
        position = int(np.searchsorted(self._counts.cumsum(), max(percent / 100 * self.count, 1)))
        return float(_SMALLEST * _GROWTH ** (position + 0.5))

    def median_and_p95(self) -> dict[str, float]:
        """For the summary: rounded to what the reader needs."""
        return {"median": round(self.percentile(50), 3), "p95": round(self.percentile(95), 3)}

    def mean_and_median(self) -> dict[str, float]:
        """For the summary: rounded to what the reader needs."""
        return {"mean": round(self.mean, 2), "median": round(self.percentile(50), 2)}
