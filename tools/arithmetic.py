"""How much a network has to multiply, and how fast this processor multiplies: the least time an engine can take."""

from __future__ import annotations

import math
import time
from typing import Any

# Of square matrices; large enough for the peak, small enough for the cache.
MATRIX = 1024
PEAK_RUNS = 20


def multiply_adds(content: bytes, batch: int) -> int | None:
    """Multiplications of the matrix products and convolutions in an ONNX network, for `batch` samples in all.

    None when the package onnx is missing or a size cannot be inferred; what is no product (sums, activations,
    normalisation) is not counted.
    """
    try:
        import onnx
    except ImportError:
        return None
    model = onnx.load_model_from_string(content)
    for value in model.graph.input:
        dimensions = value.type.tensor_type.shape.dim
        if dimensions and not dimensions[0].dim_value:
            dimensions[0].dim_value = batch
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {value.name: _shape(value) for value in (*graph.input, *graph.value_info, *graph.output)}
    shapes |= {constant.name: tuple(constant.dims) for constant in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            shapes[node.output[0]] = tuple(node.attribute[0].t.dims)
    products = [_products(node, shapes) for node in graph.node if node.op_type in ("Gemm", "MatMul", "Conv")]
    known = [count for count in products if count is not None]
    return sum(known) if len(known) == len(products) else None


def _shape(value: Any) -> tuple[int, ...] | None:
    sizes = value.type.tensor_type.shape.dim
    return tuple(size.dim_value for size in sizes) if all(size.dim_value for size in sizes) else None


def _products(node: Any, shapes: dict[str, tuple[int, ...] | None]) -> int | None:
    """Multiplications of one node: the size of its output times what is summed for each number of it."""
    output, first, weights = (shapes.get(name) for name in (node.output[0], node.input[0], node.input[1]))
    if output is None or first is None or weights is None:
        return None
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
