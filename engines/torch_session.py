"""Trained denoiser weights as they are, on torch: to try a training run before it is exported. Needs `train`."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..models.denoiser_ports import DENOISER_INPUTS
from ..models.skeleton import BODY17
from .cuda_driver import OUT_OF_MEMORY_ADVICE
from .engine import Device, EngineFailed, EngineUnavailable, OpenRequest, Port, fitting_arrays
from .model_file import ModelCard, Reference

REFERENCE_SAMPLES = 4


class TorchSession:
    """A `Session` over a network in torch, one denoising step, any batch."""

    def __init__(self, torch: Any, network: Any, device: Device, card: ModelCard) -> None:
        self.engine = f"torch {torch.__version__}"
        self.device: Device = device
        self.hardware = torch.cuda.get_device_name() if device == "cuda" else "this processor"
        self.card: ModelCard | None = card
        self.inputs, self.outputs = (
            tuple(Port(name, (None, *array.shape[1:]), np.dtype(np.float32)) for name, array in arrays.items())
            for arrays in (card.reference.inputs, card.reference.outputs)
        )
        self._torch = torch
        self._network: Any = network.float().to(device)

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One inference; see `Session`."""
        torch = self._torch
        fitting = fitting_arrays(self.inputs, arrays)
        try:
            with torch.no_grad():
                answers = self._network(*(torch.from_numpy(fitting[n]).to(self.device) for n in DENOISER_INPUTS))
        except torch.cuda.OutOfMemoryError as error:
            raise EngineFailed(f"torch ran out of memory on {self.hardware}; {OUT_OF_MEMORY_ADVICE}") from error
        return {port.name: answer.cpu().numpy() for port, answer in zip(self.outputs, answers, strict=True)}

    def close(self) -> None:
        """Let go of the network."""
        self._network = None


def open_weights(request: OpenRequest) -> TorchSession:
    """Open a weights file of the training on the CPU or a CUDA device.

    Its reference answers are the same weights' in float64. Raises EngineUnavailable without torch or the device,
    UserError when the file holds no denoiser weights.
    """
    if request.device == "tensorrt":
        raise EngineUnavailable(
            f"{request.path}: weights run on torch alone; export them for TensorRT: python -m binopose.export.onnx"
        )
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise EngineUnavailable(
            f"{request.path}: weights need torch, which is not installed ({error}): pip install 'binopose[train]', or "
            "export them where it is: python -m binopose.export.onnx"
        ) from error
    if request.device == "cuda" and not torch.cuda.is_available():
        raise EngineUnavailable(f"torch {torch.__version__} finds no CUDA device")
    # More threads than one only wait for each other at one pose a time; torch knows no other place to say so.
    torch.set_num_threads(request.threads)
    # Only now: both import torch.
    from ..models.nets.fused import FusedDenoiser, double_answers, random_inputs
    from ..models.nets.weights_file import load_weights

    network, facts = load_weights(request.path)
    inputs = random_inputs(REFERENCE_SAMPLES, seed=0)
    reference = Reference(inputs, double_answers(network, 1, inputs))
    card = ModelCard(
        kind="denoiser",
        skeleton=BODY17.joints,
        steps=1,
        training_run=str(facts.get("code", "unknown")),
        weights_sha256=hashlib.sha256(request.content).hexdigest(),
        reference=reference,
    )
    return TorchSession(torch, FusedDenoiser(network, 1), request.device, card)
