"""Export a trained denoiser: one ONNX graph per number of steps.

python -m binopose.export.onnx WEIGHTS.npz -o FOLDER [--steps 1 2 5]
"""

from __future__ import annotations

import argparse
import importlib
import io
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..calibration.errors import UserError
from ..engines.model_file import ModelCard, Reference
from ..models.denoiser_ports import DENOISER_INPUTS, DENOISER_OUTPUTS
from ..models.nets.denoiser import Denoiser
from ..models.nets.fused import FusedDenoiser, double_answers, random_inputs
from ..models.nets.weights_file import load_weights
from ..models.skeleton import BODY17
from ..models.weights import sha256_of

OPSET = 17
REFERENCE_SAMPLES = 4
SHIPPED_STEPS = (1, 2, 5)


def file_name(steps: int, batch: int | None) -> str:
    """Name of an export. batch: None for any number at once."""
    return f"denoiser-k{steps}{'' if batch is None else f'-b{batch}'}.onnx"


def export_denoiser(
    network: Denoiser, steps: int, path: Path, weights: Path, run: str, batch: int | None = None
) -> None:
    """Write the graph of a network, with its card and reference answers inside.

    steps: K; batch: fixed number of poses at once, None for any; run: which training the weights are from. What is
    constant for given steps (schedule, embeddings, adjacency) is folded; the reference answers are float64's.
    Raises UserError when the package onnx or onnxruntime is missing.
    """
    onnx, runtime = _load("onnx", "train"), _load("onnxruntime", "cpu")
    example = tuple(torch.tensor(value) for value in random_inputs(batch or 2, seed=1).values())
    axes = {} if batch else {name: {0: "batch"} for name in (*DENOISER_INPUTS, *DENOISER_OUTPUTS)}
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter that traces is marked as old; it gives the same graph in a tenth of the time.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        # It warns that numbers of joints and heads become constants, which they are.
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # pyright: ignore[reportPrivateImportUsage]
        torch.onnx.export(
            FusedDenoiser(network, steps).float(), example, buffer,  # pyright: ignore[reportArgumentType]
            input_names=list(DENOISER_INPUTS),
            output_names=list(DENOISER_OUTPUTS), dynamic_axes=axes, opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    card = ModelCard(
        "denoiser", BODY17.joints, steps, run, sha256_of(weights), reference_answers(network, steps, batch)
    )
    model = onnx.load_from_string(_simplified(runtime, buffer.getvalue()))
    for key, value in card.to_metadata().items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())


def reference_answers(network: Denoiser, steps: int, batch: int | None = None) -> Reference:
    """A few inputs and what the network says to them in float64."""
    inputs = random_inputs(REFERENCE_SAMPLES if batch is None else max(batch, REFERENCE_SAMPLES), seed=0)
    outputs = double_answers(network, steps, inputs)
    return Reference(inputs, {name: value.astype(np.float32) for name, value in outputs.items()})


def _simplified(runtime: Any, graph: bytes) -> bytes:
    """The graph after ONNX Runtime's basic passes: constants folded, nodes merged, standard operators alone.

    They would else run at every opening, where they take longer than everything else.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "simplified.onnx"
        options = runtime.SessionOptions()
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(target)
        options.intra_op_num_threads = 1
        runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return target.read_bytes()


def _load(package: str, extra: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError:
        raise UserError(f'{package}: not installed; pip install "binopose[{extra}]"') from None


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m binopose.export.onnx",
        description="Export denoiser weights to one ONNX graph per number of steps, for any batch and for one pose at "
        "a time; check them with python -m binopose.export.check.",
    )
    parser.add_argument("weights", type=Path, metavar="WEIGHTS.npz", help="what the training wrote")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="where the graphs go")
    parser.add_argument("--steps", type=int, nargs="+", default=list(SHIPPED_STEPS), metavar="K", help="(1 2 5)")
    parser.add_argument("--batch", type=int, metavar="N", help="fix the batch (default: any)")
    options = parser.parse_args(arguments)
    try:
        if any(not 1 <= steps <= 5 for steps in options.steps):
            raise UserError(f"--steps: expected 1 to 5, found {options.steps}")
        network, facts = load_weights(options.weights)
        for steps in options.steps:
            path = options.output / file_name(steps, options.batch)
            export_denoiser(network, steps, path, options.weights, facts.get("code", "unknown"), options.batch)
            sys.stdout.write(f"{path}: {path.stat().st_size / 1e6:.2f} MB\n")
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
