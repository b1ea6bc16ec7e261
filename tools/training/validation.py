"""Scores while training: unseen motion clips, and real detections with ground truth (which nothing is fitted to)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...calibration.rectify import Rectifier
from ...calibration.triangulate import triangulate
from ...models.bone_lengths import LearntLengths
from ...models.diffusion import Schedule
from ...models.nets.denoiser import Denoiser, Observation
from ...models.skeleton import BODY17
from ..datasets.benchmark import load_benchmark
from ..metrics import pose_errors
from ..simulation.observe import Samples

ROOT = BODY17.index("Pelvis")
CHUNK = 1024


class Views(NamedTuple):
    """Real detections as the network takes them. left, right: (N, J, 2) normalised; baseline_m: (N,); lengths_m:
    (N, G) learnt causally, 0 where unknown yet; truth_m: (N, J, 3) rectified left frame."""

    left: Tensor
    right: Tensor
    baseline_m: Tensor
    lengths_m: Tensor
    truth_m: np.ndarray


@dataclass(frozen=True, slots=True)
class Scores:
    """Mean errors in millimetres (as `metrics.pose_errors`) and the shares of errors inside the stated intervals."""

    mpjpe_mm: float
    root_relative_mm: float
    procrustes_mm: float
    coverage_50: float
    coverage_90: float


def load_views(path: Path) -> Views:
    """The undamaged samples of a benchmark file, in order. Raises UserError when it cannot be read."""
    benchmark = load_benchmark(path)
    lengths = LearntLengths(BODY17)
    rows: list[tuple[np.ndarray, ...]] = []
    for sample in range(len(benchmark)):
        rectifier = Rectifier(benchmark.rig(sample), "points")
        rig = rectifier.rig
        left_px, right_px = (rectifier.points(view, benchmark.points_px[sample, view]) for view in (0, 1))
        lengths.observe(triangulate(rig, left_px, right_px), np.ones(len(BODY17)))
        to_rectified = benchmark.rotations[sample, 0].T @ rig.left_from_rectified
        truth_m = (benchmark.truth_m[sample] - benchmark.centres_m[sample, 0]) @ to_rectified
        left, right = (
            (points_px - centre_px) / rig.focal_px
            for points_px, centre_px in zip((left_px, right_px), rig.centres_px, strict=True)
        )
        if benchmark.scored[sample]:
            rows.append((left, right, np.array(rig.baseline_m), lengths.settled_m, truth_m))
    left, right, baseline_m, lengths_m, truth_m = (np.stack(column) for column in zip(*rows, strict=True))

    def tensor(column: np.ndarray) -> Tensor:
        return torch.tensor(column, dtype=torch.float32)

    return Views(tensor(left), tensor(right), tensor(baseline_m), tensor(lengths_m), truth_m)


def score_views(network: Denoiser, views: Views, streaming: bool, schedule: Schedule | None = None) -> Scores:
    """Scores on real detections. streaming: with the bone lengths that were learnt until each frame."""
    confidence = torch.ones(views.left.shape[:2])
    lengths_m = views.lengths_m if streaming else torch.zeros_like(views.lengths_m)
    points_m, sigma_m = _estimate(
        network, views.left, views.right, Observation(confidence, views.baseline_m, lengths_m), schedule
    )
    return _scores(points_m, sigma_m, views.truth_m)


def score_samples(network: Denoiser, samples: Samples, schedule: Schedule | None = None) -> Scores:
    """Scores on simulated detections."""
    seen = Observation(samples.confidence, samples.baseline_m, samples.lengths_m)
    points_m, sigma_m = _estimate(network, samples.left, samples.right, seen, schedule)
    return _scores(points_m, sigma_m, samples.truth_m.numpy())


@torch.no_grad()
def _estimate(
    network: Denoiser, left: Tensor, right: Tensor, seen: Observation, schedule: Schedule | None
) -> tuple[np.ndarray, np.ndarray]:
    device = next(network.parameters()).device
    parts = []
    for start in range(0, len(left), CHUNK):
        part = slice(start, start + CHUNK)
        chunk = Observation(*(value[part].to(device) for value in seen))
        estimate = network.denoise(left[part].to(device), right[part].to(device), chunk, schedule)
        parts.append([value.float().cpu().numpy() for value in estimate])
    points_m, sigma_m = (np.concatenate(column) for column in zip(*parts, strict=True))
    return points_m, sigma_m


def _scores(points_m: np.ndarray, sigma_m: np.ndarray, truth_m: np.ndarray) -> Scores:
    errors = pose_errors(points_m, truth_m, ROOT)
    ratio = np.abs(points_m - truth_m) / sigma_m
    return Scores(
        errors["mpjpe_mm"],
        errors["root_relative_mpjpe_mm"],
        errors["pa_mpjpe_mm"],
        float((ratio < 0.6745).mean()),
        float((ratio < 1.6449).mean()),
    )
