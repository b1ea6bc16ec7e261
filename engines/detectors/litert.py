"""TensorFlow Lite networks, run by ai-edge-litert."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ...calibration.errors import UserError


class LiteRtUnavailable(UserError):
    """The runtime for the BlazePose networks is not installed, or cannot load one of them."""


@contextmanager
def _quiet_native_stderr() -> Iterator[None]:
    """Keep LiteRT's greeting ("Created TensorFlow Lite XNNPACK delegate") off the terminal; it has no switch for it."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


class LiteRtNetwork:
    """One network with one picture as its input, on one thread.

    Calls from different threads need a network each: an interpreter keeps its tensors between calls.
    """

    def __init__(self, path: Path) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise LiteRtUnavailable(
                "the BlazePose detector needs the package ai-edge-litert, which cannot be imported "
                f"({error}): pip install ai-edge-litert"
            ) from error
        try:
            with _quiet_native_stderr():
                self._interpreter = Interpreter(model_path=str(path), num_threads=1)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError, OSError) as error:
            raise LiteRtUnavailable(
                f"{path}: expected a TensorFlow Lite network, could not load it ({error}); "
                "fetch it again with: binopose models fetch blazepose"
            ) from error
        (only_input,) = self._interpreter.get_input_details()
        self._input_index = int(only_input["index"])
        self.input_shape = tuple(int(n) for n in only_input["shape"])
        self._output_of_shape = {
            tuple(int(n) for n in output["shape"]): int(output["index"])
            for output in self._interpreter.get_output_details()
        }
        self.path = path

    def require(self, input_shape: tuple[int, ...], output_shapes: tuple[tuple[int, ...], ...]) -> None:
        """Raise LiteRtUnavailable when the file holds another network than the caller decodes."""
        found = self._output_of_shape.keys()
        if self.input_shape != input_shape or not set(output_shapes) <= set(found):
            raise LiteRtUnavailable(
                f"{self.path}: expected input {input_shape} and outputs {list(output_shapes)}, found input "
                f"{self.input_shape} and outputs {list(found)}; fetch it again with: binopose models fetch blazepose"
            )

    def run(self, batch: np.ndarray, output_shapes: tuple[tuple[int, ...], ...]) -> list[np.ndarray]:
        """One inference. batch: float32 of `input_shape`; returns the outputs that have the given shapes."""
        self._interpreter.set_tensor(self._input_index, batch)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(self._output_of_shape[shape]) for shape in output_shapes]
