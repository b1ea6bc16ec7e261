"""The segments that hold a skeleton together, and their lengths as one person's stream tells them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .running_median import RunningMedian
from .skeleton import Skeleton

# How far segments deviate from their median length: bones of one rigid part, and those across the trunk, which the
# spine and the shoulder girdle bend.
SIGMA_RIGID_M = 0.015
SIGMA_BENDING_M = 0.030
# A joint teaches lengths only when it is trusted by at least this much.
TEACHING_CONFIDENCE = 0.5
# Lengths outside these limits are no body's.
SHORTEST_M, LONGEST_M, BIN_M = 0.03, 0.9, 0.001

# A median of fewer says little more than the pose at hand does by itself.
SETTLED_AFTER = 10


@dataclass(frozen=True, slots=True)
class Segments:
    """The segments whose lengths hold a skeleton together.

    ends: (S, 2) joint positions; group: (S,) which length each segment has (mirrored segments share one); sigma_m: (S,)
    how far a segment deviates from its length. The first `rigid` of them are the rigid bones of the skeleton.
    """

    ends: np.ndarray
    group: np.ndarray
    sigma_m: np.ndarray
    rigid: int

    @property
    def groups(self) -> int:
        """How many lengths there are."""
        return int(self.group.max()) + 1


def segments_of(skeleton: Skeleton) -> Segments:
    """Rigid bones and what spans the trunk."""
    right_hip, left_hip, right_shoulder, left_shoulder, thorax = (
        skeleton.index(joint) for joint in ("RightHip", "LeftHip", "RightShoulder", "LeftShoulder", "Thorax")
    )
    across_trunk = [
        [right_hip, left_hip],
        [right_hip, thorax], [left_hip, thorax],
        [right_hip, left_shoulder], [left_hip, right_shoulder],
    ]  # fmt: skip
    bones, groups = skeleton.rigid_bone_indices, skeleton.rigid_bone_groups
    sigma_m = np.full(len(bones) + len(across_trunk), SIGMA_RIGID_M)
    sigma_m[-4:] = SIGMA_BENDING_M
    return Segments(
        np.concatenate([bones, across_trunk]),
        np.concatenate([groups, groups.max() + np.array([1, 2, 2, 3, 3])]),
        sigma_m,
        len(bones),
    )


class LearntLengths:
    """Running median of the length of each group of segments, over all poses of one person so far."""

    def __init__(self, skeleton: Skeleton) -> None:
        self._segments = segments_of(skeleton)
        self._medians = RunningMedian(self._segments.groups, SHORTEST_M, LONGEST_M, BIN_M)

    def observe(self, points_m: np.ndarray, confidence: np.ndarray) -> None:
        """Learn from a triangulated pose. points_m: (J, 3), NaN where not observed; confidence: (J,)."""
        trusted = (confidence > TEACHING_CONFIDENCE)[self._segments.ends].all(axis=1)
        ends_m = points_m[self._segments.ends[trusted]]
        self._medians.observe(self._segments.group[trusted], np.linalg.norm(ends_m[:, 0] - ends_m[:, 1], axis=1))

    @property
    def median_m(self) -> np.ndarray:
        """(G,) metres by group; NaN where never seen."""
        return self._medians.median

    @property
    def settled_m(self) -> np.ndarray:
        """(G,) metres; 0 while a length was learnt from fewer than SETTLED_AFTER segments, as networks are told."""
        return np.where(self._medians.seen >= SETTLED_AFTER, np.nan_to_num(self._medians.median), 0.0)
