"""Engines built for this GPU, on TensorRT itself (10.x): one recorded CUDA graph per inference."""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .cuda_driver import CudaStream, Gpu, load_driver, read_gpu
from .engine import Device, EngineFailed, EngineUnavailable, OpenRequest, Port, fitting_arrays
from .engine_file import EngineBuild, EngineFile
from .model_file import ModelFileError, read_card

log = logging.getLogger(__name__)

# The major version whose interface is used here; 11 has another, and ONNX Runtime's provider needs 10 as well.
TENSORRT_MAJOR = "10"
INSTALL = "pip install 'tensorrt-cu13==10.*' (or tensorrt-cu12 for a driver that serves CUDA 12 alone)"
REBUILD = "build it here with python -m binopose.export.tensorrt"


def load_tensorrt() -> Any:
    """The module tensorrt. Raises EngineUnavailable when driver or library are missing or of another version.

    The driver is asked first: without one TensorRT hands out objects that fail much later.
    """
    load_driver()
    try:
        tensorrt = importlib.import_module("tensorrt")
    except (ImportError, OSError, RuntimeError) as error:
        # RuntimeError: the stub package that stands for a library it could not fetch.
        raise EngineUnavailable(f"the package tensorrt cannot be imported ({error}): {INSTALL}") from error
    version = str(getattr(tensorrt, "__version__", "unknown"))
    if version.split(".")[0] != TENSORRT_MAJOR:
        raise EngineUnavailable(f"expected TensorRT {TENSORRT_MAJOR}.x, found {version}: {INSTALL}")
    if not hasattr(tensorrt, "Runtime"):
        raise EngineUnavailable(f"the package tensorrt {version} is only half installed (it has no Runtime): {INSTALL}")
    return tensorrt


def make_logger(tensorrt: Any) -> Any:
    """TensorRT's messages as ours; the last error is kept in `errors`."""

    class Logger(tensorrt.ILogger):
        def __init__(self) -> None:
            tensorrt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (tensorrt.ILogger.Severity.INTERNAL_ERROR, tensorrt.ILogger.Severity.ERROR):
                self.errors.append(message.strip())
            log.debug("tensorrt: %s", message.strip())

    return Logger()


def last_error(logger: Any) -> str:
    """What TensorRT said last about why something failed."""
    return logger.errors[-1][:300] if logger.errors else "no reason given"


def check_build(path: Path, build: EngineBuild, gpu: Gpu, version: str) -> None:
    """Raise EngineUnavailable unless an engine was built for this GPU with this TensorRT: it runs nowhere else."""
    expected = {"TensorRT": version, "GPU": gpu.name, "compute capability": gpu.capability}
    found = {"TensorRT": build.tensorrt, "GPU": build.gpu, "compute capability": build.capability}
    differing = [f"{what} {found[what]} (here {expected[what]})" for what in expected if found[what] != expected[what]]
    if differing:
        raise EngineUnavailable(f"{path}: engine built for {', '.join(differing)}; {REBUILD}")


def _read_ports(path: Path, tensorrt: Any, engine: Any) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    inputs, outputs = [], []
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        shape = tuple(int(size) for size in engine.get_tensor_shape(name))
        if any(size < 0 for size in shape):
            raise ModelFileError(f"{path}: {name} has an open size {shape}; engines have fixed ones: {REBUILD}")
        port = Port(name, shape, np.dtype(tensorrt.nptype(engine.get_tensor_dtype(name))))
        (inputs if engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT else outputs).append(port)
    return tuple(inputs), tuple(outputs)


class TensorRtSession:
    """An engine with fixed sizes on TensorRT; see `Session`."""

    device: Device = "tensorrt"

    def __init__(
        self, path: Path, tensorrt: Any, runtime: Any, logger: Any, file: EngineFile, stream: CudaStream, gpu: Gpu
    ) -> None:
        engine = runtime.deserialize_cuda_engine(file.plan)
        if engine is None:
            raise EngineUnavailable(f"{path}: TensorRT refuses the engine: {last_error(logger)}; {REBUILD}")
        self.engine = f"tensorrt {tensorrt.__version__} ({file.build.precision})"
        self.hardware = gpu.name
        self.card = read_card(path, file.metadata)
        if self.card is None:
            raise ModelFileError(f"{path}: the engine does not say which model it was built from; {REBUILD}")
        self.inputs, self.outputs = _read_ports(path, tensorrt, engine)
        self._path, self._logger, self._stream = path, logger, stream
        # What is below does not keep alive what it was made from.
        self._owners: tuple[Any, ...] = (runtime, engine)
        self._context: Any = engine.create_execution_context()
        if self._context is None:
            raise EngineFailed(f"{path}: TensorRT cannot set up the engine: {last_error(logger)}")
        self._addresses: dict[str, int] = {}
        for port in (*self.inputs, *self.outputs):
            address = stream.allocate(math.prod(port.fixed_shape) * port.dtype.itemsize)
            self._addresses[port.name] = address
            if not self._context.set_tensor_address(port.name, address):
                raise EngineFailed(f"{path}: TensorRT refuses the memory for {port}: {last_error(logger)}")
        self._recorded, self._recordable = False, True

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One inference; see `Session.run`."""
        fitting = fitting_arrays(self.inputs, arrays)
        results = {port.name: np.empty(port.fixed_shape, port.dtype) for port in self.outputs}
        self._stream.enter()
        for name, array in fitting.items():
            self._stream.upload(self._addresses[name], array)
        if self._recorded:
            self._stream.replay()
        else:
            self._enqueue()
        for name, array in results.items():
            self._stream.download(array, self._addresses[name])
        self._stream.wait()
        if self._recordable and not self._recorded:
            self._record()
        return results

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream.handle):
            raise EngineFailed(f"{self._path}: the engine does not run: {last_error(self._logger)}")

    def _record(self) -> None:
        """Note the work of one inference as a graph. TensorRT wants one ordinary run before, which has just been.

        Not every network can be recorded; those run as before, a little slower.
        """
        try:
            self._stream.begin_recording()
            try:
                self._enqueue()
            finally:
                self._stream.end_recording()
        except EngineFailed as error:
            log.info("%s: runs without a CUDA graph: %s", self._path, error)
            self._recordable = False
        else:
            self._recorded = True

    def close(self) -> None:
        """Give the GPU's memory back."""
        self._context, self._owners = None, ()
        self._stream.close()


def open_engine(request: OpenRequest) -> TensorRtSession:
    """Open an engine file. Raises EngineUnavailable when it cannot run here, ModelFileError for a damaged file."""
    if request.device != "tensorrt":
        raise EngineUnavailable(
            f"{request.path}: a TensorRT engine runs on TensorRT alone, not on {request.device}; "
            "take the .onnx file it was built from, or --device tensorrt"
        )
    file = EngineFile.from_bytes(request.path, request.content)
    tensorrt = load_tensorrt()
    gpu = read_gpu()
    check_build(request.path, file.build, gpu, str(tensorrt.__version__))
    logger = make_logger(tensorrt)
    stream = CudaStream()
    try:
        return TensorRtSession(request.path, tensorrt, tensorrt.Runtime(logger), logger, file, stream, gpu)
    except BaseException:
        stream.close()
        raise
