"""Layers against explicit sums and torch's own."""

# ruff: noqa: E402  what is imported below needs torch
from __future__ import annotations

import numpy as np
import pytest
from binopose.models.skeleton import BODY17
from numpy.polynomial import chebyshev

from ...conftest import need_torch

need_torch()

import torch
from binopose.models.nets.layers import (
    Block,
    ChebyshevConv,
    JointAttention,
    LearnedGraphConv,
    chebyshev_polynomials,
    sinusoidal,
)
from torch.nn import functional

JOINTS = len(BODY17)


def laplacian() -> np.ndarray:
    """I - D^-1 A with self-loops, joint by joint."""
    neighbours = [{joint} for joint in range(JOINTS)]
    for child, parent in BODY17.bone_indices.tolist():
        neighbours[child].add(parent)
        neighbours[parent].add(child)
    return np.array(
        [[float(a == b) - (b in neighbours[a]) / len(neighbours[a]) for b in range(JOINTS)] for a in range(JOINTS)]
    )


def test_polynomials_are_chebyshevs_of_the_laplacian() -> None:
    """A polynomial of a matrix is that of its eigenvalues; numpy evaluates Chebyshev's."""
    values, vectors = np.linalg.eig(laplacian())
    found = chebyshev_polynomials(BODY17, 4).numpy()
    assert found.shape == (5, JOINTS, JOINTS)
    for order, matrix in enumerate(found):
        expected = vectors @ np.diag(chebyshev.chebval(values, [0] * order + [1])) @ np.linalg.inv(vectors)
        np.testing.assert_allclose(matrix, expected.real, atol=1e-5)


def test_constant_signals_have_no_laplacian() -> None:
    np.testing.assert_allclose(chebyshev_polynomials(BODY17, 1)[1] @ torch.ones(JOINTS), 0, atol=1e-6)


def test_chebyshev_convolution_is_the_explicit_sum() -> None:
    torch.manual_seed(0)
    polynomials = chebyshev_polynomials(BODY17, 2)
    layer = ChebyshevConv(3, 5, polynomials)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(4, JOINTS, 3)
    expected = layer.bias.expand(4, JOINTS, 5).clone()
    for order in range(3):
        weights = layer.linear.weight[5 * order : 5 * order + 5]
        expected = expected + torch.einsum("ij,bjf,of->bio", polynomials[order], x, weights)
    torch.testing.assert_close(layer(x), expected)


def test_learned_graph_starts_as_the_skeletons() -> None:
    torch.manual_seed(1)
    adjacency = torch.randn(JOINTS, JOINTS)
    layer = LearnedGraphConv(6, 4, adjacency)
    x = torch.randn(2, JOINTS, 6)
    linear = x @ layer.linear.weight.T + layer.linear.bias
    torch.testing.assert_close(layer(x), torch.einsum("ij,bjf->bif", adjacency, linear))
    assert layer.mixing.requires_grad
    assert layer.mixing.data_ptr() != adjacency.data_ptr()


def test_attention_is_torchs_own() -> None:
    torch.manual_seed(2)
    width, heads = 24, 4
    layer = JointAttention(width, heads)
    x = torch.randn(3, JOINTS, width)
    query, key, value = (
        functional.linear(x, weight, bias).unflatten(-1, (heads, width // heads)).transpose(1, 2)
        for weight, bias in zip(layer.project_in.weight.chunk(3), layer.project_in.bias.chunk(3), strict=True)
    )
    mixed = functional.scaled_dot_product_attention(query, key, value)
    expected = functional.linear(mixed.transpose(1, 2).flatten(-2), layer.project_out.weight, layer.project_out.bias)
    torch.testing.assert_close(layer(x), expected)


def test_attention_knows_no_order_of_joints() -> None:
    torch.manual_seed(3)
    layer, x, order = JointAttention(16, 2), torch.randn(2, JOINTS, 16), torch.randperm(JOINTS)
    torch.testing.assert_close(layer(x)[:, order], layer(x[:, order]))


def test_heads_have_to_share_the_width() -> None:
    with pytest.raises(ValueError, match="width: expected a multiple of 3 heads, got 16"):
        JointAttention(16, 3)


@pytest.mark.parametrize("published", [False, True])
def test_blocks_add_to_what_comes_in_and_are_told_the_condition(published: bool) -> None:
    torch.manual_seed(4)
    polynomials = chebyshev_polynomials(BODY17, 2)
    block = Block(16, 2, 24, 8, torch.eye(JOINTS), polynomials if published else None)
    x, condition = torch.randn(3, JOINTS, 16), torch.randn(3, 8)
    whole = block(x, condition)
    assert whole.shape == x.shape
    told = block(x, condition + torch.eye(3, 8))
    assert (told - whole).abs().amax(dim=(1, 2)).min() > 1e-4
    # Without the layers that end each branch nothing but the input is left.
    for name, parameter in block.named_parameters():
        if name.startswith(("attention.project_out.", "narrow.linear.", "chebyshev.1.")):
            torch.nn.init.zeros_(parameter)
    torch.testing.assert_close(block(x, condition), x)


def test_sinusoids_have_wavelengths_from_2_pi_to_20000_pi() -> None:
    value = torch.tensor([0.0, 0.7, 100.0], dtype=torch.float64)
    found = sinusoidal(value, 8).numpy()
    rates = 10_000.0 ** -(np.arange(4) / 3)
    angles = value.numpy()[:, None] * rates
    np.testing.assert_allclose(found, np.concatenate([np.sin(angles), np.cos(angles)], axis=1), atol=1e-12)
