"""What turns a triangulated pose into the best guess, and the two that need no network."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from ..calibration.rectify import RectifiedRig
from ..models.bone_lengths import LearntLengths
from ..models.pose import Pose2D, Pose3D
from ..models.skeleton_fit import SkeletonFit


class Denoiser(Protocol):
    """Refines the poses of one person, one at a time and in order; everything in the rectified left frame."""

    name: str
    device: str  # where it runs: cpu, cuda or tensorrt

    def denoise(self, rig: RectifiedRig, left: Pose2D, right: Pose2D, raw: Pose3D) -> Pose3D:
        """The refined pose of the same moment; it may give a place to joints that nobody observed.

        left, right: body17 in rectified pixels; raw: triangulated from them, with the confidence that the two views
        together deserve and NaN where they do not meet.
        """
        ...

    def reset(self) -> None:
        """Forget the person."""
        ...


class NoDenoiser:
    """`--denoiser off`: triangulation alone."""

    name = "off"
    device = "cpu"

    def denoise(self, rig: RectifiedRig, left: Pose2D, right: Pose2D, raw: Pose3D) -> Pose3D:
        """The pose as it came."""
        return raw

    def reset(self) -> None:
        """Nothing to forget."""


@runtime_checkable
class LengthLearner(Protocol):
    """A denoiser that learns the person's bone lengths."""

    @property
    def lengths(self) -> LearntLengths:
        """Those of the person it follows now."""
        ...


class SkeletonDenoiser:
    """`--denoiser skeleton`: the person's own bone lengths, no network."""

    name = "skeleton"
    device = "cpu"

    def __init__(self, held_m: np.ndarray | None = None, lock_after_s: float | None = None) -> None:
        """held_m: lengths that are known beforehand, as for `SkeletonFit`; lock_after_s: from so long after the first
        pose of a person on, what was learnt holds; None learns for ever."""
        self._fit = SkeletonFit(held_m=held_m)
        self._lock_after_s = lock_after_s
        self._first_s: float | None = None

    @property
    def lengths(self) -> LearntLengths:
        """Those of the person it follows now."""
        return self._fit.lengths

    def denoise(self, rig: RectifiedRig, left: Pose2D, right: Pose2D, raw: Pose3D) -> Pose3D:
        """Pull the pose toward the bone lengths seen so far."""
        if self._first_s is None:
            self._first_s = raw.timestamp_s
        if self._lock_after_s is not None and raw.timestamp_s - self._first_s >= self._lock_after_s:
            self.lengths.hold()
        points_m, sigma_m = self._fit.refine(raw.points_m, raw.confidence, raw.sigma_m)
        return Pose3D(points_m, raw.confidence, sigma_m, raw.skeleton, raw.timestamp_s)

    def settle(self, points_m: np.ndarray, sigma_m: np.ndarray) -> np.ndarray:
        """Another's estimate of the pose, pulled toward the person's bone lengths; see `SkeletonFit.settle`."""
        return self._fit.settle(points_m, sigma_m)

    def reset(self) -> None:
        """Forget the bone lengths, except for those known beforehand."""
        self._fit.reset()
        self._first_s = None
