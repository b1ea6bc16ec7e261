"""The bone-length fit of `models.skeleton_fit` as a layer: a fixed number of steps, batched, differentiable."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..bone_lengths import segments_of
from ..skeleton import Skeleton
from ..skeleton_fit import NOISE_FREEDOM

# Twice the row sums of a segment's share of the Hessian, over its two ends and three axes, bound it (Gershgorin); a
# step stays stable with anything above half of that, and gets there sooner.
DAMPING = 1.2
# A segment that is nearly a point has no direction to speak of; nothing moves further than this at once.
LONGEST_STEP_M = 0.1


def incidence(skeleton: Skeleton) -> np.ndarray:
    """(S, J): +1 and -1 at the two ends of each segment, so that incidence @ points are the segments' vectors."""
    ends = segments_of(skeleton).ends
    matrix = np.zeros((len(ends), len(skeleton)))
    matrix[np.arange(len(ends)), ends[:, 0]] = 1
    matrix[np.arange(len(ends)), ends[:, 1]] = -1
    return matrix


class SkeletonLayer(nn.Module):
    """Moves joints toward the lengths of their segments, against the variance of where they were measured.

    The same minimum as `SkeletonFit` (Student's t for each joint, a Gaussian for each segment), but approached with
    Jacobi steps, which are plain arithmetic in any runtime, instead of linear systems.
    """

    incidence: Tensor
    selection: Tensor
    precision: Tensor

    def __init__(self, skeleton: Skeleton, iterations: int) -> None:
        super().__init__()
        segments = segments_of(skeleton)
        self.iterations = iterations
        self.register_buffer("incidence", torch.tensor(incidence(skeleton), dtype=torch.float32), persistent=False)
        selection = np.eye(segments.groups)[segments.group]
        self.register_buffer("selection", torch.tensor(selection.T, dtype=torch.float32), persistent=False)
        precision = torch.tensor(1 / segments.sigma_m**2, dtype=torch.float32)
        self.register_buffer("precision", precision, persistent=False)

    def forward(self, points_m: Tensor, variance_m2: Tensor, known: Tensor, lengths_m: Tensor) -> Tensor:
        """points_m, variance_m2: (B, J, 3); known: (B, J) 1 or 0; lengths_m: (B, G), 0 where unknown -> (B, J, 3).

        Joints that are not known stay where they are and pull at nothing.
        """
        target_m = lengths_m @ self.selection  # (B, S)
        complete = (known @ self.incidence.abs().T > 1.5).to(points_m.dtype)
        stiffness = complete * (target_m > 0).to(points_m.dtype) * self.precision  # (B, S)
        trust = 1 / variance_m2
        refined_m = points_m
        degree = self.incidence.abs().T
        for _ in range(self.iterations):
            away_m = refined_m - points_m
            moved = (away_m * away_m * trust).sum(dim=-1, keepdim=True)
            trusted = trust / ((NOISE_FREEDOM + moved) / (NOISE_FREEDOM + 3)).clamp(min=1)
            vector_m = self.incidence @ refined_m  # (B, S, 3)
            length_m = vector_m.norm(dim=-1).clamp(min=1e-3)
            direction = vector_m / length_m[..., None]
            pull = ((length_m - target_m) * stiffness)[..., None] * direction
            gradient = trusted * away_m + self.incidence.T @ pull
            steepness = direction.abs()
            steepness = steepness * steepness.sum(dim=-1, keepdim=True)
            curvature = trusted + DAMPING * (degree @ (stiffness[..., None] * steepness))
            refined_m = refined_m - (gradient / curvature).clamp(-LONGEST_STEP_M, LONGEST_STEP_M)
        return refined_m
