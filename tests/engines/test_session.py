"""Opening networks: the answers are numpy's, and each way in which an engine can be missing or wrong is refused."""

from __future__ import annotations

import logging
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from binopose.calibration.errors import UserError
from binopose.engines import cuda_driver, onnx_session
from binopose.engines.cuda_driver import Gpu
from binopose.engines.engine import OpenRequest, fitting_arrays, require_ports, run_in_batches
from binopose.engines.model_file import ModelFileError, require_kind, require_skeleton
from binopose.engines.onnx_session import conflict, engine_cache_key, open_onnx, require_gpu_provider
from binopose.engines.session import EngineChoice, EngineFailed, EngineUnavailable, open_session
from binopose.models.skeleton import BODY17, COCO17

from .fake_nvidia import FakeDriver
from .small_networks import answers, denoiser_network, make_card, samples, write_network
from .test_rtmpose import colour_network

GPU = Gpu("NVIDIA Test 9", "580.65", "9.0")


def assert_answers(found: dict[str, np.ndarray], inputs: dict[str, np.ndarray]) -> None:
    expected = answers(inputs)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("batch", ["batch", 1, 3])
def test_arrays_in_arrays_out_by_name(batch: int | str, tmp_path: Path) -> None:
    opened = open_session(write_network(tmp_path / "net.onnx", batch=batch), "cpu")
    inputs = samples(3, seed=5)
    assert_answers(run_in_batches(opened, inputs), inputs)
    assert (opened.device, opened.engine.split()[0]) == ("cpu", "onnxruntime")
    assert [port.name for port in opened.outputs] == ["points_m", "sigma_m", "epipolar_px"]
    assert opened.inputs[0].shape == (None if batch == "batch" else batch, 17, 2)
    assert opened.card is not None
    assert (opened.card.steps, opened.card.skeleton) == (1, BODY17.joints)


def test_any_batch_may_be_cut_into_smaller_ones(tmp_path: Path) -> None:
    opened = open_session(write_network(tmp_path / "net.onnx"), "cpu")
    inputs = samples(5, seed=7)
    for at_once in (1, 2, 5, None):
        assert_answers(run_in_batches(opened, inputs, at_once), inputs)


def test_float64_and_strided_inputs_are_taken(tmp_path: Path) -> None:
    opened = open_session(write_network(tmp_path / "net.onnx"), "cpu")
    inputs = samples(4, seed=6)
    wide = {name: np.repeat(array.astype(np.float64), 2, axis=0)[::2] for name, array in inputs.items()}
    assert_answers(opened.run(wide), inputs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"left_px": np.zeros((3, 16, 2))}, r"left_px \(any, 17, 2\), got \(3, 16, 2\)"),
        ({"left_px": np.zeros((2, 17, 2))}, "one batch in all inputs"),
        ({"extra": np.zeros(3)}, "expected the inputs"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    opened = open_session(write_network(tmp_path / "net.onnx"), "cpu")
    with pytest.raises(ValueError, match=message):
        fitting_arrays(opened.inputs, samples() | change)
    with pytest.raises(ValueError, match=message):
        opened.run(samples() | change)


# --- files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"<html>404</html>", "ONNX Runtime cannot load it"),
        (denoiser_network()[:900], "ONNX Runtime cannot load it"),
        (denoiser_network(metadata=make_card().to_metadata() | {"binopose.format": "2"}), 'format "2"'),
        (denoiser_network(metadata=make_card().to_metadata() | {"binopose.reference": "AAAA"}), "damaged"),
        (denoiser_network(metadata=make_card().to_metadata() | {"binopose.reference": "?"}), "damaged"),
        (denoiser_network(metadata=make_card().to_metadata() | {"binopose.steps": "many"}), "damaged"),
        (denoiser_network(metadata=make_card().to_metadata() | {"binopose.kind": "cake"}), 'found "cake"'),
        (denoiser_network(metadata={"binopose.format": "1"}), "lacks binopose.kind"),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_wrong_file_is_named(content: bytes, message: str, device: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=message) as caught:
        open_session(path, device)
    assert "wrong.onnx" in str(caught.value)


def test_unknown_device_and_suffix_and_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='expected one of auto, cpu, cuda, tensorrt, found "tpu"'):
        open_session(tmp_path / "net.onnx", "tpu")
    with pytest.raises(ModelFileError, match=r"\.onnx or \.engine"):
        open_session(tmp_path / "net.pth")
    with pytest.raises(ModelFileError, match="no such file"):
        open_session(tmp_path / "net.onnx")


def test_another_model_than_the_caller_can_use_is_named(tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx", batch=2)
    opened = open_session(path, "cpu")
    card = require_kind(path, opened.card, "denoiser")
    require_skeleton(path, card, BODY17)
    require_ports(path, opened.outputs, {"points_m": (17, 3), "sigma_m": (17, 3), "epipolar_px": (17,)})
    with pytest.raises(ModelFileError, match="expected a detector, found a denoiser"):
        require_kind(path, card, "detector")
    with pytest.raises(ModelFileError, match="without its description"):
        require_kind(path, None, "denoiser")
    with pytest.raises(ModelFileError, match='joint 0 is "RightAnkle" instead of "Nose"'):
        require_skeleton(path, card, COCO17)
    with pytest.raises(ModelFileError, match="it has 16"):
        require_skeleton(path, make_card(skeleton=BODY17.joints[:16]), BODY17)
    with pytest.raises(ModelFileError, match=r"found points_m \(2, 17, 3\)"):
        require_ports(path, opened.outputs, {"points_m": (26, 3), "sigma_m": (26, 3), "epipolar_px": (26,)})


# --- the runtime


def test_missing_runtime_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_network(tmp_path / "net.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineUnavailable, match=r"pip install 'binopose\[cpu\]'"):
        open_session(path, "cpu")


def test_half_installed_runtime_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_network(tmp_path / "net.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", types.ModuleType("onnxruntime"))
    with pytest.raises(EngineUnavailable, match="only half installed"):
        open_session(path, "cpu")


def test_two_runtimes_side_by_side_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert conflict({"onnxruntime": "1.31.1"}) is None
    assert "pip uninstall -y onnxruntime &&" in str(conflict({"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.30"}))
    # Distributions as pip leaves them on disk.
    for name in ("onnxruntime", "onnxruntime_gpu"):
        folder = tmp_path / f"{name}-9.9.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 9.9\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    onnx_session._warn_of_conflict.cache_clear()
    path = write_network(tmp_path / "net.onnx")
    for _ in range(2):
        open_session(path, "cpu")
    onnx_session._warn_of_conflict.cache_clear()
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "onnxruntime 9.9 and onnxruntime-gpu 9.9 are installed side by side" in warnings[0]


# --- devices


class NoLibrary:
    """Stands for `open_library` on a machine where these libraries are missing."""

    def __init__(self, *missing: str) -> None:
        self.missing = missing

    def __call__(self, name: str) -> Any:
        for missing in self.missing:
            raise OSError(f"{missing}: cannot open shared object file: No such file or directory")
        return types.SimpleNamespace()


class StandInRuntime:
    """ONNX Runtime's real sessions, with the providers of the GPU build compiled in and nothing behind them."""

    def __init__(self, runtime: Any, falls_back: bool = True) -> None:
        self._runtime, self._falls_back = runtime, falls_back
        self.__version__, self.__file__ = runtime.__version__, runtime.__file__
        self.SessionOptions, self.OrtValue = runtime.SessionOptions, runtime.OrtValue

    def get_available_providers(self) -> list[str]:
        return ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

    def InferenceSession(self, content: bytes, options: Any, providers: Any, enable_fallback: int) -> Any:
        assert enable_fallback == 0
        self.asked_for = providers
        opened = self._runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        if not self._falls_back:
            names = [name for name, _ in providers]
            opened.get_providers = lambda: names
        return opened


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_driver, "open_library", NoLibrary("libcuda.so.1"))


@pytest.mark.usefixtures("no_driver")
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_device_that_is_not_there_names_the_missing_library(device: str, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=rf"--device {device}: no NVIDIA driver: libcuda\.so\.1"):
        open_session(write_network(tmp_path / "net.onnx"), device)


@pytest.mark.usefixtures("no_driver")
def test_auto_takes_what_works_and_says_why_not_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    opened = EngineChoice().open(write_network(tmp_path / "net.onnx"))
    assert opened.device == "cpu"
    said = [record.message for record in caplog.records]
    for device in ("tensorrt", "cuda"):
        assert any(f"not on {device}: no NVIDIA driver" in line for line in said)


@pytest.mark.usefixtures("no_driver")
def test_auto_lists_every_reason_when_nothing_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_network(tmp_path / "net.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineUnavailable, match="no engine can run") as caught:
        open_session(path)
    assert list(caught.value.reasons) == ["tensorrt", "cuda", "cpu"]


def with_gpu(monkeypatch: pytest.MonkeyPatch, *missing: str, falls_back: bool = True) -> StandInRuntime:
    """Make the program see a GPU, and a GPU build of ONNX Runtime that lacks some libraries."""
    import onnxruntime

    runtime = StandInRuntime(onnxruntime, falls_back)
    monkeypatch.setattr(onnx_session, "load_runtime", lambda: runtime)
    monkeypatch.setattr(onnx_session, "read_gpu", lambda: GPU)
    monkeypatch.setattr(onnx_session, "open_library", NoLibrary(*missing))
    return runtime


def test_runtime_for_the_cpu_alone_says_which_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = with_gpu(monkeypatch)
    monkeypatch.setattr(runtime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(onnx_session, "installed_distributions", lambda: {"onnxruntime": "1.31.1"})
    with pytest.raises(EngineUnavailable, match=r"cannot use NVIDIA GPUs: .*'binopose\[gpu\]'"):
        require_gpu_provider(runtime, "cuda")
    both = {"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"}
    monkeypatch.setattr(onnx_session, "installed_distributions", lambda: both)
    with pytest.raises(EngineUnavailable, match=r"cannot use NVIDIA GPUs: .* side by side"):
        require_gpu_provider(runtime, "cuda")


@pytest.mark.parametrize(("device", "library"), [("cuda", "libcublasLt.so.13"), ("tensorrt", "libnvinfer.so.10")])
def test_half_installed_provider_names_the_missing_library(
    device: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpu(monkeypatch, library)
    with pytest.raises(EngineUnavailable, match=f"a library is missing: {library}.*pip install"):
        open_session(write_network(tmp_path / "net.onnx"), device)


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_silent_fallback_is_refused(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpu(monkeypatch, falls_back=True)
    with pytest.raises(EngineUnavailable, match=f"was to run on {device} but took CPUExecutionProvider"):
        open_session(write_network(tmp_path / "net.onnx"), device)


def request(path: Path, device: Any, cache_dir: Path | None = None) -> OpenRequest:
    return OpenRequest(path, path.read_bytes(), device, 1, cache_dir)


def test_gpu_sessions_bind_their_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime's real binding, in the CPU's memory instead of the GPU's: also when the batch changes."""
    with_gpu(monkeypatch, falls_back=False)
    opened = open_onnx(request(write_network(tmp_path / "net.onnx"), "cuda"))
    assert (opened.device, opened.hardware) == ("cuda", GPU.name)
    assert opened._binding is not None
    opened._binding._memory = "cpu"
    for count, seed in ((3, 1), (3, 2), (5, 3), (3, 4)):
        assert_answers(opened.run(samples(count, seed)), samples(count, seed))


def test_gpu_providers_compute_in_full_precision_and_keep_their_engines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    runtime = with_gpu(monkeypatch, falls_back=False)
    path = write_network(tmp_path / "net.onnx")
    open_onnx(request(path, "tensorrt", tmp_path / "cache"))
    options = dict(runtime.asked_for)
    assert list(options) == ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    assert options["CUDAExecutionProvider"] == {"use_tf32": "0"}
    tensorrt = options["TensorrtExecutionProvider"]
    assert tensorrt["trt_fp16_enable"] == "0"
    assert tensorrt["trt_engine_cache_path"] == tensorrt["trt_timing_cache_path"]
    folder = Path(tensorrt["trt_engine_cache_path"])
    assert folder.is_dir()
    assert folder.parent == tmp_path / "cache" / "engines"
    assert "TensorRT now builds an engine, once" in caplog.text
    caplog.clear()
    (folder / "TensorrtExecutionProvider_0.engine").write_bytes(b"")
    open_onnx(request(path, "tensorrt", tmp_path / "cache"))
    assert caplog.text == ""
    open_onnx(request(path, "tensorrt"))
    assert "trt_engine_cache_path" not in dict(runtime.asked_for)["TensorrtExecutionProvider"]


def test_networks_of_others_are_compared_with_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bare RTMPose brings no reference: on a GPU it has to answer as on the CPU."""
    caplog.set_level(logging.INFO)
    with_gpu(monkeypatch, falls_back=False)
    path = tmp_path / "colours.onnx"
    path.write_bytes(colour_network(17))
    monkeypatch.setattr(onnx_session._GpuBinding, "run", lambda self, arrays: self._session.run(None, arrays))
    assert open_session(path, "cuda").device == "cuda"
    assert any("agrees with the reference" in record.message for record in caplog.records)
    monkeypatch.setattr(
        onnx_session._GpuBinding,
        "run",
        lambda self, arrays: [np.roll(one, 7, axis=-1) for one in self._session.run(None, arrays)],
    )
    with pytest.raises(EngineUnavailable, match=r"simcc_x 3\.5 px \(at most 1 px\)"):
        open_session(path, "cuda")


def test_engine_cache_is_keyed_by_file_gpu_driver_and_runtime() -> None:
    base = engine_cache_key(b"file", GPU, "1.31")
    assert base == engine_cache_key(b"file", GPU, "1.31")
    others = [
        engine_cache_key(b"file2", GPU, "1.31"),
        engine_cache_key(b"file", Gpu("NVIDIA Test 8", GPU.driver, GPU.capability), "1.31"),
        engine_cache_key(b"file", Gpu(GPU.name, "581.00", GPU.capability), "1.31"),
        engine_cache_key(b"file", Gpu(GPU.name, GPU.driver, "8.9"), "1.31"),
        engine_cache_key(b"file", GPU, "1.32"),
    ]
    assert len({base, *others}) == 6
    assert set(base) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def test_full_gpu_memory_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpu(monkeypatch, falls_back=False)
    opened = open_onnx(request(write_network(tmp_path / "net.onnx"), "cuda"))

    def fail(_: Any) -> None:
        raise RuntimeError("CUDA failure 2: out of memory ; GPU=0")

    assert opened._binding is not None
    monkeypatch.setattr(opened._binding, "run", fail)
    with pytest.raises(EngineFailed, match=r"the memory of NVIDIA Test 9 is full.*smaller batch"):
        opened.run(samples())


def test_failure_on_the_gpu_while_proving_leads_auto_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with_gpu(monkeypatch, falls_back=False)
    monkeypatch.setattr(
        onnx_session._GpuBinding, "run", lambda *_: (_ for _ in ()).throw(RuntimeError("out of memory"))
    )
    assert open_session(write_network(tmp_path / "net.onnx")).device == "cpu"
    assert sum("the memory of NVIDIA Test 9 is full" in record.message for record in caplog.records) == 2


# --- the driver


def test_driver_tells_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_driver, "open_library", NoLibrary("libnvidia-ml.so.1"))
    assert cuda_driver.read_gpu(FakeDriver()) == Gpu("NVIDIA Test 9", "cuda-13.1", "9.0")


@pytest.mark.parametrize(("status", "message"), [(100, "finds no GPU"), (803, r"a mismatch \(error 803\)")])
def test_driver_that_does_not_work_is_named(status: int, message: str) -> None:
    with pytest.raises(EngineUnavailable, match=message):
        cuda_driver.load_driver(FakeDriver(status))
