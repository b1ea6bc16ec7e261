"""The check passes what it should, above all what is shipped, and nothing else."""

# ruff: noqa: E402  what is imported below needs torch
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from binopose.calibration.triangulate import triangulate
from binopose.engines.denoiser import SkeletonDenoiser
from binopose.engines.dual_diffusion import DualDiffusionDenoiser
from binopose.engines.engine import Device, Port, Session
from binopose.engines.model_file import ModelCard
from binopose.engines.session import open_session
from binopose.models.bone_lengths import LearntLengths
from binopose.models.skeleton import BODY17
from binopose.models.trained import WEIGHTS, denoiser_files

from ..conftest import need_torch

need_torch()
pytest.importorskip("onnx")

import torch
from binopose.app.pipeline import lift
from binopose.export import check
from binopose.export.onnx import export_denoiser
from binopose.models.denoiser_ports import DENOISER_OUTPUTS
from binopose.models.diffusion import detector_schedule
from binopose.models.epipolar import RowStatistics
from binopose.models.nets.denoiser import Denoiser, Observation
from binopose.models.nets.fused import random_inputs
from binopose.models.nets.weights_file import load_weights
from binopose.tools.datasets.benchmark import load_benchmark

from .random_denoiser import random_denoiser, write_weights

LARGEST_FILE_MB = 8
STEPS = (1, 2, 5)


@pytest.fixture(scope="module")
def network() -> Denoiser:
    return random_denoiser()


@pytest.fixture(scope="module")
def weights(network: Denoiser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "denoiser.npz", network)


@pytest.fixture(scope="module")
def exported(network: Denoiser, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exports") / "denoiser.onnx"
    export_denoiser(network, 1, path, weights, "a run")
    return path


class Altered:
    """A session whose answers are changed before anybody sees them: one number of one output."""

    def __init__(self, session: Session, output: str, value: float) -> None:
        self._session, self._output, self._value = session, output, value
        self.engine, self.hardware = session.engine, session.hardware
        self.device: Device = session.device
        self.inputs: tuple[Port, ...] = session.inputs
        self.outputs: tuple[Port, ...] = session.outputs
        self.card: ModelCard | None = session.card

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        answers = self._session.run(arrays)
        answers[self._output].reshape(-1)[-1] += self._value
        return answers

    def close(self) -> None:
        self._session.close()


def test_the_right_export_passes(weights: Path, exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([str(weights), str(exported)]) == 0
    assert "largest difference 0.00" in capsys.readouterr().out


@pytest.mark.parametrize("output", DENOISER_OUTPUTS)
@pytest.mark.parametrize("value", [np.nan, np.inf, 2e-3])
def test_a_single_wrong_number_never_passes(output: str, value: float, network: Denoiser, exported: Path) -> None:
    session = open_session(exported, "cpu")
    inputs = random_inputs(60, seed=4)
    assert check.compare(network, 1, Altered(session, output, 0.0), inputs).acceptable
    assert not check.compare(network, 1, Altered(session, output, value), inputs).acceptable


def test_an_answer_that_is_no_number_in_float64_either_does_not_pass(exported: Path) -> None:
    broken = random_denoiser()
    with torch.no_grad():
        broken.joint[3] = torch.nan
    assert not check.compare(broken, 1, open_session(exported, "cpu"), random_inputs(20, seed=4)).acceptable


@pytest.mark.parametrize("part", ["points", "sigma", "embed"])
def test_a_graph_of_slightly_changed_weights_fails(
    part: str, network: Denoiser, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = Denoiser(network.config)
    changed.load_state_dict(network.state_dict())
    layer = changed.get_submodule(part)
    linear = layer if isinstance(layer, torch.nn.Linear) else layer.get_submodule("linear")
    assert isinstance(linear, torch.nn.Linear)
    with torch.no_grad():
        linear.weight[0, 0] += 0.02
    # Its card claims to be from the true weights, and its own reference answers agree with it.
    export_denoiser(changed, 1, tmp_path / "changed.onnx", weights, "a run")
    assert check.main([str(weights), str(tmp_path / "changed.onnx")]) == 3
    assert "expected at most 0.01 mm" in capsys.readouterr().err


def test_one_bad_file_among_good_ones_fails(network: Denoiser, weights: Path, exported: Path, tmp_path: Path) -> None:
    changed = Denoiser(network.config)
    changed.load_state_dict({name: 1.01 * value for name, value in network.state_dict().items()})
    export_denoiser(changed, 1, tmp_path / "changed.onnx", weights, "a run")
    assert check.main([str(weights), str(tmp_path / "changed.onnx"), str(exported)]) == 3


def test_other_weights_are_refused(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_weights(tmp_path / "other.npz", random_denoiser(seed=1))
    assert check.main([str(other), str(exported)]) == 2
    said = capsys.readouterr().err
    assert "exported from weights with sha256" in said
    assert "export it again" in said


def test_bad_files(weights: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cut.onnx").write_bytes(exported.read_bytes()[:5000])
    for arguments, said in (
        ((tmp_path / "none.npz", exported), "none.npz: no such file"),
        ((exported, exported), "cannot be read as denoiser weights"),
        ((weights, tmp_path / "none.onnx"), "none.onnx: no such file"),
        ((weights, tmp_path / "cut.onnx"), "cut.onnx"),
    ):
        assert check.main([str(path) for path in arguments]) == 2
        assert said in capsys.readouterr().err


# --- what is shipped


def test_shipped_exports_are_the_shipped_weights(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = denoiser_files()
    assert tuple(files) == STEPS
    assert all(path.stat().st_size < LARGEST_FILE_MB * 1e6 for path in (*files.values(), WEIGHTS))
    monkeypatch.setattr(check, "SAMPLES", 100)
    monkeypatch.setattr(check, "TIMED_RUNS", 1)
    assert check.main([str(WEIGHTS), *map(str, files.values())]) == 0, capsys.readouterr()
    for steps, path in files.items():
        card = open_session(path, "cpu").card
        assert card is not None
        assert card.steps == steps


@pytest.mark.parametrize("name", ["mhad_s08", "h36m_s9"])
@pytest.mark.parametrize("steps", [1, 5])
def test_on_real_detections_torch_and_the_program_give_the_same_figures(
    name: str, steps: int, shared_data: Path
) -> None:
    """To a hundredth of a millimetre: through the engine with its conditions as the program gathers them, and in
    float64 torch with conditions gathered here; both pulled toward the bone lengths in the end."""
    benchmark = load_benchmark(shared_data / "benchmark" / f"{name}.npz")
    path = denoiser_files()[steps]
    denoiser = DualDiffusionDenoiser(open_session(path, "cpu"), path, SkeletonDenoiser())
    rows, lengths, skeleton = RowStatistics(), LearntLengths(BODY17), SkeletonDenoiser()
    network = load_weights(WEIGHTS)[0].double()
    errors_m = []
    for number in range(0, 300, 5):
        sample = benchmark.rectified(number)
        rig, views = sample.rig, (sample.left, sample.right)
        raw, _ = lift(rig, rows, *views, number / 30)
        assert raw is not None
        found_m = denoiser.denoise(rig, *views, raw).points_m
        lengths.observe(triangulate(rig, sample.left.points_px, sample.right.points_px), raw.confidence)
        left, right = (
            torch.tensor((view.points_px - centre_px) / rig.focal_px)[None]
            for view, centre_px in zip(views, rig.centres_px, strict=True)
        )
        told = (raw.confidence, np.array(rig.baseline_m), lengths.settled_m)
        confidence, baseline_m, lengths_m = (torch.tensor(value)[None] for value in told)
        with torch.no_grad():
            estimate = network.denoise(
                left, right, Observation(confidence, baseline_m, lengths_m), detector_schedule(steps)
            )
        expected_m, sigma_m = (value[0].numpy() for value in estimate)
        skeleton.denoise(rig, *views, raw)
        if lengths.settled_m.any():
            expected_m = skeleton.settle(expected_m, sigma_m)
        truth_m = sample.world_from_rectified.inverse().apply(benchmark.truth_m[number])
        errors_m.append([np.linalg.norm(points_m - truth_m, axis=-1) for points_m in (found_m, expected_m)])
    found_mm, expected_mm = 1e3 * np.mean(errors_m, axis=0)  # (J,) each
    assert 10 < expected_mm.mean() < 60
    assert abs(found_mm.mean() - expected_mm.mean()) < 0.01
    assert np.abs(found_mm - expected_mm).max() < 0.01
