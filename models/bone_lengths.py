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
# Bones whose length is held are to keep it. Tried on real detections with ground truth: against 15 mm the mean error
# stays the same to 0.1 mm, and thighs vary by 0.3 % instead of 0.7 to 0.9 %.
SIGMA_HELD_M = 0.005
# A joint teaches lengths only when it is trusted by at least this much.
TEACHING_CONFIDENCE = 0.5
# Lengths outside these limits are no body's.
SHORTEST_M, LONGEST_M, BIN_M = 0.03, 0.9, 0.001
# Bones are given their lengths until all are right to this, at most so many times over.
LENGTHS_AGREE_M, LENGTH_ROUNDS = 1e-5, 60

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


def segment_names(skeleton: Skeleton) -> tuple[str, ...]:
    """A name for the length of each group of segments, (G,): "Hip_Knee" for both thighs, "RightHip_LeftHip"."""
    segments = segments_of(skeleton)
    names: dict[int, str] = {}
    for (a, b), group in zip(segments.ends.tolist(), segments.group.tolist(), strict=True):
        ends = [skeleton.joints[a], skeleton.joints[b]]
        across = skeleton.side[a] * skeleton.side[b] < 0
        if not across:
            ends = [joint.removeprefix("Right").removeprefix("Left") for joint in ends]
        names.setdefault(group, "_".join(ends))
    return tuple(names[group] for group in range(segments.groups))


class LearntLengths:
    """Running median of the length of each group of segments, over all poses of one person so far.

    Lengths can be held: they then stay as they are, whatever is seen. held_m: (G,) those that are held, NaN for the
    others.
    """

    def __init__(self, skeleton: Skeleton, held_m: np.ndarray | None = None) -> None:
        self._segments = segments_of(skeleton)
        self._medians = RunningMedian(self._segments.groups, SHORTEST_M, LONGEST_M, BIN_M)
        self.held_m = np.full(self._segments.groups, np.nan) if held_m is None else held_m

    def hold(self) -> None:
        """From now on the lengths that are settled hold; those hardly seen yet are learnt on."""
        settled_m = np.where(self._medians.seen >= SETTLED_AFTER, self.seen_m, np.nan)
        self.held_m = np.where(np.isnan(self.held_m), settled_m, self.held_m)

    @property
    def sigma_m(self) -> np.ndarray:
        """(S,) how far each segment deviates from its length."""
        held = ~np.isnan(self.held_m)[self._segments.group]
        rigid = self._segments.sigma_m <= SIGMA_RIGID_M
        return np.where(held & rigid, SIGMA_HELD_M, self._segments.sigma_m)

    def observe(self, points_m: np.ndarray, confidence: np.ndarray) -> None:
        """Learn from a triangulated pose. points_m: (J, 3), NaN where not observed; confidence: (J,)."""
        trusted = (confidence > TEACHING_CONFIDENCE)[self._segments.ends].all(axis=1)
        ends_m = points_m[self._segments.ends[trusted]]
        self._medians.observe(self._segments.group[trusted], np.linalg.norm(ends_m[:, 0] - ends_m[:, 1], axis=1))

    @property
    def seen_m(self) -> np.ndarray:
        """(G,) median of everything seen, held or not; NaN where never seen."""
        return self._medians.median

    @property
    def median_m(self) -> np.ndarray:
        """(G,) metres by group; NaN where never seen."""
        return np.where(np.isnan(self.held_m), self.seen_m, self.held_m)

    @property
    def settled_m(self) -> np.ndarray:
        """(G,) metres; 0 while a length was learnt from fewer than SETTLED_AFTER segments, as networks are told."""
        settled = (self._medians.seen >= SETTLED_AFTER) | ~np.isnan(self.held_m)
        return np.where(settled, np.nan_to_num(self.median_m), 0.0)


def rigid_lengths_m(points_m: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Lengths of the rigid bones in every pose. points_m: (N, J, 3) -> (N, R), NaN where unknown."""
    ends = skeleton.rigid_bone_indices
    return np.linalg.norm(points_m[:, ends[:, 0]] - points_m[:, ends[:, 1]], axis=-1)


def with_lengths(points_m: np.ndarray, lengths_m: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Poses whose rigid bones have given lengths, moved as little as bone after bone, both ends alike, can do it.

    points_m: (N, J, 3), NaN where unknown; lengths_m: (N, R) of the rigid bones, NaN for those that stay as they are.
    """
    placed_m = np.array(points_m)
    for _ in range(LENGTH_ROUNDS):
        worst_m = 0.0
        for bone, (a, b) in enumerate(skeleton.rigid_bone_indices.tolist()):
            along_m = placed_m[:, a] - placed_m[:, b]
            length_m = np.maximum(np.linalg.norm(along_m, axis=1), 1e-9)
            off_m = np.nan_to_num(lengths_m[:, bone] - length_m)
            half_m = np.nan_to_num(along_m) * (off_m / np.nan_to_num(length_m, nan=1.0) / 2)[:, None]
            placed_m[:, a] += half_m
            placed_m[:, b] -= half_m
            worst_m = max(worst_m, float(np.abs(off_m).max(initial=0.0)))
        if worst_m < LENGTHS_AGREE_M:
            break
    return placed_m
