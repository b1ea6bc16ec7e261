"""Pictures of error statistics, recorded beside simulated; the one file here that needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..models.skeleton import BODY17
from .noise_statistics import AXES, NoiseStatistics

# Okabe and Ito's colours, which colour-blind people can tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
DPI = 90


@dataclass(frozen=True, slots=True)
class Comparison:
    """One recorded file and simulated samples of rigs like its own; errors_m: (N, 17, 3) as `axis_errors_m`."""

    name: str
    recorded: NoiseStatistics
    simulated: NoiseStatistics
    recorded_errors_m: np.ndarray
    simulated_errors_m: np.ndarray


def draw_all(comparisons: Sequence[Comparison], folder: Path) -> dict[str, str]:
    """Write every picture into the folder; returns file name -> what it shows."""
    pictures = {
        "size.png": (_sizes(comparisons), "Error of each joint: standard deviation (above) and median (below), mm"),
        "tails.png": (_tails(comparisons), "How often errors exceed how many times the joint's median error"),
        "joints.png": (_joints(comparisons), "Rank correlation of the errors of different joints in one frame"),
        "frames.png": (_frames(comparisons), "Mean error of a frame over all frames; error of bone lengths, mm"),
    }
    for name, (figure, _) in pictures.items():
        figure.savefig(folder / name, dpi=DPI)
    return {name: title for name, (_, title) in pictures.items()}


def _legend(figure: Figure, axes: Axes) -> None:
    """What the marks of one panel mean, below all of them."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)


def _marked(
    axes: Axes, comparisons: Sequence[Comparison], names: Sequence[str], values: list[list[np.ndarray]]
) -> None:
    """One row per name, dots for recorded, rings for simulated. values: per comparison both as (rows,) arrays."""
    rows = np.arange(len(names))
    for comparison, colour, pair in zip(comparisons, COLOURS, values, strict=False):
        axes.plot(pair[0], rows, "o", color=colour, label=f"{comparison.name}, recorded")
        axes.plot(pair[1], rows, "o", color=colour, markerfacecolor="none", label="simulated")
    axes.set_yticks(rows, names, fontsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)


def _sizes(comparisons: Sequence[Comparison]) -> Figure:
    figure = Figure(figsize=(12, 9), layout="constrained")
    panels = figure.subplots(2, 3, sharey=True)
    for row, field in enumerate(("sd_mm", "median_mm")):
        for axis, name in enumerate(AXES):
            values = [[getattr(s, field)[:, axis] for s in (c.recorded, c.simulated)] for c in comparisons]
            _marked(panels[row, axis], comparisons, BODY17.joints, values)
            panels[row, axis].set_title(f"{name}, {'sd' if row == 0 else 'median'}, mm", fontsize=10)
        # Panels of a row share the scale, so that depth can be compared with the rest.
        right = max(panel.get_xlim()[1] for panel in panels[row])
        for panel in panels[row]:
            panel.set_xlim(0, right)
    _legend(figure, panels[0, 0])
    return figure


def _tails(comparisons: Sequence[Comparison]) -> Figure:
    figure = Figure(figsize=(12, 4.3), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    times = np.geomspace(0.3, 30, 80)
    for axis, (panel, name) in enumerate(zip(panels, AXES, strict=True)):
        for comparison, colour in zip(comparisons, COLOURS, strict=False):
            for errors_m, style, label in (
                (comparison.recorded_errors_m, "-", f"{comparison.name}, recorded"),
                (comparison.simulated_errors_m, "--", "simulated"),
            ):
                size = np.abs(errors_m[..., axis])
                size = np.sort((size / np.median(size, axis=0)).ravel())
                beyond = 1 - np.searchsorted(size, times) / len(size)
                panel.loglog(times, np.maximum(beyond, 1e-9), style, color=colour, label=label)
        panel.set_ylim(1e-4, 1)
        panel.set_title(f"{name}: share of errors beyond", fontsize=10)
        panel.set_xlabel("times the joint's median error", fontsize=9)
        panel.grid(alpha=0.3)
    _legend(figure, panels[0])
    return figure


def _joints(comparisons: Sequence[Comparison]) -> Figure:
    figure = Figure(figsize=(14, 3.6 * len(comparisons)), layout="constrained")
    panels = figure.subplots(len(comparisons), 4, squeeze=False)
    shown = None
    for row, comparison in zip(panels, comparisons, strict=True):
        views = [(axis, kind) for axis in (0, 2) for kind in ("recorded", "simulated")]
        for panel, (axis, kind) in zip(row, views, strict=True):
            correlation = getattr(comparison, kind).rank_correlation[axis]
            shown = panel.imshow(correlation, vmin=-1, vmax=1, cmap="RdBu_r")
            panel.set_title(f"{comparison.name}, {AXES[axis]}, {kind}", fontsize=9)
            panel.set_xticks(range(len(BODY17)), BODY17.joints, rotation=90, fontsize=6)
            panel.set_yticks(range(len(BODY17)), BODY17.joints, fontsize=6)
    if shown is not None:
        figure.colorbar(shown, ax=panels, shrink=0.6)
    return figure


def _frames(comparisons: Sequence[Comparison]) -> Figure:
    figure = Figure(figsize=(15, 4.5), layout="constrained")
    panels = figure.subplots(1, 4)
    edges = np.geomspace(2, 200, 50)
    for axis, (panel, name) in enumerate(zip(panels, AXES, strict=False)):
        for comparison, colour in zip(comparisons, COLOURS, strict=False):
            for errors_m, style in ((comparison.recorded_errors_m, "-"), (comparison.simulated_errors_m, "--")):
                level_mm = np.abs(errors_m[..., axis]).mean(axis=1) * 1e3
                share = np.histogram(level_mm, edges)[0] / len(level_mm)
                panel.stairs(share, edges, color=colour, linestyle=style)
        panel.set_xscale("log")
        panel.set_title(f"{name}: share of the frames", fontsize=10)
        panel.set_xlabel("mean error over the joints, mm", fontsize=9)
        panel.grid(alpha=0.3)
    bones = [f"{child} - {parent}" for child, parent in BODY17.bones]
    values = [[statistics.bones_mm[:, 1] for statistics in (c.recorded, c.simulated)] for c in comparisons]
    _marked(panels[3], comparisons, bones, values)
    panels[3].set_title("sd of the error of a bone's length, mm", fontsize=10)
    _legend(figure, panels[3])
    return figure
