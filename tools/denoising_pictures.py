"""Draw what a denoiser does to real detections: before, after and truth, in one picture of the left view and in space.

python -m binopose.tools.denoising_pictures BENCH.npz ... -o FOLDER
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from ..app.console import print_error, print_line
from ..app.factory import DenoiserChoice, open_denoiser
from ..calibration.errors import UserError
from ..calibration.triangulate import project, triangulate
from ..models.skeleton import BODY17
from .datasets.benchmark import Benchmark, load_benchmark
from .evaluate import Evaluation

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# Okabe and Ito's colours, which colour-blind people can tell apart: detected, denoised, true.
COLOURS = {"detected": "#D55E00", "denoised": "#0072B2", "truth": "#999999"}
SHARES = (0.5, 0.9)


def chosen_samples(before_mm: np.ndarray) -> list[int]:
    """The samples whose error before is the median and the 90th percentile: neither the nicest nor the worst."""
    order = np.argsort(before_mm, kind="stable")
    return [int(order[int(share * (len(order) - 1))]) for share in SHARES]


def draw(benchmark: Benchmark, sample: int, denoised_m: np.ndarray, path: Path) -> None:
    """One figure: the left view (pixels of the detector's crop), from the front and from the side (metres).

    denoised_m: (J, 3) rectified left frame.
    """
    seen = benchmark.rectified(sample)
    poses_m = {
        "truth": seen.world_from_rectified.inverse().apply(benchmark.truth_m[sample]),
        "detected": triangulate(seen.rig, seen.left.points_px, seen.right.points_px),
        "denoised": denoised_m,
    }
    middle_m = poses_m["truth"].mean(axis=0)
    figure, axes = plt.subplots(1, 3, figsize=(11, 4.6), layout="constrained")
    for name, pose_m in poses_m.items():
        picture_px = seen.left.points_px if name == "detected" else project(seen.rig, pose_m)[0]
        error_mm = 1e3 * np.linalg.norm(pose_m - poses_m["truth"], axis=1).mean()
        label = name if name == "truth" else f"{name}, {error_mm:.0f} mm"
        around_m = pose_m - middle_m
        for axis, points in zip(axes, (picture_px, around_m[:, :2], around_m[:, [2, 1]]), strict=True):
            _skeleton(axis, points, COLOURS[name], label)
    titles = ("left view, px", "in space from the front, m", "from the side (depth), m")
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, fontsize=10)
        axis.set_aspect("equal")
        axis.invert_yaxis()
    axes[0].legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _skeleton(axis: Any, points: np.ndarray, colour: str, label: str) -> None:
    for number, bone in enumerate(BODY17.bone_indices):
        axis.plot(*points[bone].T, color=colour, linewidth=1.6, label=label if number == 0 else None)
    axis.plot(*points.T, ".", color=colour, markersize=4)


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m binopose.tools.denoising_pictures", description=__doc__)
    parser.add_argument("benchmark", type=Path, nargs="+", metavar="BENCH.npz", help="benchmark files")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="where the pictures go")
    parser.add_argument("--denoiser", default=DenoiserChoice.name, metavar="NAME", help="(%(default)s)")
    options = parser.parse_args(arguments)
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        for path in options.benchmark:
            benchmark = load_benchmark(path)
            evaluation = Evaluation(benchmark)
            before_m, after_m = (
                evaluation.estimates(open_denoiser(DenoiserChoice(name)), streaming=True).points_m
                for name in ("off", options.denoiser)
            )
            error_mm = 1e3 * np.linalg.norm(before_m - evaluation.truth_m, axis=-1).mean(axis=1)
            scored = np.flatnonzero(benchmark.scored)
            for share, number in zip(SHARES, chosen_samples(error_mm), strict=True):
                target = options.output / f"{path.stem}-{100 * share:.0f}.png"
                draw(benchmark, int(scored[number]), after_m[number], target)
                print_line(str(target))
    except UserError as error:
        print_error(str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
