"""Stand-ins for NVIDIA's driver and TensorRT 10, in host memory: what the program asks of them, in the order it must.

The driver copies, counts what is not given back and records graphs. TensorRT "builds" by keeping the ONNX file and
"runs" it with ONNX Runtime on the addresses it was given, so the answers are real ones. What the real libraries do
inside is not imitated; where they refuse, these can be told to refuse.
"""

from __future__ import annotations

import ctypes
import json
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from .small_networks import onnx

OUT_OF_MEMORY = 2
CAPTURE_INVALIDATED = 901


class FakeDriver:
    """NVIDIA's driver with one GPU.

    status: what `cuInit` answers; memory_bytes: before the GPU is full; captures: whether work can be recorded.
    """

    captures = True

    def __init__(self, status: int = 0, memory_bytes: int = 1 << 30) -> None:
        self.status, self.memory_bytes = status, memory_bytes
        self.buffers: dict[int, Any] = {}
        self.contexts = self.streams = self.replays = 0
        self.recording: list[Callable[[], None]] | None = None
        self.graph: list[Callable[[], None]] = []

    def cuInit(self, _: int) -> int:
        return self.status

    def cuGetErrorString(self, _: int, text: Any) -> int:
        text._obj.value = b"a mismatch"
        return 0

    def cuDeviceGet(self, device: Any, number: int) -> int:
        device._obj.value = number
        return 0

    def cuDeviceGetName(self, name: Any, _: int, __: Any) -> int:
        name.value = b"NVIDIA Test 9"
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, _: Any) -> int:
        value._obj.value = {75: 9, 76: 0}[attribute]
        return 0

    def cuDriverGetVersion(self, number: Any) -> int:
        number._obj.value = 13010
        return 0

    def cuDevicePrimaryCtxRetain(self, context: Any, _: Any) -> int:
        self.contexts += 1
        context._obj.value = 77
        return 0

    def cuDevicePrimaryCtxRelease_v2(self, _: Any) -> int:
        self.contexts -= 1
        return 0

    def cuCtxSetCurrent(self, context: Any) -> int:
        assert context.value == 77
        return 0

    def cuStreamCreate(self, stream: Any, _: int) -> int:
        self.streams += 1
        stream._obj.value = 99
        return 0

    def cuStreamDestroy_v2(self, _: Any) -> int:
        self.streams -= 1
        return 0

    def cuMemAlloc_v2(self, address: Any, size: Any) -> int:
        if sum(len(buffer) for buffer in self.buffers.values()) + size.value > self.memory_bytes:
            return OUT_OF_MEMORY
        buffer = ctypes.create_string_buffer(size.value)
        address._obj.value = ctypes.addressof(buffer)
        self.buffers[address._obj.value] = buffer
        return 0

    def cuMemFree_v2(self, address: Any) -> int:
        del self.buffers[address.value]
        return 0

    def cuMemcpyHtoDAsync_v2(self, to: Any, source: Any, size: Any, _: Any) -> int:
        assert len(self.buffers[to.value]) == size.value
        ctypes.memmove(to.value, source.value, size.value)
        return 0

    def cuMemcpyDtoHAsync_v2(self, to: Any, source: Any, size: Any, _: Any) -> int:
        assert len(self.buffers[source.value]) == size.value
        ctypes.memmove(to.value, source.value, size.value)
        return 0

    def cuStreamSynchronize(self, _: Any) -> int:
        assert self.recording is None
        return 0

    def cuStreamBeginCapture_v2(self, _: Any, __: Any) -> int:
        self.recording = []
        return 0

    def cuStreamEndCapture(self, _: Any, graph: Any) -> int:
        assert self.recording
        self.graph, self.recording = self.recording, None
        if not self.captures:
            return CAPTURE_INVALIDATED
        graph._obj.value = 1
        return 0

    def cuGraphInstantiateWithFlags(self, run: Any, _: Any, __: Any) -> int:
        run._obj.value = 2
        return 0

    def cuGraphDestroy(self, _: Any) -> int:
        return 0

    def cuGraphExecDestroy(self, _: Any) -> int:
        self.graph = []
        return 0

    def cuGraphLaunch(self, _: Any, __: Any) -> int:
        self.replays += 1
        for work in self.graph:
            work()
        return 0


class FakeTensorRt(types.ModuleType):
    """The module `tensorrt`. half_offset_m: what half precision errs by; refuses: what it cannot do."""

    def __init__(self, driver: FakeDriver, version: str = "10.16.1", half_offset_m: float = 0.0, refuses: str = ""):
        super().__init__("tensorrt")
        self.driver, self.half_offset_m, self.refuses = driver, half_offset_m, refuses
        self.__version__ = version
        self.flags: set[str] = {"TF32"}
        self.timing = b""
        severity = types.SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2)
        self.ILogger = type("ILogger", (), {"Severity": severity})
        self.BuilderFlag = types.SimpleNamespace(TF32="TF32", FP16="FP16")
        self.MemoryPoolType = types.SimpleNamespace(WORKSPACE="workspace")
        self.TensorIOMode = types.SimpleNamespace(INPUT="in", OUTPUT="out")

    def nptype(self, kind: str) -> type:
        return {"float32": np.float32}[kind]

    def Runtime(self, logger: Any) -> Any:
        def deserialize(plan: bytes) -> Any:
            if self.refuses == "engine":
                logger.log(1, "Serialization assertion stdVersionRead == kSERIALIZATION_VERSION failed")
                return None
            return _FakeEngine(self, plan)

        return types.SimpleNamespace(deserialize_cuda_engine=deserialize)

    def Builder(self, logger: Any) -> Any:
        return _FakeBuilder(self, logger)

    def OnnxParser(self, network: Any, logger: Any) -> Any:
        def parse(content: bytes) -> bool:
            if self.refuses == "network":
                return False
            network.load(content)
            return True

        error = "In node 7 (importTopK): UNSUPPORTED_NODE: K > 3840 is not supported"
        return types.SimpleNamespace(parse=parse, num_errors=1, get_error=lambda _: error)


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(size.dim_value or -1 for size in value.type.tensor_type.shape.dim)


class _FakeNetwork:
    def load(self, content: bytes) -> None:
        self.content = content
        graph = onnx.load_from_string(content).graph
        self.inputs = [types.SimpleNamespace(name=value.name, shape=_shape(value)) for value in graph.input]

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    def get_input(self, index: int) -> Any:
        return self.inputs[index]


class _FakeBuilder:
    def __init__(self, tensorrt: FakeTensorRt, logger: Any) -> None:
        self.tensorrt, self.logger = tensorrt, logger

    def create_network(self, flags: int) -> _FakeNetwork:
        assert flags == 0
        return _FakeNetwork()

    def create_builder_config(self) -> Any:
        tensorrt = self.tensorrt
        tensorrt.flags = {"TF32"}

        def set_timing_cache(cache: bytes, ignore_mismatch: bool) -> None:
            assert not ignore_mismatch
            tensorrt.timing = cache + b"!"

        return types.SimpleNamespace(
            set_memory_pool_limit=lambda pool, size: None,
            clear_flag=tensorrt.flags.discard,
            set_flag=tensorrt.flags.add,
            create_timing_cache=lambda stored: stored,
            set_timing_cache=set_timing_cache,
            get_timing_cache=lambda: types.SimpleNamespace(serialize=lambda: memoryview(tensorrt.timing)),
        )

    def build_serialized_network(self, network: _FakeNetwork, _: Any) -> memoryview | None:
        if self.tensorrt.refuses == "build":
            self.logger.log(1, "could not find any implementation for node 3")
            return None
        shapes = {one.name: list(one.shape) for one in network.inputs}
        assert all(size > 0 for shape in shapes.values() for size in shape)
        offset_m = self.tensorrt.half_offset_m if "FP16" in self.tensorrt.flags else 0.0
        facts = {"shapes": shapes, "offset_m": offset_m}
        return memoryview(json.dumps(facts).encode() + b"\0" + network.content)


class _FakeEngine:
    def __init__(self, tensorrt: FakeTensorRt, plan: bytes) -> None:
        import onnxruntime

        facts, self._content = plan.split(b"\0", 1)
        self._facts = json.loads(facts)
        self._tensorrt = tensorrt
        self.session = onnxruntime.InferenceSession(self._content, providers=["CPUExecutionProvider"])
        batch = self._facts["shapes"]["left_px"][0]
        self._shapes = {name: tuple(shape) for name, shape in self._facts["shapes"].items()}
        for output in self.session.get_outputs():
            self._shapes[output.name] = (batch, *output.shape[1:])
        self.num_io_tensors = len(self._shapes)

    def get_tensor_name(self, index: int) -> str:
        return list(self._shapes)[index]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def get_tensor_dtype(self, _: str) -> str:
        return "float32"

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name in self._facts["shapes"] else "out"

    def create_execution_context(self) -> Any:
        addresses: dict[str, int] = {}

        def set_address(name: str, address: int) -> bool:
            addresses[name] = address
            return self._tensorrt.refuses != "memory"

        def execute(stream: int) -> bool:
            assert stream == 99
            if self._tensorrt.refuses == "run":
                return False
            driver = self._tensorrt.driver
            if driver.recording is None:
                self._run(addresses)
            else:
                driver.recording.append(lambda: self._run(addresses))
            return True

        if self._tensorrt.refuses == "context":
            return None
        return types.SimpleNamespace(set_tensor_address=set_address, execute_async_v3=execute)

    def _run(self, addresses: dict[str, int]) -> None:
        buffers = self._tensorrt.driver.buffers
        arrays = {
            name: np.frombuffer(buffers[addresses[name]], np.float32).reshape(shape)
            for name, shape in self._shapes.items()
        }
        names = [output.name for output in self.session.get_outputs()]
        inputs = {name: array for name, array in arrays.items() if name not in names}
        for name, value in zip(names, self.session.run(names, inputs), strict=True):
            arrays[name][...] = np.asarray(value) + (self._facts["offset_m"] if name == "points_m" else 0.0)
