"""Training runs of a few steps: what they leave, that they continue exactly, and what they refuse."""

# ruff: noqa: E402  what is imported below needs torch
from __future__ import annotations

import csv
import dataclasses
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from binopose.calibration.errors import UserError

from ..conftest import need_torch
from .motion_file import write_motion

need_torch()

import torch
from binopose.models.nets.denoiser import PAPER, Denoiser, DenoiserConfig, Estimate, Observation
from binopose.models.nets.weights_file import load_weights
from binopose.tools import train
from binopose.tools.simulation.motion import MotionData
from binopose.tools.simulation.observe import Samples
from binopose.tools.training.config import ConfigError, Optimisation, load_config
from binopose.tools.training.objective import Losses, losses
from binopose.tools.training.trainer import Place, Trainer
from binopose.tools.training.validation import load_views, score_samples, score_views

CONFIG = """
motion = "motion.npz"
validate_every = 2
keep_every = 2

[network]
width = 16
layers = 1
heads = 2
hidden = 16

[training]
steps = 5
batch = 16
warmup = 2
precision = "fp32"
seed = 3
"""
HERE = Place(0, 1, torch.device("cpu"))


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "SIMULATED_SAMPLES", 64)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_motion(tmp_path / "motion.npz")
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return path


def run(config: Path, folder: Path, *more: str) -> int:
    return train.main([str(config), "-o", str(folder), "--device", "cpu", "--threads", "1", *more])


def new_trainer(config: Path) -> Trainer:
    loaded = load_config(config)
    return Trainer(loaded, MotionData(loaded.motion), HERE)


def with_settings(config: Path, old: str, new: str) -> Path:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))
    return config


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_weights(folder / "denoiser.npz")[0].state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def on_step(monkeypatch: pytest.MonkeyPatch, step: int, do: Callable[[], None]) -> None:
    """Something happens in the middle of a step of whatever trainer comes."""
    advance = Trainer.advance

    def advanced(trainer: Trainer) -> Losses:
        if trainer.step == step:
            do()
        return advance(trainer)

    monkeypatch.setattr(Trainer, "advance", advanced)


def log_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# --- whole runs


def test_run_leaves_weights_log_curves_and_what_it_was(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert run(config, folder) == 0
    names = {"checkpoint.pt", "curves.png", "denoiser.npz", "log.csv", "run.json"}
    assert {path.name for path in folder.iterdir()} == names
    rows = log_of(folder)
    assert [row["step"] for row in rows] == ["2", "4", "5"]
    assert all(float(row["simulated mpjpe_mm"]) > 0 and float(row["loss total"]) > 0 for row in rows)
    picture = cv2.imread(str(folder / "curves.png"))
    assert picture is not None
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 3
    about = json.loads((folder / "run.json").read_text())
    assert about["config"]["training"]["seed"] == 3
    network, facts = load_weights(folder / "denoiser.npz")
    loaded = load_config(config)
    assert network.config == dataclasses.replace(loaded.network, **dataclasses.asdict(loaded.release))
    assert (facts["steps"], facts["config"]) == (5, about["config"])


@pytest.mark.parametrize("preset", ["own", "paper"])
@pytest.mark.parametrize("schedule", ["detector", "published"])
def test_bf16_presets_and_schedules_run(config: Path, tmp_path: Path, preset: str, schedule: str) -> None:
    with_settings(config, "fp32", "bf16")
    with_settings(config, "seed = 3", f'seed = 3\nschedule = "{schedule}"')
    with_settings(config, "keep_every = 2", f'keep_every = 2\npreset = "{preset}"')
    assert run(config, tmp_path / "run") == 0
    found = weights(tmp_path / "run")
    assert all(value.dtype == torch.float32 and torch.isfinite(value).all() for value in found.values())


def test_seed_decides(config: Path, tmp_path: Path) -> None:
    for name in ("one", "same"):
        assert run(config, tmp_path / name) == 0
    with_settings(config, "seed = 3", "seed = 4")
    assert run(config, tmp_path / "other") == 0
    assert same(weights(tmp_path / "one"), weights(tmp_path / "same"))
    assert not same(weights(tmp_path / "one"), weights(tmp_path / "other"))


# --- stopping and going on


def test_killed_run_continues_bit_by_bit(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the log of step 4 and in the middle of step 5, with checkpoints of step 3 alone."""
    with_settings(config, "keep_every = 2", "keep_every = 3")
    assert run(config, tmp_path / "whole") == 0

    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    with monkeypatch.context() as patch:
        on_step(patch, 4, die)
        with pytest.raises(Killed):
            run(config, tmp_path / "killed")
    assert not (tmp_path / "killed" / "denoiser.npz").exists()
    assert run(config, tmp_path / "killed") == 0
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    scores = [[row["simulated mpjpe_mm"] for row in log_of(tmp_path / name)] for name in ("whole", "killed")]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_leaves_a_checkpoint(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    assert run(config, tmp_path / "whole") == 0
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        on_step(patch, 2, lambda: os.kill(os.getpid(), number))
        assert run(config, tmp_path / "stopped") == 130
    assert "the same command continues" in capsys.readouterr().err
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert torch.load(tmp_path / "stopped" / "checkpoint.pt", weights_only=True)["step"] == 3
    assert run(config, tmp_path / "stopped") == 0
    assert "at step 3" in capsys.readouterr().out
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))


def test_finished_run_is_not_run_again(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(config, tmp_path / "run") == 0
    first = weights(tmp_path / "run")

    def fail() -> None:
        raise AssertionError("a step too many")

    on_step(monkeypatch, 5, fail)
    assert run(config, tmp_path / "run") == 0
    assert same(first, weights(tmp_path / "run"))


def test_what_is_around_a_run_may_change_on_resuming(config: Path, tmp_path: Path) -> None:
    assert run(config, tmp_path / "run") == 0
    with_settings(config, "validate_every = 2", "validate_every = 5")
    with_settings(config, "[training]", "[release]\nsigma_scale = 1.75\n[training]")
    (tmp_path / "motion.npz").rename(tmp_path / "moved.npz")
    assert run(config, tmp_path / "run", "--motion", str(tmp_path / "moved.npz")) == 0
    assert load_weights(tmp_path / "run" / "denoiser.npz")[0].config.sigma_scale == 1.75


def broken_checkpoint(kind: str, path: Path, config: Path) -> None:
    content: Any = torch.load(path, weights_only=True)
    match kind:
        case "other configuration":
            with_settings(config, "batch = 16", "batch = 8")
        case "cut short":
            path.write_bytes(path.read_bytes()[:2000])
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("checkpoint")
        case "a number":
            torch.save(3, path)
        case "other version":
            torch.save(content | {"version": 0}, path)
        case "no step":
            del content["step"]
            torch.save(content, path)
        case "other network":
            content["network"].pop("joint")
            torch.save(content, path)
        case "more processes":
            torch.save(content | {"generator": content["generator"] * 2}, path)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("other configuration", "training.batch: 16 there, 8 here"), ("cut short", "not a readable checkpoint"),
        ("empty", "not a readable checkpoint"), ("text", "not a readable checkpoint"),
        ("a number", "expected a checkpoint of version"), ("other version", "expected a checkpoint of version"),
        ("no step", "expected a checkpoint of version"), ("other network", "does not fit this version of the program"),
        ("more processes", "trained with 2 processes"),
    ],
)  # fmt: skip
def test_checkpoints_that_cannot_go_on_are_refused(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, told: str
) -> None:
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "checkpoint.pt"
    new_trainer(config).save(path)
    broken_checkpoint(kind, path, config)
    content = path.read_bytes()
    assert run(config, tmp_path / "run") == 2
    message = capsys.readouterr().err
    assert told in message
    assert "checkpoint.pt" in message
    assert path.read_bytes() == content


# --- configuration


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("seed = 3", "seeds = 3", "training: seeds: no such setting; expected one of steps"),
        ("validate_every", "validate", "validate: no such setting"),
        ("[network]", "[net]", "net: no such setting"),
        ("steps = 5", 'steps = "5"', "training: steps: expected int, found '5'"),
        ("steps = 5", "steps = 5.5", "training: steps: expected int, found 5.5"),
        ("steps = 5", "steps = true", "training: steps: expected int, found True"),
        ("steps = 5", "steps = 0", "training.steps: expected at least 1, found 0"),
        ("keep_every = 2", "keep_every = 0", "keep_every: expected at least 1"),
        ("seed = 3", 'learning_rate = "fast"', "training: learning_rate: expected float"),
        ("hidden = 16", "depth = 1", "network: depth: expected bool, found 1"),
        ("heads = 2", "heads = 3", "network.width: expected an even multiple of 3 heads, found 16"),
        ("heads = 2", "heads = 0", "network.heads: expected at least 1"),
        ('"fp32"', '"fp16"', "training: precision: expected one of fp32, bf16, found 'fp16'"),
        ("keep_every = 2", 'preset = "mine"', "preset: expected one of own, paper"),
        ("keep_every = 2", "benchmark = 3", "benchmark: expected a list"),
        ("keep_every = 2", "rigs = 3", "rigs: expected a table [rigs], found 3"),
        ("[training]", "[noise]\nacross_m = 0.01\n[training]", "noise: across_m: expected a list of 2 numbers"),
        ("[training]", "[noise]\nacross_m = [0.01]\n[training]", "noise: across_m: expected a list of 2 numbers"),
        ("[training]", '[noise]\nacross_m = [0, "x"]\n[training]', "noise: across_m: expected float, found 'x'"),
        ("[training]", "[noise]\nacross_m = [0, 0.1]\n[training]", "noise.across_m: expected 0 < lower"),
        ("[training]", "[rigs]\nbaseline_m = [2, 1]\n[training]", "rigs.baseline_m: expected 0 < lower"),
        ('motion = "motion.npz"', "", "motion: expected a value, found none"),
        ('"motion.npz"', "3", "motion: expected Path, found 3"),
        ("[training]", "[training", "not valid TOML"),
    ],
)
def test_wrong_settings_are_named(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, told: str
) -> None:
    assert run(with_settings(config, old, new), tmp_path / "run") == 2
    message = capsys.readouterr().err
    assert told in message
    assert "config.toml" in message
    assert not (tmp_path / "run").exists()


def test_missing_files_are_named(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "absent.toml", tmp_path / "run") == 2
    assert "absent.toml: no such file; expected a training configuration" in capsys.readouterr().err
    assert run(config, tmp_path / "run", "--motion", str(tmp_path / "absent.npz")) == 2
    assert "absent.npz: no such file" in capsys.readouterr().err
    assert run(config, tmp_path / "run", "--benchmark", str(tmp_path / "none.npz")) == 2
    assert "none.npz: no such file" in capsys.readouterr().err


def test_batches_have_to_fit_the_processes(config: Path) -> None:
    loaded = load_config(config)
    with pytest.raises(UserError, match=r"training\.batch: expected a multiple of 3 processes, found 16"):
        Trainer(loaded, MotionData(loaded.motion), Place(0, 3, torch.device("cpu")))


def test_preset_is_where_the_network_starts_from(config: Path) -> None:
    with_settings(config, "keep_every = 2", 'keep_every = 2\npreset = "paper"')
    network = load_config(config).network
    assert (network.scaling, network.chebyshev, network.lengths) == (PAPER.scaling, PAPER.chebyshev, PAPER.lengths)
    assert network.width == 16


def test_the_shipped_configuration_can_be_loaded() -> None:
    assert train.__file__ is not None
    shipped = load_config(Path(train.__file__).parent / "training" / "denoiser.toml")
    assert shipped.motion.name == "mocap17.npz"
    with pytest.raises(ConfigError):
        load_config(shipped.motion.parent / "absent.toml")


# --- what is minimised


def test_loss_falls_on_a_fixed_batch(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_settings(config, "steps = 5", "steps = 200\nfull_noise_share = 1.0")
    trainer = new_trainer(config)
    samples = trainer.draw(16, torch.Generator().manual_seed(0))
    monkeypatch.setattr(trainer, "draw", lambda *_: samples)
    found = [float(trainer.advance().total.detach()) for _ in range(150)]
    assert found[-1] < 0.75 * found[0]
    score = score_samples(trainer.network, samples)
    assert score.mpjpe_mm < score_samples(Denoiser(trainer.config.network), samples).mpjpe_mm


def exact(config: Path, count: int = 2000) -> tuple[Samples, Estimate]:
    """Samples, and the estimate that is their truth."""
    samples = new_trainer(config).draw(count, torch.Generator().manual_seed(0))
    return samples, Estimate(samples.truth_m, torch.full_like(samples.truth_m, 0.01))


def test_losses_are_distances(config: Path) -> None:
    samples, truth = exact(config)
    settings = Optimisation(loss_3d=1, loss_root=10, loss_2d=100, loss_sigma=1000)
    none = losses(truth, samples, settings)
    assert max(float(none.points_m), float(none.relative_m), float(none.projected_m)) < 2e-4
    moved_m = torch.tensor([0.03, 0.0, 0.04])
    shifted = losses(truth._replace(points_m=truth.points_m + moved_m), samples, settings)
    assert float(shifted.points_m) == pytest.approx(0.05, rel=1e-3)
    assert float(shifted.relative_m) < 2e-4
    parts = (shifted.points_m, shifted.relative_m, shifted.projected_m, shifted.sigma)
    weighed = sum(weight * float(part) for weight, part in zip((1, 10, 100, 1000), parts, strict=True))
    assert float(shifted.total) == pytest.approx(weighed, rel=1e-4)
    # Sideways by 1 cm at the distance of the person is 1 cm in the projection, seen from there.
    sideways = losses(truth._replace(points_m=truth.points_m + torch.tensor([0.01, 0, 0])), samples, settings)
    assert float(sideways.projected_m) == pytest.approx(0.01, rel=0.05)


def test_sigma_is_best_when_it_is_true(config: Path) -> None:
    samples, _ = exact(config)
    error_m = 0.01 * torch.randn(samples.truth_m.shape, generator=torch.Generator().manual_seed(1))

    def at(factor: float) -> float:
        estimate = Estimate(samples.truth_m + error_m, torch.full_like(samples.truth_m, 0.01 * factor))
        return float(losses(estimate, samples, Optimisation()).sigma)

    factors = [0.5, 0.7, 0.85, 1.0, 1.15, 1.4, 2.0]
    assert factors[int(np.argmin([at(factor) for factor in factors]))] == 1.0


def test_gradients_of_simulated_samples_are_finite(config: Path) -> None:
    trainer = new_trainer(config)
    samples = trainer.draw(512, torch.Generator().manual_seed(5))
    assert (samples.confidence == 0).any()
    seen = Observation(samples.confidence, samples.baseline_m, samples.lengths_m)
    estimate = trainer.network(samples.left, samples.right, torch.ones(512), seen)
    losses(estimate, samples, Optimisation(loss_2d=1.0)).total.backward()
    for name, parameter in trainer.network.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


def test_validation_scores_are_those_of_the_benchmark(shared_data: Path) -> None:
    """An untrained network without lengths is triangulation with the pelvis between the hips, whose error is known."""
    views = load_views(shared_data / "benchmark" / "h36m_s9.npz")
    assert len(views.truth_m) == 1253 - 74
    torch.manual_seed(0)
    network = Denoiser(DenoiserConfig(width=16, layers=1, heads=2, hidden=16))
    single = score_views(network, views, streaming=False)
    streaming = score_views(network, views, streaming=True)
    table = (shared_data / "benchmark" / "README.md").read_text(encoding="utf-8").splitlines()
    (row,) = [line for line in table if line.startswith("| triangulation, joint 6")]
    expected = [float(number) for number in row.split("|")[3].split("/")]
    assert [single.mpjpe_mm, single.root_relative_mm, single.procrustes_mm] == pytest.approx(expected, abs=0.3)
    assert streaming.mpjpe_mm < single.mpjpe_mm
    assert 0 < single.coverage_50 < single.coverage_90 < 1
