"""How much a network has to multiply, and how fast this processor multiplies: the least time an engine can take."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

# Of square matrices; large enough for the peak, small enough for the cache.
MATRIX = 1024
PEAK_RUNS = 20


def multiply_adds(content: bytes, batch: int) -> int | None:
    """Multiplications of the matrix products and convolutions in an ONNX network, for `batch` samples in all.

    None when the packages onnx or onnxruntime are missing; what is no product (sums, activations, normalisation) is not
    counted. The network is run once, so that also sizes which depend on its inputs are the true ones.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError:
        return None
    model = onnx.load_model_from_string(content)
    products = [node for node in model.graph.node if node.op_type in ("Gemm", "MatMul", "Conv")]
    constants = {constant.name: tuple(constant.dims) for constant in model.graph.initializer}
    wanted = {name for node in products for name in (*node.input[:2], node.output[0])} - constants.keys()
    given = {value.name for value in model.graph.input}
    outputs = [onnx.ValueInfoProto(name=name) for name in sorted(wanted - given)]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    if not outputs:
        return 0
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    zeros = {
        port.name: np.zeros([size if isinstance(size, int) else batch for size in port.shape], np.float32)
        for port in session.get_inputs()
    }
    found = session.run([output.name for output in outputs], zeros)
    shapes = {output.name: np.asarray(array).shape for output, array in zip(outputs, found, strict=True)}
    shapes |= constants | {name: array.shape for name, array in zeros.items()}
    return sum(_products(node, shapes) for node in products)


def _products(node: Any, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Multiplications of one node: the size of its output times what is summed for each number of it."""
    output, first, weights = (shapes[name] for name in (node.output[0], node.input[0], node.input[1]))
    if node.op_type == "Conv":
        return math.prod(output) * math.prod(weights[1:])
    turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return math.prod(output) * (first[0] if turned else first[-1])


def sgemm_peak(threads: int) -> float:
    """Floating-point operations per second (a product and a sum are two) of torch's single-precision matrix product."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        a, b = torch.randn(MATRIX, MATRIX), torch.randn(MATRIX, MATRIX)
        fastest_s = math.inf
        for _ in range(PEAK_RUNS):
            started_s = time.perf_counter()
            torch.mm(a, b)
            fastest_s = min(fastest_s, time.perf_counter() - started_s)
    finally:
        torch.set_num_threads(before)
    return 2 * MATRIX**3 / fastest_s
