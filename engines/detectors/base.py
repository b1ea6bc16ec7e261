"""What every detector offers the pipeline."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ...models.pose import Pose2D
from ...models.skeleton import Skeleton


class StereoDetector(Protocol):
    """Finds one and the same person in both pictures of a pair; keeps track of them from pair to pair.

    device: where its pose network runs: cpu, cuda or tensorrt.
    """

    name: str
    device: str
    skeleton: Skeleton

    def detect(self, left: np.ndarray, right: np.ndarray, timestamp_s: float) -> tuple[Pose2D | None, Pose2D | None]:
        """One person in both views, in pixels of the given pictures, or None where a view shows nobody.

        left, right: (H, W, 3) uint8 BGR, as `Rectifier.images` returns them.
        """
        ...

    def reset(self) -> None:
        """Forget the person followed so far."""
        ...

    def close(self) -> None:
        """Release threads and networks."""
        ...
