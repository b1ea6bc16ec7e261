"""Everything around TensorRT, which itself is not here: building, files, the order of calls, and each refusal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from binopose.engines import cuda_driver
from binopose.engines.engine import EngineFailed, EngineUnavailable
from binopose.engines.engine_file import EngineFile
from binopose.engines.model_file import ModelFileError
from binopose.engines.parity import EngineInexact
from binopose.engines.session import open_session
from binopose.export import tensorrt as export
from binopose.export.tensorrt import BuildOptions, build_engine, write_engine

from .fake_nvidia import FakeDriver, FakeTensorRt
from .small_networks import denoiser_network, samples, write_network
from .test_session import assert_answers


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    """A machine with a GPU and its driver."""
    driver = FakeDriver()

    def load(name: str) -> Any:
        if name == cuda_driver.DRIVER_LIBRARY:
            return driver
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(cuda_driver, "open_library", load)
    return driver


def install(monkeypatch: pytest.MonkeyPatch, driver: FakeDriver, **options: Any) -> FakeTensorRt:
    tensorrt = FakeTensorRt(driver, **options)
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt)
    return tensorrt


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch, driver: FakeDriver) -> FakeTensorRt:
    return install(monkeypatch, driver)


@pytest.fixture
def engine(tensorrt: FakeTensorRt, tmp_path: Path) -> Path:
    """An engine built on this machine, proven."""
    path = tmp_path / "net.engine"
    write_engine(write_network(tmp_path / "net.onnx"), path, BuildOptions())
    return path


@pytest.mark.parametrize("batch", [1, 2])
def test_engine_answers_as_the_network_did_and_replays_its_graph(
    batch: int, tensorrt: FakeTensorRt, driver: FakeDriver, tmp_path: Path
) -> None:
    path = tmp_path / "net.engine"
    write_engine(write_network(tmp_path / "net.onnx"), path, BuildOptions(batch=batch))
    assert [file.name for file in tmp_path.glob("*.engine")] == ["net.engine"]
    for device in ("tensorrt", "auto"):
        opened = open_session(path, device)
        assert (opened.device, opened.hardware) == ("tensorrt", "NVIDIA Test 9")
        assert opened.engine == "tensorrt 10.16.1 (fp32)"
        before = driver.replays
        for seed in range(3):
            inputs = samples(batch, seed)
            assert_answers(opened.run(inputs), inputs)
        assert driver.replays == before + 3
        opened.close()
        opened.close()
    assert (driver.buffers, driver.contexts, driver.streams) == ({}, 0, 0)
    assert "TF32" not in tensorrt.flags


def test_network_that_cannot_be_recorded_runs_all_the_same(engine: Path, driver: FakeDriver) -> None:
    driver.captures, before = False, driver.replays
    opened = open_session(engine)
    for seed in range(3):
        assert_answers(opened.run(samples(1, seed)), samples(1, seed))
    assert driver.replays == before


def test_engine_without_a_description_is_refused(engine: Path) -> None:
    file = EngineFile.from_bytes(engine, engine.read_bytes())
    engine.write_bytes(EngineFile(file.plan, {}, file.build).to_bytes())
    with pytest.raises(ModelFileError, match="does not say which model"):
        open_session(engine)


def test_half_precision_is_kept_only_when_it_is_exact_enough(
    monkeypatch: pytest.MonkeyPatch, driver: FakeDriver, tmp_path: Path
) -> None:
    network = write_network(tmp_path / "net.onnx")
    half = BuildOptions("fp16")
    install(monkeypatch, driver, half_offset_m=0.0005)
    write_engine(network, tmp_path / "good.engine", half)
    assert open_session(tmp_path / "good.engine").engine == "tensorrt 10.16.1 (fp16)"
    install(monkeypatch, driver, half_offset_m=0.006)
    with pytest.raises(EngineInexact, match=r"points_m 10\.4 mm \(at most 1 mm\)"):
        write_engine(network, tmp_path / "bad.engine", half)
    assert not list(tmp_path.glob("*bad*"))
    write_engine(network, tmp_path / "full.engine", BuildOptions())


def test_timings_are_kept_between_builds(tensorrt: FakeTensorRt, tmp_path: Path) -> None:
    network = write_network(tmp_path / "net.onnx")
    options = BuildOptions(cache_dir=tmp_path / "cache")
    build_engine(network, options)
    (stored,) = (tmp_path / "cache" / "engines").glob("*.timing")
    assert stored.read_bytes() == b"!"
    build_engine(network, options)
    assert stored.read_bytes() == b"!!"
    tensorrt.__version__ = "10.9.0"
    build_engine(network, options)
    assert len(list((tmp_path / "cache" / "engines").glob("*.timing"))) == 2


@pytest.mark.parametrize(
    ("refuses", "error", "message"),
    [
        ("network", EngineFailed, "cannot read this network: .*UNSUPPORTED_NODE: K > 3840"),
        ("build", EngineFailed, "cannot build an engine: could not find any implementation"),
        ("engine", EngineUnavailable, "refuses the engine: Serialization assertion.*build it here"),
        ("context", EngineFailed, "cannot set up the engine"),
        ("memory", EngineFailed, "refuses the memory"),
        ("run", EngineFailed, "the engine does not run"),
    ],
)
def test_what_tensorrt_refuses_is_said(
    refuses: str, error: type[Exception], message: str, tensorrt: FakeTensorRt, driver: FakeDriver, tmp_path: Path
) -> None:
    tensorrt.refuses = refuses
    with pytest.raises(error, match=message):
        write_engine(write_network(tmp_path / "net.onnx"), tmp_path / "net.engine", BuildOptions())
    assert not list(tmp_path.glob("*.engine"))
    assert (driver.buffers, driver.contexts, driver.streams) == ({}, 0, 0)


def test_engine_runs_on_tensorrt_alone(engine: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"not on cpu; take the \.onnx file"):
        open_session(engine, "cpu")


@pytest.mark.parametrize(
    ("found", "here", "message"),
    [
        (b"NVIDIA Test 9", b"NVIDIA Test 8", r"GPU NVIDIA Test 8 \(here NVIDIA Test 9\)"),
        (b'"10.16.1"', b'"10.9.0"', r"TensorRT 10\.9\.0 \(here 10\.16\.1\)"),
        (b'"9.0"', b'"8.9"', r"compute capability 8\.9 \(here 9\.0\)"),
    ],
)
def test_engine_of_another_gpu_or_version_is_named(found: bytes, here: bytes, message: str, engine: Path) -> None:
    file = EngineFile.from_bytes(engine, engine.read_bytes())
    facts = {"gpu": file.build.gpu, "tensorrt": file.build.tensorrt, "capability": file.build.capability}
    changed = {
        key: here.strip(b'"').decode() if value == found.strip(b'"').decode() else value for key, value in facts.items()
    }
    build = type(file.build)(**changed, precision="fp32", batch=1)
    engine.write_bytes(EngineFile(file.plan, file.metadata, build).to_bytes())
    with pytest.raises(EngineUnavailable, match=rf"built for {message}; build it here"):
        open_session(engine, "tensorrt")


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_torn_engine_file_is_named(keep: float, engine: Path) -> None:
    content = engine.read_bytes()
    engine.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(ModelFileError, match="damaged or another"):
        open_session(engine, "tensorrt")


def test_flipped_bit_in_an_engine_file_is_noticed(engine: Path) -> None:
    content = bytearray(engine.read_bytes())
    content[len(content) // 2] ^= 4
    engine.write_bytes(bytes(content))
    with pytest.raises(ModelFileError, match="damaged or another"):
        open_session(engine, "tensorrt")


@pytest.mark.parametrize(
    ("version", "message"), [("11.4.0", "expected TensorRT 10.x, found 11.4.0"), ("8.6.1", "8.6.1")]
)
def test_other_versions_of_tensorrt_are_refused(
    version: str, message: str, engine: Path, monkeypatch: pytest.MonkeyPatch, driver: FakeDriver
) -> None:
    install(monkeypatch, driver, version=version)
    with pytest.raises(EngineUnavailable, match=message):
        open_session(engine, "tensorrt")


def test_missing_and_half_installed_tensorrt_is_named(
    engine: Path, monkeypatch: pytest.MonkeyPatch, tensorrt: FakeTensorRt
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineUnavailable, match=r"tensorrt cannot be imported.*tensorrt-cu13==10"):
        open_session(engine, "tensorrt")
    stub = type(sys)("tensorrt")
    stub.__version__ = "10.16.1"  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "tensorrt", stub)
    with pytest.raises(EngineUnavailable, match="only half installed"):
        open_session(engine, "tensorrt")


def test_driver_is_asked_before_tensorrt(engine: Path, driver: FakeDriver) -> None:
    driver.status = 100
    with pytest.raises(EngineUnavailable, match="finds no GPU"):
        open_session(engine, "tensorrt")


def test_full_gpu_memory_is_said_and_nothing_kept(engine: Path, driver: FakeDriver) -> None:
    driver.memory_bytes = 300
    with pytest.raises(EngineFailed, match="the GPU's memory is full"):
        open_session(engine, "tensorrt")
    assert (driver.buffers, driver.contexts, driver.streams) == ({}, 0, 0)


# --- the command


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"<html>", [], "expected an ONNX network"),
        (denoiser_network(metadata={}), [], "found a network without description"),
        (denoiser_network(), ["--batch", "0"], "--batch: expected 1 to 4096, found 0"),
        (denoiser_network(batch=2), [], "takes batches of 2, not 1"),
        (denoiser_network(), ["-o", "net.plan"], "a name ending in .engine"),
    ],
)
def test_command_refuses_what_it_cannot_build(
    content: bytes, options: list[str], message: str, tensorrt: FakeTensorRt, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    assert export.main([str(tmp_path / "net.onnx"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("*.engine"))


def test_command_writes_the_engine_beside_the_model(tensorrt: FakeTensorRt, tmp_path: Path, capsys: Any) -> None:
    write_network(tmp_path / "net.onnx")
    assert export.main([str(tmp_path / "net.onnx"), "--fp16", "--batch", "2"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "net.engine")
    build = EngineFile.from_bytes(tmp_path / "net.engine", (tmp_path / "net.engine").read_bytes()).build
    assert (build.precision, build.batch, build.tensorrt) == ("fp16", 2, "10.16.1")


def test_command_without_a_gpu_says_so(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(cuda_driver, "open_library", nothing)
    write_network(tmp_path / "net.onnx")
    assert export.main([str(tmp_path / "net.onnx")]) == 2
    assert "no NVIDIA driver: libcuda.so.1" in capsys.readouterr().err
