"""A denoiser small enough to export in a moment, with random weights in all its parts."""

from __future__ import annotations

from pathlib import Path

import torch
from binopose.models.nets.denoiser import Denoiser, DenoiserConfig
from binopose.models.nets.weights_file import save_weights


def random_denoiser(seed: int = 0) -> Denoiser:
    """Corrections of some 2 cm and sigmas that differ; the heads of a new network say nothing at all."""
    torch.manual_seed(seed)
    network = Denoiser(DenoiserConfig(width=16, layers=1, hidden=32, fit_iterations=3))
    for head in (network.points, network.body, network.sigma):
        assert isinstance(head, torch.nn.Linear)
        torch.nn.init.normal_(head.weight, std=0.08)
        torch.nn.init.normal_(head.bias, std=0.1)
    return network.eval()


def write_weights(path: Path, network: Denoiser) -> Path:
    """The weights of a network as training leaves them."""
    save_weights(path, network, {"code": "made for a test"})
    return path
