"""Building blocks of the denoiser: graph convolutions, attention between joints, embeddings."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from ..skeleton import Skeleton


def chebyshev_polynomials(skeleton: Skeleton, order: int) -> Tensor:
    """T_0 .. T_order of the skeleton's Laplacian, (order + 1, J, J).

    Defferrard et al. 2016, eq. 4, on L = I - D^-1 A with self-loops in A, as Dual-Diffusion has it.
    """
    joints = len(skeleton)
    adjacency = np.eye(joints)
    for child, parent in skeleton.bone_indices:
        adjacency[child, parent] = adjacency[parent, child] = 1
    laplacian = np.eye(joints) - adjacency / adjacency.sum(axis=1, keepdims=True)
    terms = [np.eye(joints), laplacian]
    while len(terms) <= order:
        terms.append(2 * laplacian @ terms[-1] - terms[-2])
    return torch.tensor(np.stack(terms[: order + 1]), dtype=torch.float32)


class ChebyshevConv(nn.Module):
    """Graph convolution with a filter that reaches as far as the order, (B, J, inputs) -> (B, J, outputs)."""

    polynomials: Tensor

    def __init__(self, inputs: int, outputs: int, polynomials: Tensor) -> None:
        super().__init__()
        self.register_buffer("polynomials", polynomials, persistent=False)
        self.linear = nn.Linear(inputs, outputs * len(polynomials), bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """sum_k T_k x W_k + b."""
        parts = self.linear(x).chunk(len(self.polynomials), dim=-1)  # (B, J, outputs) each
        return sum((self.polynomials[k] @ part for k, part in enumerate(parts)), self.bias)


class LearnedGraphConv(nn.Module):
    """Linear layer whose result is mixed between joints by a learnt matrix, at first the skeleton's own graph."""

    def __init__(self, inputs: int, outputs: int, adjacency: Tensor) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.mixing = nn.Parameter(adjacency.clone())

    def forward(self, x: Tensor) -> Tensor:
        """(B, J, inputs) -> (B, J, outputs)."""
        return self.mixing @ self.linear(x)


class JointAttention(nn.Module):
    """Multi-head self-attention between joints (Vaswani et al. 2017, eq. 1), (B, J, width) -> the same."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width: expected a multiple of {heads} heads, got {width}")
        self.heads = heads
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Every joint looks at every other."""
        batch, joints, width = x.shape
        split = self.project_in(x).reshape(batch, joints, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)  # (B, heads, J, width / heads)
        scores = (query @ key.transpose(-1, -2)) / math.sqrt(width // self.heads)
        mixed = scores.softmax(dim=-1) @ value
        return self.project_out(mixed.transpose(1, 2).reshape(batch, joints, width))


class Block(nn.Module):
    """Attention, then learned graph convolutions, then (as published) a pair of Chebyshev ones; residual each.

    The condition is added where the published network adds its time and depth embeddings: after the first layer of the
    last part.
    """

    def __init__(
        self, width: int, heads: int, hidden: int, condition: int, adjacency: Tensor, polynomials: Tensor | None
    ) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(width), JointAttention(width, heads)
        self.graph_norm = nn.LayerNorm(width)
        self.widen = LearnedGraphConv(width, hidden, adjacency)
        self.narrow = LearnedGraphConv(hidden, width, adjacency)
        conditioned = hidden if polynomials is None else width
        self.condition = nn.Linear(condition, conditioned)
        self.chebyshev = (
            None if polynomials is None else nn.ModuleList([ChebyshevConv(width, width, polynomials) for _ in range(2)])
        )

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x: (B, J, width); condition: (B, condition)."""
        told = self.condition(condition)[:, None]
        x = x + self.attention(self.attention_norm(x))
        inner = self.widen(self.graph_norm(x))
        if self.chebyshev is None:
            return x + self.narrow(torch.relu(inner + told))
        x = x + self.narrow(torch.relu(inner))
        return x + torch.relu(self.chebyshev[1](torch.relu(self.chebyshev[0](x) + told)))


def sinusoidal(value: Tensor, width: int) -> Tensor:
    """Sines and cosines of a number at many wavelengths (Vaswani et al. 2017, section 3.5). (B,) -> (B, width)."""
    rates = torch.exp(torch.arange(width // 2, dtype=value.dtype) * (-math.log(10_000) / (width // 2 - 1)))
    angles = value[:, None] * rates.to(value.device)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
