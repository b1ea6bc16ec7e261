"""Train a denoiser on simulated stereo detections.

python -m binopose.tools.train CONFIG.toml -o RUN
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import torch
import torch.distributed as distributed

from ..app.console import print_error, print_line, progress
from ..app.outputs.files import write_json
from ..calibration.errors import UserError
from ..models.nets.weights_file import save_weights
from .simulation.motion import MotionData
from .training.config import TrainingConfig, load_config, to_table
from .training.curves import draw_curves
from .training.objective import Losses
from .training.trainer import Place, Trainer
from .training.validation import Scores, load_views, score_samples, score_views

CHECKPOINT = "checkpoint.pt"
SIMULATED_SAMPLES = 4096


class Log:
    """RUN/log.csv: one line per validation, kept on resuming up to the step of the checkpoint."""

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        self._rows: list[dict[str, Any]] = []
        if path.is_file() and step:
            with path.open(newline="") as file:
                self._rows = [dict(row) for row in csv.DictReader(file) if int(row["step"]) <= step]

    def add(self, row: dict[str, Any]) -> None:
        """Append a line and write the file."""
        self._rows.append(row)
        columns = list(dict.fromkeys(key for line in self._rows for key in line))
        part = self._path.with_name(self._path.name + ".part")
        with part.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self._rows)
        part.replace(self._path)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All lines so far."""
        return self._rows


class Validation:
    """What is scored now and then: motion never trained on, and the real detections of the configuration."""

    def __init__(self, config: TrainingConfig, trainer: Trainer) -> None:
        self._trainer = trainer
        generator = torch.Generator().manual_seed(123456)
        self._simulated = trainer.draw(SIMULATED_SAMPLES, generator, validation=True)
        self._real = {path.stem: load_views(path) for path in config.benchmark}

    def scores(self) -> dict[str, Scores]:
        """Scores of the averaged weights by name."""
        network = self._trainer.average
        found = {"simulated": score_samples(network, self._simulated)}
        for name, views in self._real.items():
            found[f"{name} single"] = score_views(network, views, streaming=False)
            found[f"{name} streaming"] = score_views(network, views, streaming=True)
        return found


def train(config: TrainingConfig, folder: Path, place: Place, threads: int) -> None:
    """Run or continue a training; everything it leaves lies in `folder`.

    Raises UserError when data or checkpoint cannot be used. Ctrl-C ends it after a checkpoint.
    """
    torch.set_num_threads(threads)
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(config, MotionData(config.motion), place)
    checkpoint = folder / CHECKPOINT
    if checkpoint.is_file():
        trainer.resume(checkpoint)
    leads = place.rank == 0
    validation = Validation(config, trainer) if leads else None
    log = Log(folder / "log.csv", trainer.step)
    if leads:
        write_json(folder / "run.json", {"config": to_table(config), "code": code_version(), "threads": threads})
        _greet(trainer, checkpoint)
    started_s, first = time.monotonic(), trainer.step
    total = config.training.steps * config.training.batch
    running = _Means()
    with _StopAfterStep() as stop, progress(total if leads else None, "train", "samples") as bar:
        bar.update(trainer.step * config.training.batch)

        def every_step(result: Losses) -> None:
            running.add(result)
            if leads:
                bar.update(config.training.batch)
            done = trainer.step == config.training.steps or stop.requested
            if done or trainer.step % config.keep_every == 0:
                trainer.save(checkpoint)
            if validation is not None and (done or trainer.step % config.validate_every == 0):
                rate = (trainer.step - first) * config.training.batch / (time.monotonic() - started_s)
                _report(trainer.step, running.take(), validation.scores(), rate, log)
                draw_curves(log.rows, folder / "curves.png")
            if stop.requested:
                raise KeyboardInterrupt

        trainer.run(every_step)
    if leads:
        network = trainer.average
        network.config = dataclasses.replace(network.config, **dataclasses.asdict(config.release))
        save_weights(folder / "denoiser.npz", network, run_facts(config, trainer))


def run_facts(config: TrainingConfig, trainer: Trainer) -> dict[str, Any]:
    """What is kept beside the weights."""
    return {"config": to_table(config), "code": code_version(), "steps": trainer.step, "torch": torch.__version__}


def code_version() -> str:
    """The commit this runs from, with "+" when files differ from it; "unknown" outside a checkout."""
    folder = Path(__file__).parent
    asked = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        found = subprocess.run(asked, cwd=folder, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return found.stdout.strip() if found.returncode == 0 else "unknown"


class _StopAfterStep:
    """While it is entered, Ctrl-C and SIGTERM end the run after the step they fall into, with a checkpoint."""

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, _number: int, _frame: object) -> None:
        self.requested = True


class _Means:
    """Running means of the losses between two reports."""

    def __init__(self) -> None:
        self._sums = [0.0] * len(Losses._fields)
        self._count = 0

    def add(self, result: Losses) -> None:
        self._sums = [total + float(value.detach()) for total, value in zip(self._sums, result, strict=True)]
        self._count += 1

    def take(self) -> dict[str, float]:
        means = {
            f"loss {name}": total / max(self._count, 1) for name, total in zip(Losses._fields, self._sums, strict=True)
        }
        self._sums, self._count = [0.0] * len(Losses._fields), 0
        return means


def _greet(trainer: Trainer, checkpoint: Path) -> None:
    parameters = sum(value.numel() for value in trainer.network.parameters())
    start = f"continues {checkpoint} at step {trainer.step}" if trainer.step else "starts"
    print_line(f"{start}: {parameters} parameters on {trainer.place.device}, {trainer.place.world} process(es)")


def _report(step: int, means: dict[str, float], scores: dict[str, Scores], rate: float, log: Log) -> None:
    row: dict[str, Any] = {"step": step, "samples_per_s": round(rate, 1)} | {k: f"{v:.6f}" for k, v in means.items()}
    parts = []
    for name, score in scores.items():
        row |= {f"{name} {key}": f"{value:.3f}" for key, value in dataclasses.asdict(score).items()}
        parts.append(
            f"{name} {score.mpjpe_mm:.2f}/{score.root_relative_mm:.2f}/{score.procrustes_mm:.2f} "
            f"[{100 * score.coverage_50:.0f} {100 * score.coverage_90:.0f}]"
        )
    log.add(row)
    print_line(f"step {step}, {rate:.0f} samples/s: " + "; ".join(parts))


def _place(device: str) -> Place:
    """Where this process stands; `torchrun` says so in the environment."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if kind == "cuda" and not torch.cuda.is_available():
        raise UserError("device: cuda: this torch finds no CUDA device; use --device cpu")
    if world > 1:
        distributed.init_process_group("nccl" if kind == "cuda" else "gloo")
    return Place(rank, world, torch.device(kind, local) if kind == "cuda" else torch.device("cpu"))


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m binopose.tools.train",
        description="Train a denoiser on detections simulated from motion data. RUN/ gets checkpoint.pt (a killed run "
        "continues from it exactly), log.csv, curves.png, run.json and at the end denoiser.npz. Several GPUs: "
        "torchrun --nproc-per-node N -m binopose.tools.train CONFIG.toml -o RUN.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG.toml", help="the run (see tools/training/denoiser.toml)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--motion", type=Path, metavar="FILE.npz", help="motion data instead of the configuration's")
    parser.add_argument("--benchmark", type=Path, nargs="*", metavar="FILE.npz", help="validation files instead of its")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(%(default)s)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="processor threads (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.config)
        if options.motion is not None:
            config = dataclasses.replace(config, motion=options.motion)
        if options.benchmark is not None:
            config = dataclasses.replace(config, benchmark=tuple(options.benchmark))
        train(config, options.output, _place(options.device), max(1, options.threads))
    except UserError as error:
        print_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        print_error(f"interrupted; the same command continues from {options.output / CHECKPOINT}")
        return 130
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
