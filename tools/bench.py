"""Measure the program's speed and memory on this machine.

python -m binopose.tools.bench pipeline [LEFT RIGHT --rig rig.toml] [--loops N] [--json FILE]
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..app.console import print_error, print_line
from ..app.factory import open_denoiser, open_detector
from ..app.frames import FramePair
from ..app.outputs.files import write_json
from ..app.pipeline import Pipeline
from ..app.processing import PairSource, RunOptions, process_recording
from ..app.recording import StereoRecording
from ..app.simulation.motion import SimulatedPerson
from ..app.simulation.scene import SimulatedScene, SimulatedSource
from ..app.simulation.virtual_rig import virtual_rig
from ..calibration.errors import UserError
from ..calibration.rectify import Rectifier
from ..calibration.rig import StereoRig
from ..calibration.rig_file import load_rig
from ..engines.detectors.simulated import SimulatedDetector

SIMULATED_S = 10.0
MEBIBYTE = 2**20


def hardware() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": model, "cores": cores, "system": platform.platform(), "python": platform.python_version()}


def resident_mib() -> float:
    """Memory of this process that is in RAM now, in MiB; NaN where the system does not tell."""
    statm = Path("/proc/self/statm")
    if not statm.is_file():
        return float("nan")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MEBIBYTE


class LoopedSource:
    """A source played several times over, for the memory of long recordings; notes the memory after each time."""

    incomplete = False

    def __init__(self, open_source: Callable[[], PairSource], loops: int) -> None:
        self._open, self._loops = open_source, loops
        self._source = open_source()
        self.frames_per_second = self._source.frames_per_second
        self.frames: int | None = self._source.frames * loops if self._source.frames else None
        self.warnings: list[str] = []
        self.memory_mib: list[float] = []

    @property
    def read_ms(self) -> float:
        """Of the last pair."""
        return self._source.read_ms

    def __iter__(self) -> Iterator[FramePair]:
        index = 0
        for loop in range(self._loops):
            if loop:
                self._source = self._open()
            for pair in self._source:
                yield FramePair(pair.left, pair.right, index / self.frames_per_second, index)
                index += 1
            if isinstance(self._source, StereoRecording):
                self._source.close()
            self.memory_mib.append(resident_mib())


@dataclass(frozen=True, slots=True)
class Setup:
    """What is measured. name: of the pictures; open_source: opens them from the start."""

    name: str
    rig: StereoRig
    open_source: Callable[[], PairSource]
    open_pipeline: Callable[[], Pipeline]


def _recorded(left: Path, right: Path, rig_path: Path, detector: str, denoiser: str) -> Setup:
    with StereoRecording(left, right) as recording:
        rig, _ = load_rig(rig_path).adapted_to(recording.sizes_px)
        width, height = recording.sizes_px[0]

    def open_pipeline() -> Pipeline:
        rectifier = Rectifier(rig)
        return Pipeline(rectifier, open_detector(detector, rectifier), open_denoiser(denoiser))

    return Setup(f"{detector}, {width} x {height}", rig, lambda: StereoRecording(left, right), open_pipeline)


def _simulated(denoiser: str) -> Setup:
    rig = virtual_rig()
    scene = SimulatedScene(rig, SimulatedPerson())

    def open_pipeline() -> Pipeline:
        rectifier = Rectifier(rig)
        return Pipeline(rectifier, SimulatedDetector(scene.truth_m, rectifier), open_denoiser(denoiser))

    width, height = rig.left.size_px
    return Setup(f"simulated, {width} x {height}", rig, lambda: SimulatedSource(scene, SIMULATED_S), open_pipeline)


def _row(what: str, setup: Setup, median_ms: float, p95_ms: float | None) -> dict[str, Any]:
    return {
        "what": what,
        "pictures": setup.name,
        "engine": setup.name.split(",")[0],
        "device": "cpu",
        "batch": 1,
        "threads": hardware()["cores"],
        "median_ms": round(median_ms, 3),
        "p95_ms": p95_ms,
    }


def bench_pipeline(setup: Setup, loops: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Whole runs with and without the overlay, taken in turn; returns rows for the file and lines to read."""
    rows: list[dict[str, Any]] = []
    lines: list[str] = []
    best: dict[bool, float] = {}
    for overlay in (True, False, True, False):
        source = LoopedSource(setup.open_source, loops)
        with tempfile.TemporaryDirectory() as folder:
            pipeline = setup.open_pipeline()
            try:
                summary = process_recording(
                    source, setup.rig, pipeline, RunOptions(Path(folder) / "out", overlay=overlay)
                ).summary
            finally:
                pipeline.detector.close()
        rate = summary["pairs_per_second"]
        memory = ", ".join(f"{mib:.0f}" for mib in source.memory_mib)
        kind = "with overlay" if overlay else "without overlay"
        lines.append(f"{kind}: {rate:.1f} pairs/s over {summary['frames']} pairs; memory after each loop {memory} MiB")
        if rate <= best.get(overlay, 0.0):
            continue
        best[overlay] = rate
        rows = [row for row in rows if not row["what"].endswith(kind)]
        rows.append(_row(f"whole pipeline {kind}", setup, 1e3 / rate, None) | {"memory_mib": source.memory_mib})
        for stage, times in summary["stage_ms"].items():
            rows.append(_row(f"{stage} {kind}", setup, times["median"], times["p95"]))
    return rows, lines


def _table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [f"{'what':<36} {'median ms':>10} {'p95 ms':>9}"]
    for row in rows:
        p95 = f"{row['p95_ms']:9.2f}" if row["p95_ms"] is not None else " " * 9
        lines.append(f"{row['what']:<36} {row['median_ms']:10.2f} {p95}")
    return lines


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m binopose.tools.bench", description="Measure speed and memory on this machine."
    )
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True)
    whole = parts.add_parser(
        "pipeline", help="whole runs over a recording (or a simulated scene), per stage, with and without overlay"
    )
    whole.add_argument("left", type=Path, nargs="?", metavar="LEFT", help="video of the left camera")
    whole.add_argument("right", type=Path, nargs="?", metavar="RIGHT", help="video of the right camera")
    whole.add_argument("--rig", type=Path, metavar="rig.toml", help="rig of the recording")
    whole.add_argument("--detector", default="blazepose", metavar="NAME|FILE", help="(default: %(default)s)")
    whole.add_argument("--denoiser", default="skeleton", metavar="NAME", help="(default: %(default)s)")
    whole.add_argument("--loops", type=int, default=3, metavar="N", help="play the recording N times (default: 3)")
    whole.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    options = parser.parse_args(arguments)
    started_s = time.perf_counter()
    try:
        if options.left is None:
            setup = _simulated(options.denoiser)
        elif options.right is None or options.rig is None:
            raise UserError(
                "a recording needs LEFT, RIGHT and --rig; without any of them a simulated scene is measured"
            )
        else:
            setup = _recorded(options.left, options.right, options.rig, options.detector, options.denoiser)
        rows, lines = bench_pipeline(setup, max(options.loops, 1))
        machine = hardware()
        print_line(f"{setup.name}, on {machine['cpu']}, {machine['cores']} cores, Python {machine['python']}")
        for line in [*lines, *_table(rows)]:
            print_line("  " + line)
        if options.json is not None:
            write_json(options.json, {"hardware": machine, "seconds": time.perf_counter() - started_s, "rows": rows})
    except UserError as error:
        print_error(str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
