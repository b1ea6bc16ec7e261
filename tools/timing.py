"""Measuring durations fairly on a machine that does other things as well, and the rows they are reported in."""

from __future__ import annotations

import gc
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ..engines.cuda_driver import read_gpu
from ..engines.engine import EngineUnavailable

# One candidate runs this long before the next has its turn.
TURN_S = 0.1
# However long one run takes, so many are counted.
MIN_RUNS = 5
LIBRARIES = ("numpy", "opencv-python", "onnxruntime", "onnxruntime-gpu", "torch", "ai-edge-litert", "tensorrt")


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement. median_ms, p95_ms: for one stereo pair, also where `batch` pairs were run at once.

    cpu_ms: processor time of it, median, all threads together, which says more on a machine that is busy with other
    work; k: steps of the denoiser; threads: that one inference may use; ratio_to_reference: how many times longer the
    published algorithm took in the same run; floor_ms: what its multiplications would take at the processor's measured
    peak; None: does not apply, or was not measured.
    """

    what: str
    engine: str
    device: str
    k: int | None = None
    batch: int = 1
    threads: int = 1
    median_ms: float | None = None
    p95_ms: float | None = None
    cpu_ms: float | None = None
    ratio_to_reference: float | None = None
    floor_ms: float | None = None

    def to_json(self) -> dict[str, Any]:
        """For a file: rounded to what the clock is good for."""
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is to be measured. row: described, without times; run: does it once, for `row.batch` pairs."""

    row: Row
    run: Callable[[], object]


Clock = Callable[[], float]


def interleaved(
    candidates: Sequence[Candidate],
    seconds: float,
    clock: Clock = time.perf_counter,
    processor_clock: Clock = time.process_time,
) -> list[Row]:
    """Time all candidates in turns, so that a machine that is slow for a while is so for all; `seconds` each.

    Every turn begins with a run that is not counted, which brings the candidate's data back into the caches. Garbage is
    collected between the turns and not in them.
    """
    durations = [_Durations(clock, processor_clock) for _ in candidates]
    collecting = gc.isenabled()
    gc.disable()
    try:
        while any(taken.unfinished(seconds) for taken in durations):
            for candidate, taken in zip(candidates, durations, strict=True):
                if taken.unfinished(seconds):
                    taken.add_turn(candidate.run, min(TURN_S, seconds))
            gc.collect()
    finally:
        if collecting:
            gc.enable()
    return [taken.fill(candidate.row) for candidate, taken in zip(candidates, durations, strict=True)]


class _Durations:
    """How long the runs of one candidate took, by the clock on the wall and in processor time."""

    def __init__(self, clock: Clock, processor_clock: Clock) -> None:
        self._clock, self._processor_clock = clock, processor_clock
        self._elapsed_s: list[float] = []
        self._processor_s: list[float] = []
        self._total_s = 0.0

    def unfinished(self, seconds: float) -> bool:
        return len(self._elapsed_s) < MIN_RUNS or self._total_s < seconds

    def add_turn(self, run: Callable[[], object], seconds: float) -> None:
        run()
        end_s = self._total_s + seconds
        while self._total_s < end_s:
            started_s, processor_started_s = self._clock(), self._processor_clock()
            run()
            processor_s, elapsed_s = self._processor_clock() - processor_started_s, self._clock() - started_s
            self._elapsed_s.append(elapsed_s)
            self._processor_s.append(processor_s)
            self._total_s += elapsed_s

    def fill(self, row: Row) -> Row:
        """The row with the times of one pair."""
        per_pair_ms = 1e3 / row.batch
        return replace(
            row,
            median_ms=per_pair_ms * float(np.median(self._elapsed_s)),
            p95_ms=per_pair_ms * float(np.percentile(self._elapsed_s, 95)),
            cpu_ms=per_pair_ms * float(np.median(self._processor_s)),
        )


def hardware() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    try:
        gpu = read_gpu().name
    except EngineUnavailable:
        gpu = None
    return {
        "cpu": model,
        "cores": cores(),
        "gpu": gpu,
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": _library_versions(),
    }


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _library_versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def table(rows: Sequence[Row]) -> list[str]:
    """The rows to read, a line each, columns of the same width."""
    lines = [
        ["what", "engine", "device", "K", "batch", "threads", "median ms", "p95 ms", "cpu ms", "ratio", "floor ms"]
    ]
    for row in rows:
        facts = [row.what, row.engine, row.device, "" if row.k is None else str(row.k), str(row.batch)]
        times = [_figure(value, 3) for value in (row.median_ms, row.p95_ms, row.cpu_ms)]
        compared = [_figure(row.ratio_to_reference, 1), _figure(row.floor_ms, 3)]
        lines.append([*facts, str(row.threads), *times, *compared])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return [
        "  ".join(
            text.ljust(width) if column < 3 else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]


def _figure(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
