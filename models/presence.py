"""Noticing that somebody has come back, or that it is somebody else."""

from __future__ import annotations

import numpy as np

from .motion import is_another_body

# After an absence this long whatever was learnt about the person may be about somebody else.
AWAY_S = 1.5


class PresenceWatch:
    """Told every pose of a stream, it says where the course of one person ends and another begins."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """The next pose is the first."""
        self._last: tuple[np.ndarray, float] | None = None
        self._aside: tuple[np.ndarray, float] | None = None

    def is_new(self, points_m: np.ndarray, timestamp_s: float) -> bool:
        """Whether this pose follows a long absence or a jump that no person makes; False for the first of all.

        A jump counts when two poses in a row agree on it: a single one aside is a detector's error.
        points_m: (17, 3) body17, NaN where not observed.
        """
        now = (points_m, timestamp_s)
        last, aside = self._last, self._aside
        self._aside = None
        if last is None or not _jumps(last, now):
            self._last = now
            return last is not None and not 0 <= timestamp_s - last[1] <= AWAY_S
        if aside is None or _jumps(aside, now):
            self._aside = now
            return False
        self._last = now
        return True


def _jumps(before: tuple[np.ndarray, float], after: tuple[np.ndarray, float]) -> bool:
    if after[1] <= before[1]:
        return False
    return is_another_body(before[0], after[0], after[1] - before[1])
