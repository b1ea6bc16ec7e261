"""What a single-person pose network offers the tracker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...models.pose import Pose2D
from ...models.skeleton import Skeleton
from .person import PersonCandidate
from .region import Region

Pictures = tuple[np.ndarray, np.ndarray]
Regions = tuple[Region, Region]


@dataclass(frozen=True)
class PoseReading:
    """What a pose network saw in one region.

    pose: joints in pixels of the picture; presence: how sure the network is that a person is there, 0..1;
    body: where the body turned out to be, None when the joints do not tell. That is where to look in the next picture.
    """

    pose: Pose2D
    presence: float
    body: Region | None


class PoseNetwork(Protocol):
    """Reads one person's joints from a region of a picture. device: where it runs: cpu, cuda or tensorrt."""

    device: str
    skeleton: Skeleton
    min_presence: float

    def first_region(self, candidate: PersonCandidate) -> Region:
        """Where to look for somebody the person detector has just found."""
        ...

    def read(self, view: int, picture: np.ndarray, region: Region) -> PoseReading:
        """Joints in one picture. view: 0 left, 1 right; calls for two views may run in parallel."""
        ...

    def read_both(self, pictures: Pictures, regions: Regions) -> tuple[PoseReading, PoseReading]:
        """Joints in both pictures, in the shortest time."""
        ...

    def close(self) -> None:
        """Release threads and networks."""
        ...
