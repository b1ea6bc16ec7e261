"""A page that compares the errors of recorded detections with those the training simulates.

python -m binopose.tools.noise_page CONFIG.toml BENCH.npz... -o docs/noise
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..app.console import print_error, print_line, progress
from ..app.outputs.files import errors_naming, replacing
from ..calibration.errors import UserError
from ..models.skeleton import BODY17
from .datasets.benchmark import load_benchmark
from .datasets.observations import Observations, recorded, simulated
from .noise_figures import Comparison, draw_all
from .noise_statistics import (
    AXES,
    PELVIS,
    PERCENTILES,
    NoiseStatistics,
    axis_errors_m,
    mirrored_pairs,
    noise_statistics,
    trunk_pairs,
)
from .simulation.motion import MotionData, vary_bodies
from .simulation.observe import Simulation
from .training.config import TrainingConfig, load_config

BATCH = 1024
# Distances beyond these percentiles of a file are no guide to how its rig is used.
DISTANCE_PERCENTILES = (2, 98)


def simulate_like(observations: Observations, config: TrainingConfig, data: MotionData, count: int) -> Observations:
    """So many batches as the training would draw them, for rigs and distances like those of recorded samples."""
    low_m, high_m = np.percentile(observations.truth_m[:, PELVIS, 2], DISTANCE_PERCENTILES).tolist()
    rigs = dataclasses.replace(
        config.rigs,
        baseline_m=(float(observations.baseline_m.min()), float(observations.baseline_m.max())),
        distance_m=(low_m, high_m),
    )
    simulation = Simulation(rigs, config.noise, config.lengths)
    generator = torch.Generator().manual_seed(config.training.seed)
    batches = []
    with progress(count * BATCH, "simulate", "samples") as bar:
        for _ in range(count):
            poses = data.draw(BATCH, True, generator)
            batches.append(simulation.observe(vary_bodies(poses, config.bodies, generator), generator))
            bar.update(BATCH)
    return simulated(batches)


def compare(name: str, real: Observations, made: Observations) -> Comparison:
    """All statistics of both."""
    return Comparison(name, noise_statistics(real), noise_statistics(made), axis_errors_m(real), axis_errors_m(made))


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of the table: what it is, how to get its numbers, and how to write one."""

    title: str
    numbers: Callable[[NoiseStatistics], Sequence[float] | np.ndarray]
    form: str = ".1f"

    def cell(self, statistics: NoiseStatistics) -> str:
        return " / ".join(format(float(number), self.form) for number in self.numbers(statistics))


_SIZES = (
    _Row("standard deviation, mean of the joints, mm", lambda s: s.sd_mm.mean(axis=0)),
    _Row("median error, mean of the joints, mm", lambda s: s.median_mm.mean(axis=0)),
    *(
        _Row(f"mean error of a frame, percentile {percentile}, mm", lambda s, n=number: s.level_mm[n])
        for number, percentile in enumerate(PERCENTILES)
    ),
    _Row("kurtosis, median of the joints (3 = normal)", lambda s: np.median(s.kurtosis, axis=0)),
    _Row("offset of the whole body, standard deviation, mm", lambda s: s.body_mm),
    _Row("its share of the variance (0.06 = independent joints)", lambda s: s.body_share, ".2f"),
    _Row("correlation of left and right joints", lambda s: s.correlation_of(mirrored_pairs()), ".2f"),
    _Row("correlation along bones", lambda s: s.correlation_of(BODY17.bone_indices), ".2f"),
    _Row("correlation in the trunk", lambda s: s.correlation_of(trunk_pairs()), ".2f"),
)
_VIEWS = (
    _Row(
        "correlation of the two views' errors, x / y, median of the joints",
        lambda s: np.median(s.view_correlation, axis=0),
        ".2f",
    ),
    _Row(
        "left less right at the person, x / y, standard deviation, median of the joints, mm",
        lambda s: np.median([s.disparity_mm, s.rows_mm], axis=1),
    ),
    _Row("joints more than 100 mm off, %", lambda s: [100 * s.gross_share.mean()]),
    _Row("error of bone lengths, mean / standard deviation, mm", lambda s: s.bones_mm.mean(axis=0)),
)


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]]


def _kinds(comparisons: Sequence[Comparison]) -> list[tuple[str, NoiseStatistics]]:
    return [
        (f"{comparison.name}, {kind}", getattr(comparison, kind))
        for comparison in comparisons
        for kind in ("recorded", "simulated")
    ]


def _posture_rows(comparisons: Sequence[Comparison]) -> list[list[str]]:
    return [
        [
            name,
            posture,
            f"{100 * found.share:.0f}",
            " / ".join(f"{value:.0f}" for value in found.trunk_mm),
            f"{found.along_thigh_mm:.0f} +- {found.along_thigh_sd_mm:.0f}",
            f"{found.thigh_mm:.0f}",
            " / ".join(f"{value:.0f}" for value in found.pelvis_mm),
        ]
        for name, statistics in _kinds(comparisons)
        for posture, found in statistics.postures.items()
    ]


def page(comparisons: Sequence[Comparison], pictures: dict[str, str], config_name: str) -> str:
    """The page as Markdown."""
    kinds = _kinds(comparisons)
    head = ["", *(name for name, _ in kinds)]
    per_joint = [
        [joint, *(" / ".join(f"{value:.0f}" for value in statistics.sd_mm[number]) for _, statistics in kinds)]
        for number, joint in enumerate(BODY17.joints)
    ]
    over_time = [
        [f"{comparison.name}, lag {lag}", " / ".join(f"{value:.2f}" for value in values)]
        for comparison in comparisons
        for lag, values in comparison.recorded.over_time.items()
    ]
    lines = [
        "# Errors of detections: recorded and simulated",
        "",
        f"Recorded: {', '.join(f'{c.name} ({c.recorded.samples} samples)' for c in comparisons)}. Simulated: what "
        f"`{config_name}` draws for training, on rigs and at distances like those of each file, motion that is not "
        "trained on, samples with all joints seen. Every joint's mean error is taken off first. Errors in x and y are "
        "the mean of both views at the distance of the joint, depth is what triangulation makes of their difference. "
        "A simulated sample is a detector, a person and a rig of its own; a recorded file is one of each, so the "
        "simulated percentiles should reach beyond the recorded ones on both sides.",
        "",
        f"Three numbers are {', '.join(AXES)}.",
        "",
        *_table(head, [[row.title, *(row.cell(statistics) for _, statistics in kinds)] for row in (*_SIZES, *_VIEWS)]),
        "",
    ]
    for name, title in pictures.items():
        lines += [f"## {title}", "", f"![{title}]({name})", ""]
    lines += [
        "## Errors that follow the posture",
        "",
        "Medians in mm. Trunk: hips, shoulders, thorax and neck together. Along the thigh: the same, positive toward "
        "the knees, with its standard deviation. Thigh: observed less true length. Pelvis: against the hips.",
        "",
        *_table(
            ["", "posture", "% of samples", "trunk", "along the thigh", "thigh", "pelvis"], _posture_rows(comparisons)
        ),
        "",
        "## Standard deviation of each joint, mm",
        "",
        *_table(["", *(name for name, _ in kinds)], per_joint),
        "",
        "## From frame to frame",
        "",
        "Correlation of a joint's error with its own, so many recorded samples later in the same action. Training "
        "draws single frames, so there is nothing simulated to compare with.",
        "",
        *_table(["", "x / y / depth"], over_time),
        "",
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m binopose.tools.noise_page",
        description="Compare the errors of recorded detections with those that a training simulates: README.md and "
        "pictures in DIR.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG.toml", help="training configuration")
    parser.add_argument("benchmark", type=Path, nargs="+", metavar="BENCH.npz", help="recorded detections with truth")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder of the page")
    parser.add_argument("--motion", type=Path, metavar="FILE.npz", help="motion data instead of the configuration's")
    parser.add_argument(
        "--batches", type=int, default=8, choices=range(1, 101), metavar="N",
        help=f"batches of {BATCH} simulated samples per file (%(default)s)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.config)
        data = MotionData(options.motion or config.motion)
        comparisons = []
        for path in options.benchmark:
            real = recorded(load_benchmark(path))
            comparisons.append(compare(path.stem, real, simulate_like(real, config, data, options.batches)))
        with errors_naming(options.output, "nothing else was done"):
            options.output.mkdir(parents=True, exist_ok=True)
            pictures = draw_all(comparisons, options.output)
        text = page(comparisons, pictures, options.config.name)
        with replacing(options.output / "README.md", "an earlier page is unchanged") as file:
            file.write(text.encode())
    except UserError as error:
        print_error(str(error))
        return error.exit_code
    print_line(f"{options.output / 'README.md'}: {len(comparisons)} recorded files compared with the simulation")
    return 0


if __name__ == "__main__":
    sys.exit(main())
