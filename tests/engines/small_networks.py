"""Networks of a few nodes with the ports of ours, whose answers numpy knows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from binopose.engines.model_file import ModelCard, Reference
from binopose.models.skeleton import BODY17

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

JOINTS, LENGTHS = 17, 10
SCALE = 0.01


def samples(count: int = 3, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs of a denoiser, float32."""
    random = np.random.default_rng(seed)
    return {
        "left_px": random.uniform(0, 300, (count, JOINTS, 2)).astype(np.float32),
        "right_px": random.uniform(0, 300, (count, JOINTS, 2)).astype(np.float32),
        "confidence": random.uniform(0, 1, (count, JOINTS)).astype(np.float32),
        "rig": random.uniform(0.1, 900, (count, 5)).astype(np.float32),
        "lengths_m": random.uniform(0, 0.5, (count, LENGTHS)).astype(np.float32),
    }


def answers(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What `denoiser_network` computes, in float64."""
    inputs = {name: array.astype(np.float64) for name, array in inputs.items()}
    points_m = np.concatenate([inputs["left_px"], inputs["right_px"][..., :1]], axis=-1) * SCALE
    more = inputs["rig"].sum(axis=1) + inputs["lengths_m"].sum(axis=1)
    return {
        "points_m": points_m,
        "sigma_m": np.repeat(inputs["confidence"][..., None] * 0.1, 3, axis=-1) + 1e-6 * more[:, None, None],
        "epipolar_px": inputs["left_px"][..., 1] - inputs["right_px"][..., 1],
    }


def make_card(**changes: Any) -> ModelCard:
    """The card of `denoiser_network` with true reference answers."""
    inputs = samples()
    facts: dict[str, Any] = {
        "kind": "denoiser",
        "skeleton": BODY17.joints,
        "steps": 1,
        "training_run": "none: made for a test",
        "weights_sha256": "0" * 64,
        "reference": Reference(inputs, answers(inputs)),
    }
    return ModelCard(**facts | changes)


def denoiser_network(
    batch: int | str = "batch", metadata: Mapping[str, str] | None = None, offset_m: float = 0.0, scale: float = SCALE
) -> bytes:
    """ONNX with the ports of a denoiser. offset_m: what it errs by, along z; metadata: default that of `make_card`."""
    helper, tensor = onnx.helper, onnx.TensorProto
    shapes = {
        "left_px": [JOINTS, 2],
        "right_px": [JOINTS, 2],
        "confidence": [JOINTS],
        "rig": [5],
        "lengths_m": [LENGTHS],
    }
    outputs = {"points_m": [JOINTS, 3], "sigma_m": [JOINTS, 3], "epipolar_px": [JOINTS]}
    constants = {
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "two": np.array([2], np.int64),
        "last": np.array([-1], np.int64),
        "scale": np.array(scale, np.float32),
        "offset": np.array([0, 0, offset_m], np.float32),
        "tenth": np.full(3, 0.1, np.float32),
        "tiny": np.array(1e-6, np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Slice", ["right_px", "zero", "one", "last"], ["right_x"]),
        node("Concat", ["left_px", "right_x"], ["joined"], axis=-1),
        node("Mul", ["joined", "scale"], ["scaled"]),
        node("Add", ["scaled", "offset"], ["points_m"]),
        node("ReduceSum", ["rig", "one"], ["rig_sum"], keepdims=1),
        node("ReduceSum", ["lengths_m", "one"], ["lengths_sum"], keepdims=1),
        node("Add", ["rig_sum", "lengths_sum"], ["more"]),
        node("Mul", ["more", "tiny"], ["more_tiny"]),
        node("Unsqueeze", ["more_tiny", "last"], ["more_wide"]),
        node("Unsqueeze", ["confidence", "last"], ["confidence_wide"]),
        node("Mul", ["confidence_wide", "tenth"], ["sure"]),
        node("Add", ["sure", "more_wide"], ["sigma_m"]),
        node("Sub", ["left_px", "right_px"], ["apart"]),
        node("Slice", ["apart", "one", "two", "last"], ["rows"]),
        node("Squeeze", ["rows", "last"], ["epipolar_px"]),
    ]
    graph = helper.make_graph(
        nodes,
        "denoiser",
        [helper.make_tensor_value_info(name, tensor.FLOAT, [batch, *shape]) for name, shape in shapes.items()],
        [helper.make_tensor_value_info(name, tensor.FLOAT, [batch, *shape]) for name, shape in outputs.items()],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, dict(make_card().to_metadata() if metadata is None else metadata))
    return model.SerializeToString()


def write_network(path: Path, **options: Any) -> Path:
    """`denoiser_network` as a file."""
    path.write_bytes(denoiser_network(**options))
    return path
