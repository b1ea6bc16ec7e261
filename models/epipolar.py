"""What the row difference between the views tells: calibration, synchronisation, and which joints to trust."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..calibration.people import SIGMA_PER_MEDIAN
from ..calibration.rectify import RectifiedRig
from .running_median import RunningMedian

MIN_OBSERVATIONS = 17 * 5
# Below this a row difference says nothing: detectors place joints no better.
FLOOR_OF_HEIGHT = 0.02
RANGE_PX, BIN_PX = 200.0, 0.25
# No detector is steadier than this.
MIN_NOISE_PX = 1.0
# Degrees of freedom of Student's t for row differences whose tails nobody has measured: a few gross errors.
USUAL_FREEDOM = 4.0


@dataclass(frozen=True, slots=True)
class RowNoise:
    """Row differences of each joint as a detector profile knows them.

    of_height: (J,) standard deviation as a share of the person's height in the picture, NaN where unknown; freedom:
    (J,) degrees of freedom of Student's t, the fewer the heavier the tails.
    """

    of_height: np.ndarray
    freedom: np.ndarray


class RowStatistics:
    """Running bias and noise of the row difference (left minus right, rectified pixels) of all trusted joints.

    known: what is known of the joints' noise beforehand; where it is unknown all joints have the running noise.
    """

    def __init__(self, known: RowNoise | None = None) -> None:
        self._known = known
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

    def joint_noise_px(self, person_height_px: float) -> np.ndarray:
        """Standard deviation of each joint's row difference, (J,) or, the same for all, ()."""
        if self._known is None:
            return np.asarray(self.noise_px)
        noise_px = self._known.of_height * person_height_px
        return np.where(np.isnan(noise_px), self.noise_px, noise_px)

    def trust(self, residual_px: np.ndarray, person_height_px: float) -> np.ndarray:
        """Factor in 0..1 on the confidence of joints, (J,): their two views may not belong together.

        A joint whose rows differ by as much as three times the usual, and at least 2 % of the person's height, counts
        half; NaN gives 0.
        """
        noise_px = self.joint_noise_px(person_height_px)
        limit_px = np.maximum(3 * noise_px, max(FLOOR_OF_HEIGHT * person_height_px, 1.0))
        excess = (residual_px - self.bias_px) / limit_px
        return np.nan_to_num(1 / (1 + excess**2), nan=0.0)

    def excess_noise_px(self, residual_px: np.ndarray, person_height_px: float) -> np.ndarray:
        """By how much more than usual the joints of this frame err, as their rows betray; (J,), 0 where they do not.

        Errors with the tails of Student's t are normal ones whose variance is itself drawn from a scaled inverse
        chi-squared distribution about the usual n^2, with v degrees of freedom. After a row difference of r the scale
        of that distribution is (v n^2 + r^2) / (v + 1) (Gelman et al., Bayesian Data Analysis, 3rd ed., section 2.6).
        Returned is the square root of what this adds to n^2; NaN residuals give 0.
        """
        noise_px = self.joint_noise_px(person_height_px)
        freedom = USUAL_FREEDOM if self._known is None else np.nan_to_num(self._known.freedom, nan=USUAL_FREEDOM)
        # To begin with the usual is unknown.
        usual_px = np.where(noise_px > 0, noise_px, FLOOR_OF_HEIGHT * person_height_px)
        usual = np.maximum(usual_px, MIN_NOISE_PX) ** 2
        squared = np.nan_to_num((residual_px - self.bias_px) ** 2, nan=0.0)
        return np.sqrt(np.maximum((freedom * usual + squared) / (freedom + 1) - usual, 0.0))


def person_height_px(points_px: np.ndarray) -> float:
    """How high a person appears in a view. points_px: (J, 2), NaN ignored; 0 when there are none."""
    rows_px = points_px[np.isfinite(points_px[:, 1]), 1]
    return float(np.ptp(rows_px)) if len(rows_px) else 0.0


def sigma_of_rows_m(rig: RectifiedRig, points_m: np.ndarray, noise_px: np.ndarray) -> np.ndarray:
    """What errors of which row differences have this standard deviation do to triangulated joints, (J, 3) per axis.

    points_m: (J, 3) rectified frame; noise_px: (J,). Both views err alike and independently, by noise / sqrt(2) in row
    and column, so their mean by noise / 2 and the disparity by noise; Z / f and Z^2 / (f B) make that metres. What is
    off in depth is off sideways too, along the line to the middle between the cameras.
    """
    x, y, depth = points_m.T
    depth_m = depth**2 / (rig.focal_px * rig.baseline_m) * noise_px
    across_m = depth / rig.focal_px * noise_px / 2
    aside = (x - rig.baseline_m / 2) / depth, y / depth
    return np.stack([np.hypot(across_m, slope * depth_m) for slope in aside] + [depth_m], axis=1)
