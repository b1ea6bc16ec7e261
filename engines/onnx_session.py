"""ONNX networks on ONNX Runtime: on the CPU, and on NVIDIA GPUs by its CUDA and TensorRT providers."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.metadata
import io
import logging
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .cuda_driver import OUT_OF_MEMORY_ADVICE, Gpu, open_library, read_gpu
from .engine import Device, EngineFailed, EngineUnavailable, OpenRequest, Port, fitting_arrays
from .model_file import ModelFileError, read_card

log = logging.getLogger(__name__)

# Distributions that install the same folder `onnxruntime`: the one installed last wins, without a word from pip.
DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino")

_CPU, _CUDA, _TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
# Best first; what a provider cannot run it leaves to the next.
_PROVIDERS: dict[Device, tuple[str, ...]] = {
    "cpu": (_CPU,),
    "cuda": (_CUDA, _CPU),
    "tensorrt": (_TENSORRT, _CUDA, _CPU),
}
_PROVIDER_LIBRARY: dict[Device, str] = {
    "cuda": "onnxruntime_providers_cuda",
    "tensorrt": "onnxruntime_providers_tensorrt",
}
_PACKAGES_FOR: dict[Device, str] = {
    "cuda": "pip install 'onnxruntime-gpu[cuda,cudnn]'",
    "tensorrt": "pip install 'onnxruntime-gpu[cuda,cudnn]' 'tensorrt-cu13==10.*' (TensorRT 10; 11 does not serve it)",
}

_NUMPY_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}
# Complaints about the file, whatever it was to run on.
_FILE_ERRORS = ("InvalidProtobuf", "InvalidGraph", "NoModel", "NoSuchFile")
_OUT_OF_MEMORY = re.compile(
    r"out of memory|failed to allocate|cuda failure 2\b|alloc_failed|bad alloc|bad_alloc", re.IGNORECASE
)


def installed_distributions() -> dict[str, str]:
    """Version of each distribution of ONNX Runtime that is installed."""
    found = {}
    for name in DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def conflict(distributions: Mapping[str, str]) -> str | None:
    """What is wrong when several distributions share the folder, and which to remove; None when all is well."""
    if len(distributions) < 2:
        return None
    named = " and ".join(f"{name} {version}" for name, version in distributions.items())
    return (
        f"{named} are installed side by side; both fill the folder onnxruntime and the last one wins. Keep one. For a "
        "GPU: pip uninstall -y onnxruntime && pip install --force-reinstall --no-deps onnxruntime-gpu; "
        "for the CPU alone: pip uninstall -y onnxruntime-gpu && pip install --force-reinstall --no-deps onnxruntime"
    )


@functools.cache
def _warn_of_conflict() -> None:
    """Once for the whole program: every network would say it again."""
    if problem := conflict(installed_distributions()):
        log.warning("%s", problem)


def load_runtime() -> Any:
    """The module onnxruntime. Raises EngineUnavailable when it is missing or only half of it is there."""
    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise EngineUnavailable(
            f"the package onnxruntime cannot be imported ({error}): pip install 'binopose[cpu]', or 'binopose[gpu]' "
            "for an NVIDIA GPU"
        ) from error
    if not hasattr(runtime, "InferenceSession"):
        # What remains of the shared folder when one of two distributions was uninstalled.
        raise EngineUnavailable(
            "the package onnxruntime is only half installed (it has no InferenceSession): "
            "pip install --force-reinstall --no-deps onnxruntime (or onnxruntime-gpu)"
        )
    return runtime


def require_gpu_provider(runtime: Any, device: Device) -> Gpu:
    """The GPU, when the provider for a device is there with all it needs; raises EngineUnavailable naming what is not.

    `get_available_providers` names what was compiled in, and a provider that cannot be loaded is dropped without an
    exception: so driver and libraries are tried one by one, which also tells which of them is missing.
    """
    gpu = read_gpu()
    if _PROVIDERS[device][0] not in runtime.get_available_providers():
        installed = installed_distributions()
        raise EngineUnavailable(
            f"the installed onnxruntime {runtime.__version__} cannot use NVIDIA GPUs: "
            + (conflict(installed) or "pip uninstall -y onnxruntime && pip install 'binopose[gpu]'")
        )
    if hasattr(runtime, "preload_dlls"):
        # Finds CUDA and cuDNN in the wheels of NVIDIA; it prints what it misses, which is said better below.
        with contextlib.redirect_stdout(io.StringIO()):
            runtime.preload_dlls()
    prefix, suffix = ("", ".dll") if sys.platform == "win32" else ("lib", ".so")
    library = Path(runtime.__file__).parent / "capi" / f"{prefix}{_PROVIDER_LIBRARY[device]}{suffix}"
    try:
        open_library(str(library))
    except OSError as error:
        # "libX.so: cannot open ..." is what is missing; "undefined symbol" only says that ONNX Runtime has to load the
        # library itself, which it does.
        if "undefined symbol" not in str(error):
            raise EngineUnavailable(
                f"{library.name} cannot be loaded, a library is missing: {error}; {_PACKAGES_FOR[device]}"
            ) from error
    return gpu


def engine_cache_key(content: bytes, gpu: Gpu, runtime_version: str) -> str:
    """The name of the cache for one file on one machine: another file, GPU, driver or runtime gets another."""
    facts = "-".join((gpu.name, gpu.capability, gpu.driver, runtime_version))
    return f"{hashlib.sha256(content).hexdigest()[:16]}-{re.sub(r'[^A-Za-z0-9.]+', '_', facts)}"


def _provider_options(request: OpenRequest, gpu: Gpu | None, runtime_version: str) -> list[tuple[str, dict[str, str]]]:
    # TF32 rounds to 10 bits: millimetres at the far end of a room, and no parity with the CPU.
    options: dict[str, dict[str, str]] = {_CPU: {}, _CUDA: {"use_tf32": "0"}, _TENSORRT: {"trt_fp16_enable": "0"}}
    if request.device == "tensorrt" and gpu is not None and request.cache_dir is not None:
        folder = request.cache_dir / "engines" / engine_cache_key(request.content, gpu, runtime_version)
        folder.mkdir(parents=True, exist_ok=True)
        options[_TENSORRT] |= {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(folder),
        }
        if not any(folder.iterdir()):
            log.warning(
                "%s: TensorRT now builds an engine, once, which takes up to minutes (-> %s)", request.path, folder
            )
    return [(provider, options[provider]) for provider in _PROVIDERS[request.device]]


def _runtime_errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: types of its own, without a common base."""
    state = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    kinds = [value for value in vars(state).values() if isinstance(value, type)]
    return (*(kind for kind in kinds if issubclass(kind, Exception)), ValueError, RuntimeError)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _session_options(runtime: Any, threads: int) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads that spin slow every other network of the program down.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # What goes wrong is raised; the runtime's own lines would only repeat it.
    options.log_severity_level = 4
    return options


def _open_runtime_session(runtime: Any, request: OpenRequest, gpu: Gpu | None) -> Any:
    options = _session_options(runtime, request.threads)
    providers = _provider_options(request, gpu, runtime.__version__)
    try:
        session = runtime.InferenceSession(request.content, options, providers=providers, enable_fallback=0)
    except _runtime_errors() as error:
        said = _first_line(error)
        if request.device == "cpu" or type(error).__name__ in _FILE_ERRORS:
            hint = (
                f"; ONNX Runtime {runtime.__version__} is too old for it: update it"
                if "unsupported model ir" in said.lower()
                else ""
            )
            raise ModelFileError(
                f"{request.path}: expected an ONNX network, but ONNX Runtime cannot load it (cut off, or something "
                f"else?): {said}{hint}"
            ) from error
        advice = OUT_OF_MEMORY_ADVICE if _OUT_OF_MEMORY.search(said) else _PACKAGES_FOR[request.device]
        raise EngineUnavailable(f"ONNX Runtime cannot use {request.device}: {said}; {advice}") from error
    running_on = session.get_providers()[0]
    if running_on != _PROVIDERS[request.device][0]:
        raise EngineUnavailable(
            f"ONNX Runtime was to run on {request.device} but took {running_on} instead: a library of CUDA or TensorRT "
            f"is missing or of another version; {_PACKAGES_FOR.get(request.device, 'install onnxruntime again')}"
        )
    return session


def _ports(path: Path, arguments: Any) -> tuple[Port, ...]:
    ports = []
    for argument in arguments:
        if argument.type not in _NUMPY_TYPES:
            raise ModelFileError(f"{path}: {argument.name} is of type {argument.type}, which no model of ours has")
        shape = tuple(size if isinstance(size, int) else None for size in argument.shape)
        ports.append(Port(argument.name, shape, np.dtype(_NUMPY_TYPES[argument.type])))
    return tuple(ports)


class _GpuBinding:
    """Inputs in memory of the device that stays, outputs fetched in one go; made anew when the shapes change."""

    def __init__(self, runtime: Any, session: Any, outputs: tuple[Port, ...], memory: str) -> None:
        self._runtime, self._session, self._outputs, self._memory = runtime, session, outputs, memory
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._values: dict[str, Any] = {}
        self._binding: Any = None

    def run(self, arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        shapes = {name: array.shape for name, array in arrays.items()}
        if shapes == self._shapes:
            for name, array in arrays.items():
                self._values[name].update_inplace(array)
        else:
            self._bind(arrays)
            self._shapes = shapes
        self._session.run_with_iobinding(self._binding)
        return self._binding.copy_outputs_to_cpu()

    def _bind(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._shapes = {}
        self._binding = self._session.io_binding()
        self._values = {
            name: self._runtime.OrtValue.ortvalue_from_numpy(array, self._memory, 0) for name, array in arrays.items()
        }
        for name, value in self._values.items():
            self._binding.bind_ortvalue_input(name, value)
        for port in self._outputs:
            self._binding.bind_output(port.name, self._memory, 0)


class OnnxSession:
    """A network on ONNX Runtime; see `Session`."""

    def __init__(self, runtime: Any, session: Any, request: OpenRequest, hardware: str) -> None:
        self.engine = f"onnxruntime {runtime.__version__}"
        self.device: Device = request.device
        self.hardware = hardware
        self.inputs = _ports(request.path, session.get_inputs())
        self.outputs = _ports(request.path, session.get_outputs())
        self.card = read_card(request.path, session.get_modelmeta().custom_metadata_map)
        self._path = request.path
        self._session: Any = session
        self._names = [port.name for port in self.outputs]
        self._errors = _runtime_errors()
        self._binding = None if self.device == "cpu" else _GpuBinding(runtime, session, self.outputs, "cuda")

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One inference; see `Session.run`."""
        fitting = fitting_arrays(self.inputs, arrays)
        try:
            results = self._session.run(self._names, fitting) if self._binding is None else self._binding.run(fitting)
        except self._errors as error:
            said = _first_line(error)
            if _OUT_OF_MEMORY.search(said):
                raise EngineFailed(
                    f"{self._path}: the memory of {self.hardware} is full: {said}; {OUT_OF_MEMORY_ADVICE}"
                ) from error
            raise EngineFailed(f"{self._path}: the network does not run on {self.device}: {said}") from error
        return dict(zip(self._names, results, strict=True))

    def close(self) -> None:
        """Give the memory back."""
        self._binding = self._session = None


def open_onnx(request: OpenRequest) -> OnnxSession:
    """Open an ONNX network on one device.

    Raises EngineUnavailable when the device cannot be used, ModelFileError when the file is no network.
    """
    runtime = load_runtime()
    _warn_of_conflict()
    gpu = None if request.device == "cpu" else require_gpu_provider(runtime, request.device)
    session = _open_runtime_session(runtime, request, gpu)
    return OnnxSession(runtime, session, request, gpu.name if gpu else platform.processor() or platform.machine())
