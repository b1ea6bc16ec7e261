"""Noticing that somebody has come back, or that it is somebody else."""

from __future__ import annotations

import numpy as np

from .motion import body_changes

# After an absence this long whatever was learnt about the person may be about somebody else.
AWAY_S = 1.5


class PresenceWatch:
    """Told every pose of a stream, it says where the course of one person ends and another begins."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """The next pose is the first."""
        self._last_m: np.ndarray | None = None
        self._last_s = -np.inf

    def is_new(self, points_m: np.ndarray, timestamp_s: float) -> bool:
        """Whether this pose follows a long absence or a jump that no person makes; False for the first of all.

        points_m: (17, 3) body17, NaN where not observed.
        """
        last_m, last_s = self._last_m, self._last_s
        self._last_m, self._last_s = points_m, timestamp_s
        if last_m is None:
            return False
        if timestamp_s - last_s > AWAY_S or timestamp_s < last_s:
            return True
        return bool(body_changes(np.stack([last_m, points_m]), np.array([last_s, timestamp_s]))[1])
