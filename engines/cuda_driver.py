"""NVIDIA's driver, called directly: which GPU there is, and memory, streams and graphs on it.

Only the driver's own library is needed, which comes with every GPU that works; no CUDA toolkit and no Python package.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import byref, c_char_p, c_int, c_size_t, c_ulonglong, c_void_p
from dataclasses import dataclass
from typing import Any

import numpy as np

from .engine import EngineFailed, EngineUnavailable

DRIVER_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
MANAGEMENT_LIBRARY = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"

# Numbers of the driver API (cuda.h).
_SUCCESS, _OUT_OF_MEMORY, _NO_DEVICE = 0, 2, 100
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
_CAPTURE_THREAD_LOCAL = 1


@dataclass(frozen=True, slots=True)
class Gpu:
    """The first GPU. driver: version of the driver; capability: of the GPU, as "9.0"."""

    name: str
    driver: str
    capability: str


def open_library(name: str) -> Any:
    """A shared library; raises OSError naming what is missing, itself or a library that it needs."""
    return ctypes.CDLL(name)


def load_driver(library: Any = None) -> Any:
    """The driver's library, started. Raises EngineUnavailable when there is none, or no GPU behind it.

    library: a stand-in for tests.
    """
    if library is None:
        try:
            library = open_library(DRIVER_LIBRARY)
        except OSError as error:
            raise EngineUnavailable(
                f"no NVIDIA driver: {DRIVER_LIBRARY} cannot be loaded ({error}); install the driver, in a container "
                "hand the GPU in (docker run --gpus all), or use --device cpu"
            ) from error
    status = library.cuInit(0)
    if status == _NO_DEVICE:
        raise EngineUnavailable("the NVIDIA driver is installed but finds no GPU; use --device cpu")
    if status != _SUCCESS:
        raise EngineUnavailable(
            f"the NVIDIA driver does not start: {_error_text(library, status)}; restart the machine after a change of "
            "driver, or use --device cpu"
        )
    return library


def read_gpu(library: Any = None) -> Gpu:
    """The first GPU. Raises EngineUnavailable as `load_driver` does."""
    driver = load_driver(library)
    device = c_int()
    _check(driver, driver.cuDeviceGet(byref(device), 0), "finding the GPU")
    name = ctypes.create_string_buffer(256)
    _check(driver, driver.cuDeviceGetName(name, 256, device), "asking for the GPU's name")
    parts = []
    for attribute in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR):
        value = c_int()
        _check(driver, driver.cuDeviceGetAttribute(byref(value), attribute, device), "asking for the GPU's capability")
        parts.append(str(value.value))
    return Gpu(name.value.decode("utf-8", "replace"), _driver_version(driver), ".".join(parts))


def _driver_version(driver: Any) -> str:
    """The driver's own version; where its management library is missing, the CUDA version that it serves."""
    try:
        management = open_library(MANAGEMENT_LIBRARY)
        text = ctypes.create_string_buffer(96)
        if management.nvmlInit_v2() == 0 and management.nvmlSystemGetDriverVersion(text, 96) == 0:
            return text.value.decode("ascii", "replace")
    except (OSError, AttributeError):
        pass
    number = c_int()
    _check(driver, driver.cuDriverGetVersion(byref(number)), "asking for the driver's version")
    return f"cuda-{number.value // 1000}.{number.value % 1000 // 10}"


def _error_text(driver: Any, status: int) -> str:
    text = c_char_p()
    known = driver.cuGetErrorString(status, byref(text)) == _SUCCESS and text.value
    return f"{text.value.decode('ascii', 'replace')} (error {status})" if known and text.value else f"error {status}"


def _check(driver: Any, status: int, doing: str) -> None:
    if status == _OUT_OF_MEMORY:
        raise EngineFailed(f"the GPU's memory is full ({doing}); {OUT_OF_MEMORY_ADVICE}")
    if status != _SUCCESS:
        raise EngineFailed(f"{doing} failed on the GPU: {_error_text(driver, status)}")


OUT_OF_MEMORY_ADVICE = "close other programs that use the GPU, take a smaller batch, or use --device cpu"


class CudaStream:
    """A stream on the first GPU with memory of its own: copies in, work, copies out, and a recorded graph of the work.

    It lives in the GPU's primary context, which TensorRT and the CUDA runtime use too. `close` gives all back.
    """

    def __init__(self, library: Any = None) -> None:
        self._driver = load_driver(library)
        self._buffers: list[c_ulonglong] = []
        self._graph_run = c_void_p()
        self._stream = c_void_p()
        self._device = c_int()
        context = c_void_p()
        self._call("cuDeviceGet", byref(self._device), 0)
        self._call("cuDevicePrimaryCtxRetain", byref(context), self._device)
        self._context: c_void_p | None = context
        self._call("cuCtxSetCurrent", context)
        self._call("cuStreamCreate", byref(self._stream), 1)  # 1: does not wait for the default stream

    def _call(self, function: str, *arguments: Any) -> None:
        _check(self._driver, getattr(self._driver, function)(*arguments), function)

    @property
    def handle(self) -> int:
        """The stream as other libraries take it."""
        return int(self._stream.value or 0)

    def enter(self) -> None:
        """Make the context that of the calling thread."""
        self._call("cuCtxSetCurrent", self._context)

    def allocate(self, size_bytes: int) -> int:
        """An address on the GPU."""
        address = c_ulonglong()
        self._call("cuMemAlloc_v2", byref(address), c_size_t(size_bytes))
        self._buffers.append(address)
        return int(address.value)

    def upload(self, address: int, array: np.ndarray) -> None:
        """Queue a copy of a contiguous array to the GPU; the array must live until `wait`."""
        self._call(
            "cuMemcpyHtoDAsync_v2",
            c_ulonglong(address),
            c_void_p(array.ctypes.data),
            c_size_t(array.nbytes),
            self._stream,
        )

    def download(self, array: np.ndarray, address: int) -> None:
        """Queue a copy from the GPU into a contiguous array, which is filled after `wait`."""
        self._call(
            "cuMemcpyDtoHAsync_v2",
            c_void_p(array.ctypes.data),
            c_ulonglong(address),
            c_size_t(array.nbytes),
            self._stream,
        )

    def wait(self) -> None:
        """Until everything queued is done."""
        self._call("cuStreamSynchronize", self._stream)

    def begin_recording(self) -> None:
        """From here on work is noted, not done."""
        self._call("cuStreamBeginCapture_v2", self._stream, c_int(_CAPTURE_THREAD_LOCAL))

    def end_recording(self) -> None:
        """Keep what was noted, for `replay`."""
        graph = c_void_p()
        self._call("cuStreamEndCapture", self._stream, byref(graph))
        self._call("cuGraphInstantiateWithFlags", byref(self._graph_run), graph, c_ulonglong(0))
        self._call("cuGraphDestroy", graph)

    def replay(self) -> None:
        """Queue the recorded work."""
        self._call("cuGraphLaunch", self._graph_run, self._stream)

    def close(self) -> None:
        """Give memory, stream and context back."""
        if self._context is None:
            return
        self.enter()
        if self._graph_run:
            self._driver.cuGraphExecDestroy(self._graph_run)
        for address in self._buffers:
            self._driver.cuMemFree_v2(address)
        self._driver.cuStreamDestroy_v2(self._stream)
        self._driver.cuDevicePrimaryCtxRelease_v2(self._device)
        self._context = None
