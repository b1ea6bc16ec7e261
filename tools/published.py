"""The published algorithm written down straightforwardly, in torch: what the engines' speed is compared with.

"Dual-Diffusion for Binocular 3D Human Pose Estimation" (NeurIPS 2024), layer by layer as the paper and its released
configuration describe it, without any of the reshaping that makes ours quick: graph Laplacians and their polynomials
are formed where they are used, embeddings where they are added, and every joint is triangulated by a singular value
decomposition of its own. The weights are random, which speed does not depend on; for accuracy there are the published
results themselves (`evaluate`).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from ..models.diffusion import linear_beta_noise
from ..models.skeleton import BODY17, Skeleton

WIDTH, HEADS, LAYERS, HIDDEN, EMBEDDED = 96, 4, 5, 192, 384
ORDER = 2
ACTIONS = 11
STEPS = 26
PUBLISHED_BASELINE_M = 0.4


def skeleton_adjacency(skeleton: Skeleton) -> Tensor:
    """(J, J), ones for bones and the joints themselves, rows summing to one."""
    joints = len(skeleton)
    adjacency = np.eye(joints)
    for child, parent in skeleton.bone_indices:
        adjacency[child, parent] = adjacency[parent, child] = 1
    return torch.tensor(adjacency / adjacency.sum(axis=1, keepdims=True), dtype=torch.float32)


class GraphConv(nn.Module):
    """Chebyshev graph convolution of order 2 (Defferrard et al. 2016, eq. 4)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(ORDER + 1, inputs, outputs) / math.sqrt(inputs * (ORDER + 1)))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """sum_k T_k(L) x W_k + b. x: (B, J, C); adjacency: (J, J)."""
        degree = adjacency.sum(dim=-1).rsqrt()
        identity = torch.eye(len(adjacency))
        laplacian = identity - degree[:, None] * adjacency * degree[None]
        terms = [identity, laplacian]
        for _ in range(ORDER - 1):
            terms.append(2 * laplacian @ terms[-1] - terms[-2])
        mixed = torch.stack(terms)[:, None] @ x[None]  # (order + 1, B, J, C)
        return (mixed @ self.weights[:, None]).sum(dim=0) + self.bias


class LearnedGraphConv(nn.Module):
    """Graph convolution over an adjacency that is learnt, normalised on both sides."""

    def __init__(self, inputs: int, outputs: int, adjacency: Tensor) -> None:
        super().__init__()
        self.adjacency = nn.Parameter(adjacency.clone())
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """D^-1/2 A D^-1/2 x W + b."""
        degree = (self.adjacency.sum(dim=-1) + 1e-5).rsqrt()
        return self.linear((degree[:, None] * self.adjacency * degree[None]) @ x)


class Attention(nn.Module):
    """Multi-head attention between joints (Vaswani et al. 2017, section 3.2)."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """(B, J, C) -> the same."""
        batch, joints, _ = x.shape
        query, key, value = (
            layer(x).view(batch, joints, HEADS, -1).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        weights = (query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])).softmax(dim=-1)
        return self.out((weights @ value).transpose(1, 2).reshape(batch, joints, WIDTH))


class Embedding(nn.Module):
    """A number as sines and cosines, then two layers (Ho et al. 2020, appendix B)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(WIDTH, EMBEDDED), nn.SiLU(), nn.Linear(EMBEDDED, EMBEDDED))

    def forward(self, value: Tensor) -> Tensor:
        """(B,) -> (B, 384)."""
        half = WIDTH // 2
        rates = torch.exp(torch.arange(half) * (-math.log(10_000) / (half - 1)))
        angles = value[:, None] * rates
        return self.layers(torch.cat([angles.sin(), angles.cos()], dim=-1))


class Layer(nn.Module):
    """Attention; two learned graph convolutions; two Chebyshev ones with the embeddings between. Residual each."""

    def __init__(self, adjacency: Tensor) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(WIDTH), Attention()
        self.graph_norm = nn.LayerNorm(WIDTH)
        self.widen = LearnedGraphConv(WIDTH, HIDDEN, adjacency)
        self.narrow = LearnedGraphConv(HIDDEN, WIDTH, adjacency)
        self.first, self.second = GraphConv(WIDTH, WIDTH), GraphConv(WIDTH, WIDTH)
        self.of_step, self.of_depth = nn.Linear(EMBEDDED, WIDTH), nn.Linear(EMBEDDED, WIDTH)

    def forward(self, x: Tensor, adjacency: Tensor, step: Tensor, depth: Tensor) -> Tensor:
        """x: (B, J, C); step, depth: (B, 384)."""
        x = x + self.attention(self.attention_norm(x))
        x = x + self.narrow(torch.relu(self.widen(self.graph_norm(x))))
        inner = torch.relu(self.first(x, adjacency))
        inner = inner + self.of_step(nn.functional.silu(step))[:, None]
        inner = inner + self.of_depth(nn.functional.silu(depth))[:, None]
        return x + torch.relu(self.second(inner, adjacency))


class PublishedNetwork(nn.Module):
    """The pose network: noisy root-relative pose in, clean one out, told the step, the depth and the action."""

    adjacency: Tensor

    def __init__(self, skeleton: Skeleton = BODY17) -> None:
        super().__init__()
        self.register_buffer("adjacency", skeleton_adjacency(skeleton))
        self.step, self.depth, self.action = Embedding(), Embedding(), Embedding()
        self.first, self.last = GraphConv(3, WIDTH), GraphConv(WIDTH, 3)
        self.layers = nn.ModuleList(Layer(self.adjacency) for _ in range(LAYERS))

    def forward(self, points: Tensor, step: Tensor, depth_m: Tensor, action: Tensor) -> Tensor:
        """points: (B, J, 3); step, depth_m, action: (B,) -> (B, J, 3)."""
        told = self.step(step) + self.action(action / ACTIONS)
        depth = self.depth(depth_m)
        x = self.first(points, self.adjacency)
        for layer in self.layers:
            x = layer(x, self.adjacency, told, depth)
        return self.last(x, self.adjacency)


def triangulate_each(left: Tensor, right: Tensor, baseline_m: Tensor) -> Tensor:
    """Joint by joint the homogeneous DLT by SVD (Hartley, Zisserman, section 12.2).

    left, right: (B, J, 2) normalised rectified coordinates; baseline_m: (B,) -> (B, J, 3) metres.
    """
    batch = len(left)
    cameras = torch.zeros(batch, 2, 3, 4)
    cameras[:, :, :, :3] = torch.eye(3)
    cameras[:, 1, 0, 3] = -baseline_m
    points = []
    for joint in range(left.shape[1]):
        rows = []
        for view, image in enumerate((left, right)):
            camera = cameras[:, view]
            for axis in (0, 1):
                rows.append(image[:, joint, axis, None] * camera[:, 2] - camera[:, axis])
        homogeneous = torch.linalg.svd(torch.stack(rows, dim=1)).Vh[:, -1]
        points.append(homogeneous[:, :3] / homogeneous[:, 3:])
    return torch.stack(points, dim=1)


def project_both(points_m: Tensor, baseline_m: Tensor) -> tuple[Tensor, Tensor]:
    """Normalised coordinates in both views, (B, J, 2) each."""
    shift = torch.zeros_like(points_m)
    shift[..., 0] = baseline_m[:, None]
    left, right = points_m, points_m - shift
    return left[..., :2] / left[..., 2:], right[..., :2] / right[..., 2:]


class PublishedMethod:
    """Both views' joints in, the pose out, in `calls` evenly spaced steps of the diffusion, eta = 0."""

    def __init__(self, calls: int, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.network = PublishedNetwork().eval()
        self.root = BODY17.index("Pelvis")
        self.steps = np.linspace(0, STEPS - 1, calls, endpoint=False).round().astype(int)[::-1].tolist()
        self.signal, self.noise = (factors.tolist() for factors in linear_beta_noise(1e-4, 1e-3, STEPS))

    def run(self, left: Tensor, right: Tensor, baseline_m: Tensor) -> Tensor:
        """left, right: (B, J, 2) normalised rectified coordinates; baseline_m: (B,) -> (B, J, 3) metres."""
        with torch.no_grad():
            return self._denoise(torch.cat([left, right], dim=-1), baseline_m)

    def _denoise(self, state: Tensor, baseline_m: Tensor) -> Tensor:
        for index, step in enumerate(self.steps):
            clean = torch.cat(project_both(self._predict(state, step, baseline_m), baseline_m), dim=-1)
            if index + 1 == len(self.steps):
                state = clean
                continue
            following = self.steps[index + 1]
            error = (state - self.signal[step] * clean) / self.noise[step]
            state = self.signal[following] * clean + self.noise[following] * error
        return triangulate_each(state[..., :2], state[..., 2:], baseline_m)

    def _predict(self, state: Tensor, step: int, baseline_m: Tensor) -> Tensor:
        points_m = triangulate_each(state[..., :2], state[..., 2:], baseline_m)
        root_m = points_m[:, self.root : self.root + 1]
        scale = torch.ones(len(state), 1, 3)
        scale[:, 0, 2] = baseline_m / PUBLISHED_BASELINE_M
        batch = len(state)
        relative = self.network(
            (points_m - root_m) * scale, torch.full((batch,), float(step)), root_m[:, 0, 2], torch.zeros(batch)
        )
        return relative / scale + root_m
