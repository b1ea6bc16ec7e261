"""What is written down for every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Protocol, Self

import numpy as np


class Mark(IntFlag):
    """What happened in a frame, in `PoseRecord.marks`."""

    SIDES_PUT_RIGHT = 1  # the detector had left and right exchanged
    OUTLIERS = 2  # joints were seen where they cannot be and left out
    REACQUIRED = 4  # the person is back after an absence, or it is another one
    FILLED = 8  # places of joints come from the frames around


@dataclass(frozen=True, slots=True)
class PoseRecord:
    """One frame of the results, with a pose or without.

    frame: number of the image pair; timestamp_s: seconds of the recording or of the monotonic clock;
    points_m: (J, 3) the pose; raw_points_m: (J, 3) before refinement; confidence: (J,) in 0..1; sigma_m: (J, 3)
    standard deviation per axis; refined_points_m: (J, 3) after refinement and before smoothing, the same as points_m
    when left out; marks: Mark, added up. NaN where there is nothing, confidence 0 where nothing was observed.
    """

    frame: int
    timestamp_s: float
    points_m: np.ndarray
    raw_points_m: np.ndarray
    confidence: np.ndarray
    sigma_m: np.ndarray
    refined_points_m: np.ndarray | None = None
    marks: int = 0

    def __post_init__(self) -> None:
        refined_points_m = self.points_m if self.refined_points_m is None else self.refined_points_m
        object.__setattr__(self, "refined_points_m", refined_points_m)
        joints = len(self.confidence)
        for name, values, shape in (
            ("points_m", self.points_m, (joints, 3)),
            ("raw_points_m", self.raw_points_m, (joints, 3)),
            ("confidence", self.confidence, (joints,)),
            ("sigma_m", self.sigma_m, (joints, 3)),
            ("refined_points_m", refined_points_m, (joints, 3)),
        ):
            if values.shape != shape:
                raise ValueError(f"{name}: expected shape {shape}, got {values.shape}")

    @classmethod
    def without_pose(cls, frame: int, timestamp_s: float, joints: int) -> Self:
        """The record of a frame in which nobody was found."""
        nowhere = np.full((joints, 3), np.nan)
        return cls(frame, timestamp_s, nowhere, nowhere, np.zeros(joints), nowhere)


@dataclass(frozen=True, slots=True)
class Recording:
    """What holds for all frames of one run.

    frames_per_second: the nominal rate; frame_of_reference: in words, for the reader of the file; z_up: the points are
    in a room whose z points up, else in a camera's frame (x right, y down, z forward).
    """

    joint_names: Sequence[str]
    frames_per_second: float
    frame_of_reference: str
    z_up: bool = False


class RecordWriter(Protocol):
    """One output file that grows with every frame. What `write` has taken stays readable if the process dies."""

    def write(self, record: PoseRecord) -> None:
        """Add one frame. Raises OutputError when the disk does not take it; the file then ends with the last one."""
        ...

    def close(self) -> None:
        """Finish the file; also after an error. A second time does nothing."""
        ...
