"""What turns a triangulated pose into the best guess, and the two that need no network."""

from __future__ import annotations

from typing import Protocol

from ..calibration.rectify import RectifiedRig
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


class SkeletonDenoiser:
    """`--denoiser skeleton`: the person's own bone lengths, no network."""

    name = "skeleton"
    device = "cpu"

    def __init__(self) -> None:
        self._fit = SkeletonFit()

    def denoise(self, rig: RectifiedRig, left: Pose2D, right: Pose2D, raw: Pose3D) -> Pose3D:
        """Pull the pose toward the bone lengths seen so far."""
        points_m, sigma_m = self._fit.refine(raw.points_m, raw.confidence, raw.sigma_m)
        return Pose3D(points_m, raw.confidence, sigma_m, raw.skeleton, raw.timestamp_s)

    def reset(self) -> None:
        """Forget the bone lengths."""
        self._fit.reset()
