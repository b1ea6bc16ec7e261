"""What a camera or a recording delivers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class FramePair:
    """The pictures of both cameras at one moment.

    left, right: (H, W, 3) uint8 BGR; timestamp_s: seconds since the recording began, or of the monotonic clock;
    index: number of the pair, from 0; skew_s: how much later the right picture was taken, by the clock of its camera
    (timestamp_s is then the middle of both), 0 where the views were recorded in step.
    """

    left: np.ndarray
    right: np.ndarray
    timestamp_s: float
    index: int
    skew_s: float = 0.0
