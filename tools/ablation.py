"""Train variants of the denoiser with the same small budget and compare them: what each part is worth.

python -m binopose.tools.ablation CONFIG.toml -o FOLDER
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ..app.console import print_error, print_line, progress
from ..app.outputs.files import replacing
from ..calibration.errors import UserError
from ..models.diffusion import Schedule, detector_schedule, published_schedule
from ..models.nets.denoiser import PAPER, Denoiser, DenoiserConfig
from .simulation.motion import MotionData
from .simulation.observe import NoiseVariation
from .training.config import Optimisation, TrainingConfig, load_config
from .training.trainer import PUBLISHED_STEPS, Place, Trainer
from .training.validation import Scores, Views, load_views, score_samples, score_views

SIMULATED_SAMPLES = 4096
# Normal noise of one size for all joints, each by itself.
GAUSSIAN = {
    "freedom": (1000.0, 1000.0), "spread": (0.0, 0.0), "gross_share": 0.0, "smooth": (0.0, 0.0), "body": (0.0, 0.0),
    "trunk": (0.0, 0.0), "alike": 0.0, "thigh_m": 0.0, "pelvis_share": 0.0, "flat_share": 0.0, "definition_m": 0.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Variant:
    """One line of the table: what differs from the configuration, and how it is run."""

    name: str
    network: Callable[[DenoiserConfig], DenoiserConfig] = lambda config: config
    training: Callable[[Optimisation], Optimisation] = lambda training: training
    noise: Callable[[NoiseVariation], NoiseVariation] = lambda noise: noise
    schedule: Schedule = dataclasses.field(default_factory=lambda: detector_schedule(1))


def variants() -> list[Variant]:
    """What is compared; the first is ours as it is."""

    def without(**parts: bool | int) -> Callable[[DenoiserConfig], DenoiserConfig]:
        return lambda config: dataclasses.replace(config, **parts)

    def loss(**weights: float) -> Callable[[Optimisation], Optimisation]:
        return lambda training: dataclasses.replace(training, **weights)

    return [
        Variant("ours"),
        Variant("without the depth as condition", without(depth=False)),
        Variant("without scaling depth by the baseline", without(baseline=False)),
        Variant("without bone lengths (fit and condition)", without(lengths=False, fit_iterations=0)),
        Variant("bone lengths as condition alone (no fit)", without(fit_iterations=0)),
        Variant("without confidence and row difference", without(confidence=False, epipolar=False)),
        Variant("trained on Gaussian noise", noise=lambda noise: dataclasses.replace(noise, **GAUSSIAN)),
        Variant("loss in 2D alone", training=loss(loss_3d=0.0, loss_root=0.0, loss_2d=1.0)),
        Variant("loss in 2D and 3D", training=loss(loss_2d=1.0)),
        Variant(
            "the published network, schedule and loss (2D and 3D), without action labels",
            network=lambda _: PAPER,
            training=lambda t: dataclasses.replace(t, loss_2d=1.0, loss_root=0.0, schedule="published"),
            schedule=published_schedule(PUBLISHED_STEPS, 1),
        ),
    ]


class Comparison:
    """Trains variants and scores them on the same data."""

    def __init__(self, config: TrainingConfig) -> None:
        self._config = config
        self._data = MotionData(config.motion)
        self._place = Place(0, 1, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        self._real: dict[str, Views] = {path.stem: load_views(path) for path in config.benchmark}

    @property
    def columns(self) -> list[str]:
        """What `row` scores."""
        return ["simulated", *(f"{name} {mode}" for name in self._real for mode in ("single", "streaming"))]

    def train(self, variant: Variant) -> tuple[Denoiser, Trainer]:
        """Train one variant with the budget of the configuration."""
        config = dataclasses.replace(
            self._config,
            network=variant.network(self._config.network),
            training=variant.training(self._config.training),
            noise=variant.noise(self._config.noise),
        )
        trainer = Trainer(config, self._data, self._place)
        with progress(config.training.steps, variant.name, "steps") as bar:
            trainer.run(lambda _: bar.update())
        return trainer.average, trainer

    def row(self, network: Denoiser, schedule: Schedule) -> list[Scores]:
        """Scores by column. The simulated samples are those of the configuration for every variant."""
        whole = Trainer(self._config, self._data, self._place)
        samples = whole.draw(SIMULATED_SAMPLES, torch.Generator().manual_seed(123456), validation=True)
        scores = [score_samples(network, samples, schedule)]
        for views in self._real.values():
            scores += [score_views(network, views, streaming, schedule) for streaming in (False, True)]
        return scores


def _cells(scores: list[Scores]) -> str:
    return " | ".join(f"{score.mpjpe_mm:.2f} / {score.root_relative_mm:.2f}" for score in scores)


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m binopose.tools.ablation",
        description="Train variants of the denoiser, each with the budget of CONFIG.toml (training.steps), and write "
        "FOLDER/ablation.md: MPJPE / relative to the pelvis, mm.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG.toml", help="as for binopose.tools.train")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="where the table goes")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="processor threads (%(default)s)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(max(1, options.threads))
    try:
        config = load_config(options.config)
        options.output.mkdir(parents=True, exist_ok=True)
        comparison = Comparison(config)
        lines = [
            "| | " + " | ".join(comparison.columns) + " |",
            "| --- |" + " --- |" * len(comparison.columns),
        ]
        for variant in variants():
            network, _ = comparison.train(variant)
            runs = [(variant.name, variant.schedule)]
            if variant.name == "ours":
                runs += [(f"ours, {steps} steps", detector_schedule(steps)) for steps in (2, 5)]
            for name, schedule in runs:
                lines.append(f"| {name} | {_cells(comparison.row(network, schedule))} |")
                print_line(lines[-1])
                with replacing(options.output / "ablation.md", "the table so far is lost") as file:
                    file.write(("\n".join(lines) + "\n").encode())
    except UserError as error:
        print_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        print_error("interrupted; the lines so far are written")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
