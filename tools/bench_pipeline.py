"""Speed and memory of whole runs."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..app.console import print_line
from ..app.factory import DenoiserChoice, engine_choice, open_denoiser, open_detector
from ..app.frames import FramePair
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
from ..engines.session import DEVICE_CHOICES
from .timing import Row, cores

SIMULATED_S = 10.0
MEBIBYTE = 2**20


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
    """What is measured. detector: its name; pictures: their size; open_source: opens them from the start."""

    detector: str
    pictures: str
    rig: StereoRig
    open_source: Callable[[], PairSource]
    open_pipeline: Callable[[], Pipeline]


def _recorded(options: argparse.Namespace) -> Setup:
    left, right = options.left, options.right
    with StereoRecording(left, right) as recording:
        rig, _ = load_rig(options.rig).adapted_to(recording.sizes_px)
        width, height = recording.sizes_px[0]

    def open_pipeline() -> Pipeline:
        rectifier, engine = Rectifier(rig), engine_choice(options.device)
        detector = open_detector(options.detector, rectifier, engine)
        return Pipeline(rectifier, detector, open_denoiser(DenoiserChoice(options.denoiser), engine))

    return Setup(options.detector, f"{width} x {height}", rig, lambda: StereoRecording(left, right), open_pipeline)


def _simulated(denoiser: str) -> Setup:
    rig = virtual_rig()
    scene = SimulatedScene(rig, SimulatedPerson())

    def open_pipeline() -> Pipeline:
        rectifier = Rectifier(rig)
        return Pipeline(rectifier, SimulatedDetector(scene.truth_m, rectifier), open_denoiser(DenoiserChoice(denoiser)))

    width, height = rig.left.size_px
    return Setup("simulated", f"{width} x {height}", rig, lambda: SimulatedSource(scene, SIMULATED_S), open_pipeline)


@dataclass(slots=True)
class BestRun:
    """Of several runs of one kind the fastest. memory_mib: after each loop."""

    pairs_per_second: float
    rows: list[Row]
    memory_mib: list[float]


def measure_run(setup: Setup, loops: int, overlay: bool) -> tuple[BestRun, str]:
    """One whole run; also a line that says how it went."""
    source = LoopedSource(setup.open_source, loops)
    with tempfile.TemporaryDirectory() as folder:
        pipeline = setup.open_pipeline()
        try:
            options = RunOptions(Path(folder) / "out", overlay=overlay)
            summary = process_recording(source, setup.rig, pipeline, options).summary
        finally:
            pipeline.detector.close()
    rate: float = summary["pairs_per_second"]
    kind = "with overlay" if overlay else "without overlay"
    base = Row("", setup.detector, summary["device"], threads=cores())
    rows = [replace(base, what=f"whole pipeline {kind}", median_ms=1e3 / rate)]
    for stage, times in summary["stage_ms"].items():
        rows.append(replace(base, what=f"{stage} {kind}", median_ms=times["median"], p95_ms=times["p95"]))
    memory = ", ".join(f"{mib:.0f}" for mib in source.memory_mib)
    line = f"{kind}: {rate:.1f} pairs/s over {summary['frames']} pairs; memory after each loop {memory} MiB"
    return BestRun(rate, rows, source.memory_mib), line


def add_part(parts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe `bench pipeline`."""
    whole = parts.add_parser(
        "pipeline", help="whole runs over a recording (or a simulated scene), per stage, with and without overlay"
    )
    whole.add_argument("left", type=Path, nargs="?", metavar="LEFT", help="video of the left camera")
    whole.add_argument("right", type=Path, nargs="?", metavar="RIGHT", help="video of the right camera")
    whole.add_argument("--rig", type=Path, metavar="rig.toml", help="rig of the recording")
    whole.add_argument("--detector", default="blazepose", metavar="NAME|FILE", help="(default: %(default)s)")
    whole.add_argument("--denoiser", default=DenoiserChoice.name, metavar="NAME", help="(default: %(default)s)")
    whole.add_argument("--device", choices=DEVICE_CHOICES, default="auto", help="(default: %(default)s)")
    whole.add_argument("--loops", type=int, default=3, metavar="N", help="play the recording N times (default: 3)")
    whole.set_defaults(measure=measure)


def measure(options: argparse.Namespace) -> tuple[list[Row], dict[str, Any]]:
    """Whole runs with and without the overlay, taken in turn, the better of two each; rows, and facts for the file."""
    if options.left is None:
        setup = _simulated(options.denoiser)
    elif options.right is None or options.rig is None:
        raise UserError("a recording needs LEFT, RIGHT and --rig; without any of them a simulated scene is measured")
    else:
        setup = _recorded(options)
    print_line(f"{setup.detector}, {setup.pictures}")
    best: dict[bool, BestRun] = {}
    for overlay in (True, False, True, False):
        run, line = measure_run(setup, max(options.loops, 1), overlay)
        print_line(line)
        if overlay not in best or run.pairs_per_second > best[overlay].pairs_per_second:
            best[overlay] = run
    facts = {
        "pictures": setup.pictures,
        "memory_mib": {"with overlay": best[True].memory_mib, "without overlay": best[False].memory_mib},
    }
    return [*best[True].rows, *best[False].rows], facts
