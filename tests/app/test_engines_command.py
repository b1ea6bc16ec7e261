"""`binopose engines` and the option --device: what works is said, what does not is refused with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from binopose.app import factory
from binopose.app.main import main
from binopose.app.processing import devices_used
from binopose.app.simulation.virtual_rig import virtual_rig
from binopose.calibration.rectify import Rectifier
from binopose.engines import cuda_driver
from binopose.engines.session import EngineUnavailable

from ..engines.small_networks import write_network


@pytest.fixture(autouse=True)
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same machine everywhere: one without a GPU."""

    def missing(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(cuda_driver, "open_library", missing)


def test_every_device_is_listed_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engines"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["cpu", "cuda", "tensorrt"]
    assert "works: this processor, onnxruntime" in said[0]
    assert all("no: no NVIDIA driver" in line for line in said[1:])


def test_a_model_is_tried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = write_network(tmp_path / "good.onnx"), write_network(tmp_path / "bad.onnx", offset_m=0.01)
    assert main(["engines", str(good), "--device", "cpu"]) == 0
    assert "agrees with the file" in capsys.readouterr().out
    assert main(["engines", str(bad)]) == 2
    assert "points_m 10 mm (at most 1 mm)" in capsys.readouterr().out
    assert main(["engines", str(tmp_path / "none.onnx")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_blazepose_on_a_gpu_is_refused_with_what_to_take_instead(blazepose_weights: Path) -> None:
    rectifier = Rectifier(virtual_rig())
    with pytest.raises(EngineUnavailable, match="--device cuda: the detector blazepose runs on the CPU alone"):
        factory.open_detector("blazepose", rectifier, factory.engine_choice("cuda"))
    detector = factory.open_detector("blazepose", rectifier, factory.engine_choice())
    assert detector.device == "cpu"
    detector.close()


def test_summary_says_where_the_networks_ran() -> None:
    class Part:
        def __init__(self, device: str) -> None:
            self.device = device

    class Parts:
        def __init__(self, detector: str, denoiser: str) -> None:
            self.detector, self.denoiser = Part(detector), Part(denoiser)

    same: Any = Parts("cpu", "cpu")
    mixed: Any = Parts("cuda", "cpu")
    assert devices_used(same) == "cpu"
    assert devices_used(mixed) == "cuda (detector), cpu (denoiser)"
