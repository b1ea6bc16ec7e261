"""What is minimised."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ...models.nets.denoiser import Estimate
from ...models.nets.geometry import project, triangulate
from ...models.skeleton import BODY17
from ..simulation.observe import Samples
from .config import Optimisation

ROOT = BODY17.index("Pelvis")
# Joints that nobody observed are guesses, whatever one does.
MISSING_WEIGHT = 0.3
# Below this, triangulation is good enough for anybody.
LEAST_ERROR_M = 0.01
# Shares of a normal distribution within this many standard deviations of its middle.
INTERVALS = ((0.5, 0.6745), (0.9, 1.6449))


class Losses(NamedTuple):
    """Means over the batch, metres; sigma: pinball loss of the intervals; total: their weighted sum."""

    points_m: Tensor
    relative_m: Tensor
    projected_m: Tensor
    sigma: Tensor
    total: Tensor


def losses(estimate: Estimate, samples: Samples, weights: Optimisation) -> Losses:
    """Compare estimates with the truth of their samples."""
    importance = MISSING_WEIGHT + (1 - MISSING_WEIGHT) * (samples.confidence > 0)
    importance = importance * _ease(samples)
    importance = importance / importance.mean()

    def mean_distance(difference: Tensor) -> Tensor:
        return (importance * (difference.square().sum(dim=-1) + 1e-8).sqrt()).mean()

    error_m = estimate.points_m - samples.truth_m
    points_m, relative_m = mean_distance(error_m), mean_distance(error_m - error_m[:, ROOT, None])
    views = zip(project(estimate.points_m, samples.baseline_m), (samples.clean_left, samples.clean_right), strict=True)
    distance_m = samples.truth_m[:, ROOT, 2, None, None]
    projected_m = torch.stack([mean_distance((seen - true) * distance_m) for seen, true in views]).mean()
    sigma = _interval_loss(error_m.detach().abs(), estimate.sigma_m, importance)
    total = (
        weights.loss_3d * points_m
        + weights.loss_root * relative_m
        + weights.loss_2d * projected_m
        + weights.loss_sigma * sigma
    )
    return Losses(points_m, relative_m, projected_m, sigma, total)


def _ease(samples: Samples) -> Tensor:
    """(B, 1): samples count by what share of their error is taken off, else the worst detections rule the rest."""
    triangulated_m = triangulate(samples.left, samples.right, samples.baseline_m)
    usual_m = (triangulated_m - samples.truth_m).norm(dim=-1).median(dim=1, keepdim=True).values
    return 1 / (LEAST_ERROR_M + usual_m)


def _interval_loss(distance_m: Tensor, sigma_m: Tensor, importance: Tensor) -> Tensor:
    """Pinball loss that is least when the stated share of errors lies inside each interval.

    Koenker and Bassett 1978. Unlike a likelihood it asks for the intervals themselves, so heavy tails do not widen the
    inner one.
    """
    parts = []
    for share, deviations in INTERVALS:
        excess_m = distance_m - deviations * sigma_m
        parts.append(importance[..., None] * torch.maximum(share * excess_m, (share - 1) * excess_m))
    return torch.stack(parts).mean()
