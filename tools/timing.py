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

    k: steps of the denoiser; threads: that one inference may use; ratio_to_reference: how many times longer the
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


def interleaved(
    candidates: Sequence[Candidate], seconds: float, clock: Callable[[], float] = time.perf_counter
) -> list[Row]:
    """Time all candidates in turns, so that a machine that is slow for a while is so for all; `seconds` each.

    Every turn begins with a run that is not counted, which brings the candidate's data back into the caches. Garbage is
    collected between the turns and not in them.
    """
    durations_s: list[list[float]] = [[] for _ in candidates]
    collecting = gc.isenabled()
    gc.disable()
    try:
        while any(_unfinished(times, seconds) for times in durations_s):
            for candidate, times in zip(candidates, durations_s, strict=True):
                if _unfinished(times, seconds):
                    times += _one_turn(candidate.run, min(TURN_S, seconds), clock)
            gc.collect()
    finally:
        if collecting:
            gc.enable()
    return [
        replace(
            candidate.row,
            median_ms=1e3 * float(np.median(times)) / candidate.row.batch,
            p95_ms=1e3 * float(np.percentile(times, 95)) / candidate.row.batch,
        )
        for candidate, times in zip(candidates, durations_s, strict=True)
    ]


def _unfinished(times: list[float], seconds: float) -> bool:
    return len(times) < MIN_RUNS or sum(times) < seconds


def _one_turn(run: Callable[[], object], seconds: float, clock: Callable[[], float]) -> list[float]:
    run()
    times: list[float] = []
    while sum(times) < seconds:
        started_s = clock()
        run()
        times.append(clock() - started_s)
    return times


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
    lines = [["what", "engine", "device", "K", "batch", "threads", "median ms", "p95 ms", "ratio", "floor ms"]]
    for row in rows:
        facts = [row.what, row.engine, row.device, "" if row.k is None else str(row.k), str(row.batch)]
        times = [_figure(row.median_ms, 3), _figure(row.p95_ms, 3)]
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
