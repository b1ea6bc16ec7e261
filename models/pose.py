"""The two poses that travel through the program: a detection in one view, and a person in space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .skeleton import DERIVED_JOINTS, Skeleton


def _shaped(name: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {values.shape}")
    return values


@dataclass(frozen=True, slots=True)
class Pose2D:
    """Joints of one person in one view.

    points_px: (J, 2), NaN where a joint is not observed; confidence: (J,) in 0..1, 0 exactly where not observed.
    """

    points_px: np.ndarray
    confidence: np.ndarray
    skeleton: Skeleton

    def __post_init__(self) -> None:
        joints = len(self.skeleton)
        object.__setattr__(self, "points_px", _shaped("points_px", self.points_px, (joints, 2)))
        object.__setattr__(self, "confidence", _shaped("confidence", self.confidence, (joints,)))

    def to_skeleton(self, target: Skeleton) -> Pose2D:
        """The same detection with the joints of another skeleton.

        Joints are matched by name; DERIVED_JOINTS are the mean of their sources, with the least of their confidences;
        what is left is not observed (NaN, confidence 0).
        """
        points_px = np.full((len(target), 2), np.nan)
        confidence = np.zeros(len(target))
        have = self.skeleton.joints
        for position, joint in enumerate(target.joints):
            sources = (joint,) if joint in have else DERIVED_JOINTS.get(joint, ())
            if sources and all(source in have for source in sources):
                rows = [have.index(source) for source in sources]
                points_px[position] = self.points_px[rows].mean(axis=0)
                confidence[position] = self.confidence[rows].min()
        return Pose2D(points_px, confidence, target)


@dataclass(frozen=True, slots=True)
class Pose3D:
    """One person in space at one moment.

    points_m: (J, 3) metres, NaN where a joint has no place; confidence: (J,) in 0..1, 0 exactly where no view
    observed the joint (its place, if it has one, is inferred); sigma_m: (J, 3) standard deviation per axis, NaN where
    unknown; timestamp_s: seconds of the recording or of the monotonic clock. Frame: see whoever hands it over.
    """

    points_m: np.ndarray
    confidence: np.ndarray
    sigma_m: np.ndarray
    skeleton: Skeleton
    timestamp_s: float

    def __post_init__(self) -> None:
        joints = len(self.skeleton)
        object.__setattr__(self, "points_m", _shaped("points_m", self.points_m, (joints, 3)))
        object.__setattr__(self, "confidence", _shaped("confidence", self.confidence, (joints,)))
        object.__setattr__(self, "sigma_m", _shaped("sigma_m", self.sigma_m, (joints, 3)))

    def moved(self, target_from_source: np.ndarray, translation_m: np.ndarray | float = 0.0) -> Pose3D:
        """The pose in another frame. target_from_source: (3, 3) rotation; translation_m: (3,).

        sigma_m is turned as the diagonal of a covariance without correlation between the axes.
        """
        points_m = self.points_m @ target_from_source.T + translation_m
        sigma_m = np.sqrt(self.sigma_m**2 @ (target_from_source**2).T)
        return Pose3D(points_m, self.confidence, sigma_m, self.skeleton, self.timestamp_s)
