"""What a camera or a recording delivers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class FramePair:
    """The pictures of both cameras at one moment.

    left, right: (H, W, 3) uint8 BGR; timestamp_s: seconds since the recording began, or of the monotonic clock;
    index: number of the pair, from 0.
    """

    left: np.ndarray
    right: np.ndarray
    timestamp_s: float
    index: int
