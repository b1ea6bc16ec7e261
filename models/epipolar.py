"""What the row difference between the views tells: calibration, synchronisation, and which joints to trust."""

from __future__ import annotations

import numpy as np

from ..calibration.people import SIGMA_PER_MEDIAN
from .running_median import RunningMedian

MIN_OBSERVATIONS = 17 * 5
# Below this a row difference says nothing: detectors place joints no better.
FLOOR_OF_HEIGHT = 0.02
RANGE_PX, BIN_PX = 200.0, 0.25


class RowStatistics:
    """Running bias and noise of the row difference (left minus right, rectified pixels) of all trusted joints."""

    def __init__(self) -> None:
        self._bias = RunningMedian(1, -RANGE_PX, RANGE_PX, BIN_PX)
        self._deviation = RunningMedian(1, 0.0, RANGE_PX, BIN_PX)

    def observe(self, residual_px: np.ndarray) -> None:
        """Add the joints of one frame, (J,), NaN ignored."""
        known_px = residual_px[np.isfinite(residual_px)]
        first = np.zeros(len(known_px), dtype=np.intp)
        self._bias.observe(first, known_px)
        self._deviation.observe(first, np.abs(known_px - self.bias_px))

    @property
    def bias_px(self) -> float:
        """Median signed row difference; 0 until enough was seen."""
        return float(self._bias.median[0]) if self._bias.seen[0] >= MIN_OBSERVATIONS else 0.0

    @property
    def noise_px(self) -> float:
        """Robust standard deviation about the bias; 0 until enough was seen."""
        if self._deviation.seen[0] < MIN_OBSERVATIONS:
            return 0.0
        return SIGMA_PER_MEDIAN * float(self._deviation.median[0])

    def trust(self, residual_px: np.ndarray, person_height_px: float) -> np.ndarray:
        """Factor in 0..1 on the confidence of joints, (J,): their two views may not belong together.

        A joint whose rows differ by as much as three times the usual, and at least 2 % of the person's height, counts
        half; NaN gives 0.
        """
        limit_px = max(3 * self.noise_px, FLOOR_OF_HEIGHT * person_height_px, 1.0)
        excess = (residual_px - self.bias_px) / limit_px
        return np.nan_to_num(1 / (1 + excess**2), nan=0.0)
