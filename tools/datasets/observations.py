"""Detections with their truth in one form, whether recorded or simulated, to compare their errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .benchmark import Benchmark

if TYPE_CHECKING:
    from ..simulation.observe import Samples


@dataclass(frozen=True, slots=True)
class Observations:
    """N samples in which both views see every joint; rectified left frame of each.

    truth_m: (N, 17, 3); left, right: (N, 17, 2) detections in normalised image coordinates, (pixel - principal point) /
    focal length; baseline_m: (N,); run: (N,) number of the recording that a sample is part of; order: (N,) its place
    there. Samples that nothing connects are runs of their own.
    """

    truth_m: np.ndarray
    left: np.ndarray
    right: np.ndarray
    baseline_m: np.ndarray
    run: np.ndarray
    order: np.ndarray

    def __len__(self) -> int:
        return len(self.truth_m)

    @property
    def observed_m(self) -> np.ndarray:
        """Triangulated joints, (N, 17, 3), as `calibration.triangulate` has it; NaN without disparity."""
        disparity = self.left[..., 0] - self.right[..., 0]
        baseline_m = self.baseline_m[:, None]
        depth_m = baseline_m / np.where(disparity > 0, disparity, np.nan)
        x_m = ((self.left[..., 0] + self.right[..., 0]) * depth_m + baseline_m) / 2
        return np.stack([x_m, (self.left[..., 1] + self.right[..., 1]) * depth_m / 2, depth_m], axis=-1)


def recorded(benchmark: Benchmark) -> Observations:
    """The undamaged samples of a benchmark file. A run is an action seen by one pair of cameras."""
    labels = np.stack([benchmark.subject, benchmark.action], axis=1)
    run = np.r_[0, np.cumsum((labels[1:] != labels[:-1]).any(axis=1))]
    chosen = np.flatnonzero(benchmark.scored)
    samples = [benchmark.rectified(sample) for sample in chosen.tolist()]
    points_px = np.stack([[sample.left.points_px, sample.right.points_px] for sample in samples], axis=1)
    centres_px = np.stack([sample.rig.centres_px for sample in samples], axis=1)
    left, right = (points_px - centres_px[:, :, None]) / np.array([s.rig.focal_px for s in samples])[:, None, None]
    truth_m = np.stack([
        sample.world_from_rectified.inverse().apply(pose_m)
        for sample, pose_m in zip(samples, benchmark.truth_m[chosen], strict=True)
    ])  # fmt: skip
    baseline_m = np.array([sample.rig.baseline_m for sample in samples])
    return Observations(truth_m, left, right, baseline_m, run[chosen], chosen)


def simulated(batches: Sequence[Samples]) -> Observations:
    """Simulated samples in which no joint is missing."""
    parts = [
        [
            value.numpy().astype(np.float64)[whole]
            for value in (batch.truth_m, batch.left, batch.right, batch.baseline_m)
        ]
        for batch in batches
        for whole in [(batch.confidence > 0).all(dim=1).numpy()]
    ]
    truth_m, left, right, baseline_m = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Observations(truth_m, left, right, baseline_m, np.arange(len(truth_m)), np.zeros(len(truth_m), int))
