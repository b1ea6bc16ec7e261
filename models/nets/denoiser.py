"""The denoising network and its DDIM loop: joints of two views in, the pose in metres out.

After "Dual-Diffusion for Binocular 3D Human Pose Estimation" (NeurIPS 2024): detections of both views are the noisy end
of a diffusion in the images; each step triangulates the state, a graph and attention network that is told the step and
the depth predicts the clean pose, and its projection is the clean state of the step. `PAPER` sets these parts as
published; `DenoiserConfig()` is ours. What ours does differently, and why, is in docs/denoiser.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..bone_lengths import segments_of
from ..diffusion import Schedule, ddim, detector_schedule
from ..skeleton import BODY17, Skeleton
from ..skeleton_fit import DEPTH_RATIO, MIN_CONFIDENCE, PELVIS_VARIANCE, SIGMA_ACROSS_M, SIGMA_GUESSED_M
from .geometry import project, ray_rotation, triangulate
from .layers import Block, ChebyshevConv, chebyshev_polynomials, sinusoidal
from .skeleton_layer import SkeletonLayer

# The published scaling of depth: z times baseline over this.
PUBLISHED_BASELINE_M = 0.4
# Unit of what the network predicts: corrections are centimetres, not metres.
CORRECTION_M = 0.05
SIGMA_M = 0.015
# Depth is corrected by more, as it errs by more, the smaller the angle between the rays.
DEPTH_GAIN = 0.15


@dataclass(frozen=True)
class DenoiserConfig:
    """What the network is made of and what it is told.

    scaling: "noise" expresses depth as what the baseline makes of it, in the frame of the line of sight, and predicts a
    correction; "published" multiplies z by baseline / 0.4 m and predicts the pose. fit_iterations: steps of the
    bone-length layer in front (0: none). The booleans say which conditions are given. correction_share: how much of the
    network's correction is applied on top of learnt bone lengths, sigma_scale: factor on the stated sigma; both 1 in
    training and set afterwards, as real detections are not quite the simulated ones.
    """

    width: int = 80
    layers: int = 4
    heads: int = 4
    hidden: int = 160
    chebyshev: bool = False
    scaling: Literal["noise", "published"] = "noise"
    fit_iterations: int = 8
    depth: bool = True
    baseline: bool = True
    lengths: bool = True
    confidence: bool = True
    epipolar: bool = True
    correction_share: float = 1.0
    sigma_scale: float = 1.0


PAPER = DenoiserConfig(
    width=96, layers=5, hidden=192, chebyshev=True, scaling="published", fit_iterations=0, baseline=False,
    lengths=False, confidence=False, epipolar=False,
)  # fmt: skip


class Observation(NamedTuple):
    """What is known of a batch of poses; everything but the joints in the images, which the diffusion changes.

    confidence: (B, J), 0 where not observed in both views; baseline_m: (B,); lengths_m: (B, G) by the groups of
    `segments_of`, 0 where unknown.
    """

    confidence: Tensor
    baseline_m: Tensor
    lengths_m: Tensor


class Estimate(NamedTuple):
    """points_m, sigma_m: (B, J, 3), rectified left frame."""

    points_m: Tensor
    sigma_m: Tensor


def _neighbour_weights(skeleton: Skeleton) -> np.ndarray:
    """(J, J): how much each joint says about the place of another that is missing, falling with their distance."""
    joints = len(skeleton)
    hops = np.full((joints, joints), np.inf)
    np.fill_diagonal(hops, 0)
    for child, parent in skeleton.bone_indices:
        hops[child, parent] = hops[parent, child] = 1
    for middle in range(joints):
        hops = np.minimum(hops, hops[:, middle, None] + hops[None, middle])
    weights = np.exp(-2.5 * hops)
    np.fill_diagonal(weights, 0)
    return weights


class Denoiser(nn.Module):
    """Predicts the clean pose from one state of the diffusion."""

    near: Tensor
    variance_factor: Tensor

    def __init__(self, config: DenoiserConfig, skeleton: Skeleton = BODY17) -> None:
        super().__init__()
        self.config, self.root = config, skeleton.index("Pelvis")
        self.reduced_precision = False
        joints, width = len(skeleton), config.width
        parents = np.arange(joints)
        parents[skeleton.bone_indices[:, 0]] = skeleton.bone_indices[:, 1]
        self.parents, self.mirror = parents.tolist(), skeleton.mirror.tolist()
        self.hips = [skeleton.index("RightHip"), skeleton.index("LeftHip")]
        factor = torch.ones(joints, 3)
        factor[:, 2] = DEPTH_RATIO**2
        factor[self.root] *= PELVIS_VARIANCE
        self.register_buffer("variance_factor", factor, persistent=False)
        near = torch.tensor(_neighbour_weights(skeleton), dtype=torch.float32)
        self.register_buffer("near", near, persistent=False)
        self.fit = SkeletonLayer(skeleton, config.fit_iterations) if config.fit_iterations else None
        polynomials = chebyshev_polynomials(skeleton, 2)
        groups = segments_of(skeleton).groups
        ours = config.scaling == "noise"
        features = 3 + 6 * ours + config.confidence * 2 + config.epipolar
        facts = width + (3 * config.depth) + config.baseline + (2 * groups) * config.lengths + ours
        self.condition = nn.Sequential(
            nn.Linear(facts, 2 * width), nn.SiLU(), nn.Linear(2 * width, 2 * width), nn.SiLU()
        )
        self.embed = ChebyshevConv(features, width, polynomials)
        self.joint = nn.Parameter(torch.randn(joints, width) * 0.02)
        adjacency = polynomials[0] - 0.5 * polynomials[1]
        self.blocks = nn.ModuleList(
            Block(width, config.heads, config.hidden, 2 * width, adjacency, polynomials if config.chebyshev else None)
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.points = nn.Linear(width, 3) if ours else ChebyshevConv(width, 3, polynomials)
        self.body = nn.Linear(width, 3) if ours else None
        self.sigma = nn.Linear(width, 3)
        for head in (self.points, self.body, self.sigma):
            if isinstance(head, nn.Linear):
                nn.init.zeros_(head.weight)
                nn.init.zeros_(head.bias)

    def forward(self, left: Tensor, right: Tensor, step: Tensor, seen: Observation) -> Estimate:
        """left, right: (B, J, 2) normalised image coordinates of the state; step: (B,) its noise, 1 the detector's."""
        if self.config.scaling == "published":
            return self._as_published(left, right, step, seen)
        measured_m, known = self._placed(left, right, seen)
        fitted_m = self._fitted(measured_m, known, seen)
        root_m = fitted_m[:, self.root]
        turn = ray_rotation(root_m)  # (B, 3, 3)
        distance_m = root_m.norm(dim=-1)
        parallax = seen.baseline_m / distance_m
        gain = self._depth_gain(parallax)
        relative_m = (fitted_m - root_m[:, None]) @ turn.transpose(1, 2)
        changed_m = (measured_m - fitted_m) @ turn.transpose(1, 2)
        row_m = (left[..., 1] - right[..., 1]) * distance_m[:, None] * known
        features = [
            2 * relative_m,
            (10 * changed_m).clamp(-5, 5),
            (10 * changed_m[..., 2:] / gain[..., None]).clamp(-5, 5),
            *self._bones(measured_m),
            *self._hints(known, row_m, seen),
        ]
        spread = (changed_m * changed_m).mean(dim=(1, 2)).clamp(min=1e-10).sqrt() * 20
        facts = self._facts(step, distance_m, root_m, parallax, seen, [spread])
        joint, body, sigma = self._trunk(torch.cat(features, dim=-1), facts)
        assert body is not None
        scale = torch.stack([torch.ones_like(gain), torch.ones_like(gain), gain], dim=-1)  # (B, 1, 3)
        told = (seen.lengths_m.amax(dim=1) > 0).to(left.dtype)
        share = 1 - (1 - self.config.correction_share) * told
        points_m = fitted_m + (CORRECTION_M * share[:, None, None] * scale * (joint + body)) @ turn
        sigma = SIGMA_M * scale * sigma
        return Estimate(points_m, ((sigma * sigma) @ (turn * turn)).sqrt())

    def _trunk(self, features: Tensor, facts: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """All layers: features (B, J, F), facts (B, C) -> joints (B, J, 3), body (B, 1, 3), relative sigma (B, J, 3).

        In training this part alone may run in reduced precision; the geometry around it never.
        """
        with torch.autocast(features.device.type, torch.bfloat16, enabled=self.reduced_precision):
            condition = self.condition(facts)
            tokens = self.embed(features) + self.joint
            for block in self.blocks:
                tokens = block(tokens, condition)
            tokens = self.norm(tokens)
            body = None if self.body is None else self.body(tokens.mean(dim=1, keepdim=True)).to(features.dtype)
            joint, log_sigma = self.points(tokens).to(features.dtype), self.sigma(tokens).to(features.dtype)
        return joint, body, torch.exp(log_sigma.clamp(-3, 4))

    def _depth_gain(self, parallax: Tensor) -> Tensor:
        """(B,) -> (B, 1); 1 where the network is not to know the baseline."""
        return (1 + DEPTH_GAIN * self.config.baseline / parallax)[:, None]

    def _placed(self, left: Tensor, right: Tensor, seen: Observation) -> tuple[Tensor, Tensor]:
        """Triangulated joints, missing ones where their neighbours are: (B, J, 3); and which are known, (B, J)."""
        known = (seen.confidence > 0).to(left.dtype)
        points_m = triangulate(left, right, seen.baseline_m)
        weights = self.near * known[:, None]
        guess_m = (weights @ points_m) / weights.sum(dim=-1, keepdim=True).clamp(min=1e-8)
        return torch.where(known[..., None] > 0, points_m, guess_m), known

    def _fitted(self, measured_m: Tensor, known: Tensor, seen: Observation) -> Tensor:
        """The pose after the bone-length fit, which starts with the pelvis between the hips, (B, J, 3)."""
        hips_known = (known[:, self.hips[0]] * known[:, self.hips[1]])[:, None]
        hips_m = measured_m[:, self.hips].mean(dim=1)
        pelvis_m = hips_known * hips_m + (1 - hips_known) * measured_m[:, self.root]
        start_m = torch.cat([measured_m[:, : self.root], pelvis_m[:, None], measured_m[:, self.root + 1 :]], dim=1)
        if self.fit is None:
            return start_m
        trusted = seen.confidence if self.config.confidence else known
        across_m = SIGMA_ACROSS_M / trusted.clamp(MIN_CONFIDENCE, 1)
        across_m = torch.where(known > 0, across_m, SIGMA_GUESSED_M)
        lengths_m = seen.lengths_m if self.config.lengths else torch.zeros_like(seen.lengths_m)
        return self.fit(start_m, (across_m * across_m)[..., None] * self.variance_factor, known, lengths_m)

    def _bones(self, measured_m: Tensor) -> list[Tensor]:
        """Length of the measured bone that ends at each joint, and how much longer it is than its mirror image.

        (B, J, 1) each. What is wrong with a single pose shows here first.
        """
        length_m = (measured_m - measured_m[:, self.parents]).norm(dim=-1, keepdim=True)
        return [(4 * length_m).clamp(max=4), (10 * (length_m - length_m[:, self.mirror])).clamp(-5, 5)]

    def _hints(self, known: Tensor, row_m: Tensor, seen: Observation) -> list[Tensor]:
        """What the detector and the two rows say about each joint, (B, J, 1) each."""
        hints = []
        if self.config.confidence:
            hints += [seen.confidence[..., None], known[..., None]]
        if self.config.epipolar:
            hints.append((20 * row_m).clamp(-3, 3)[..., None])
        return hints

    def _facts(
        self, step: Tensor, distance_m: Tensor, root_m: Tensor, parallax: Tensor, seen: Observation, more: list[Tensor]
    ) -> Tensor:
        """What the whole pose is conditioned on, (B, C)."""
        facts = [sinusoidal(100 * step, self.config.width), *(fact[:, None] for fact in more)]
        if self.config.depth:
            slope = root_m[:, :2] / root_m[:, 2:].clamp(min=0.1)
            facts += [distance_m.clamp(0.3, 20).log()[:, None], slope.clamp(-3, 3)]
        if self.config.baseline:
            facts.append(parallax.clamp(0.003, 5).log()[:, None])
        if self.config.lengths:
            known = (seen.lengths_m > 0).to(seen.lengths_m.dtype)
            facts += [4 * seen.lengths_m - known, known]
        return torch.cat(facts, dim=-1)

    def _as_published(self, left: Tensor, right: Tensor, step: Tensor, seen: Observation) -> Estimate:
        measured_m, known = self._placed(left, right, seen)
        root_m = measured_m[:, self.root]
        stretch = (seen.baseline_m / PUBLISHED_BASELINE_M)[:, None, None]
        scale = torch.cat([torch.ones_like(stretch), torch.ones_like(stretch), stretch], dim=-1)
        row_m = (left[..., 1] - right[..., 1]) * root_m[:, None, 2] * known
        features = [(measured_m - root_m[:, None]) * scale, *self._hints(known, row_m, seen)]
        parallax = seen.baseline_m / root_m[:, 2].clamp(min=0.1)
        facts = self._facts(step, root_m[:, 2], root_m, parallax, seen, [])
        joint, _, sigma = self._trunk(torch.cat(features, dim=-1), facts)
        return Estimate(root_m[:, None] + joint / scale, SIGMA_M * sigma / scale.clamp(0.02, 1))

    def denoise(self, left: Tensor, right: Tensor, seen: Observation, schedule: Schedule | None = None) -> Estimate:
        """All DDIM steps. left, right: (B, J, 2) normalised detections; schedule: one step of ours by default.

        sigma_m is that of the first step: the later states are the network's own, it takes them for better than they
        are.
        """
        schedule = detector_schedule(1) if schedule is None else schedule
        estimates: list[Estimate] = []

        def predict(state: Tensor, k: int) -> Tensor:
            step = torch.full_like(seen.baseline_m, float(schedule.noise[k]))
            estimates.append(self(state[..., :2], state[..., 2:], step, seen))
            return torch.cat(project(estimates[-1].points_m, seen.baseline_m), dim=-1)

        ddim(torch.cat([left, right], dim=-1), schedule, predict)
        return Estimate(estimates[-1].points_m, self.config.sigma_scale * estimates[0].sigma_m)
