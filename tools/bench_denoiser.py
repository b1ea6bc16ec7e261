"""Speed of the exported denoisers against the published algorithm and against the arithmetic they need."""

from __future__ import annotations

import argparse
import functools
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..app.console import print_warning
from ..app.factory import engine_choice
from ..calibration.errors import UserError
from ..engines.engine import batch_of
from ..engines.model_file import ModelCard, require_kind
from ..engines.session import DEVICE_CHOICES, DeviceChoice, Session
from ..models.trained import denoiser_files
from .arithmetic import multiply_adds, sgemm_peak
from .timing import Candidate, Row, interleaved

BATCHES = (1, 10, 64)
THREADS = (1, 2)
OPENINGS = 5
REFERENCE = "published algorithm"

# A rig and a person as in a living room.
FOCAL_PX, BASELINE_M, CENTRE_PX = 900.0, 0.4, (639.5, 359.5)
PERSON_M = (0.2, 0.0, 3.5)


@dataclass(frozen=True, slots=True)
class Model:
    """An exported denoiser, opened for a number of threads."""

    path: Path
    content: bytes
    session: Session
    card: ModelCard
    threads: int


def open_models(paths: Sequence[Path], device: DeviceChoice, threads: Sequence[int]) -> list[Model]:
    """Every file for every number of threads; on a GPU the threads make no difference and one is opened."""
    opened = []
    for path in paths:
        for number in threads:
            session = engine_choice(device).open(path, number)
            card = require_kind(path, session.card, "denoiser")
            opened.append(Model(path, path.read_bytes(), session, card, number))
            if session.device != "cpu":
                break
    return opened


def sample_inputs(session: Session, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    """People seen with a little noise by a rig, as the inputs of a denoiser."""
    sizes = {port.name: port.shape[1:] for port in session.inputs}
    joints, lengths = sizes["left_px"][0], sizes["lengths_m"][0]
    if joints is None or lengths is None:
        raise UserError(f"expected a denoiser with a fixed number of joints and lengths, found {sizes}")
    random = np.random.default_rng(seed)
    points_m = random.normal(0, 0.35, (batch, joints, 3)) + PERSON_M
    left, right = (points_m - [shift_m, 0, 0] for shift_m in (0.0, BASELINE_M))
    noise_px = random.normal(0, 2, (2, batch, joints, 2))
    views = [
        view[..., :2] / view[..., 2:] * FOCAL_PX + CENTRE_PX + noise
        for view, noise in zip((left, right), noise_px, strict=True)
    ]
    return {
        "left_px": views[0],
        "right_px": views[1],
        "confidence": random.uniform(0.3, 1, (batch, joints)),
        "rig": np.tile([FOCAL_PX, BASELINE_M, CENTRE_PX[0], CENTRE_PX[0], CENTRE_PX[1]], (batch, 1)),
        "lengths_m": random.uniform(0.2, 0.45, (batch, lengths)),
    }


def model_candidates(model: Model, batches: Sequence[int]) -> list[Candidate]:
    """One file with every batch that it takes."""
    fixed = batch_of(model.session)
    candidates = []
    for batch in batches if fixed is None else (fixed,):
        inputs = {name: array.astype(np.float32) for name, array in sample_inputs(model.session, batch).items()}
        row = Row(model.path.stem, model.session.engine, model.session.device, model.card.steps, batch, model.threads)
        candidates.append(Candidate(row, functools.partial(model.session.run, inputs)))
    return candidates


def reference_candidates(wanted: Sequence[tuple[int, int]]) -> list[Candidate]:
    """The published algorithm for each (steps, batch). Needs torch.

    On one thread: for one person a second one slows it down, and its waiting threads would slow down all others here.
    """
    import torch

    from .published import PublishedMethod, project_both

    torch.set_num_threads(1)
    methods = {steps: PublishedMethod(steps) for steps, _ in wanted}
    candidates = []
    for steps, batch in wanted:
        generator = torch.Generator().manual_seed(0)
        points_m = torch.randn(batch, 17, 3, generator=generator) * 0.35 + torch.tensor(PERSON_M)
        baseline_m = torch.full((batch,), BASELINE_M)
        views = project_both(points_m, baseline_m)
        row = Row(REFERENCE, f"torch {torch.__version__}", "cpu", steps, batch)
        candidates.append(Candidate(row, functools.partial(methods[steps].run, *views, baseline_m)))
    return candidates


def with_ratios(rows: list[Row]) -> list[Row]:
    """Each row with how many times longer the published algorithm took for the same work on one thread."""
    reference_ms = {(row.k, row.batch): row.median_ms for row in rows if row.what == REFERENCE}
    return [row if row.what == REFERENCE else _compared(row, reference_ms.get((row.k, row.batch))) for row in rows]


def _compared(row: Row, reference_ms: float | None) -> Row:
    if reference_ms is None or not row.median_ms:
        return row
    return replace(row, ratio_to_reference=reference_ms / row.median_ms)


def with_floors(rows: list[Row], opened: list[Model], peak: Callable[[int], float]) -> list[Row]:
    """Each row of a model on the CPU with the time that its products alone would take."""
    counts: dict[tuple[str, int], int | None] = {}
    contents = {model.path.stem: model.content for model in opened if model.path.suffix == ".onnx"}
    peaks = {threads: peak(threads) for threads in sorted({row.threads for row in rows})}
    floored = []
    for row in rows:
        products = None
        if row.what in contents and row.device == "cpu":
            key = (row.what, row.batch)
            if key not in counts:
                counts[key] = multiply_adds(contents[row.what], row.batch)
            products = counts[key]
        floor_ms = None if products is None else 2e3 * products / row.batch / peaks[row.threads]
        floored.append(replace(row, floor_ms=floor_ms))
    return floored


_OPEN = """
import sys, time, numpy as np
from pathlib import Path
from binopose.engines.session import open_session
from binopose.tools.bench_denoiser import sample_inputs
started_s = time.perf_counter()
session = open_session(Path(sys.argv[1]), sys.argv[2])
session.run(sample_inputs(session, session.inputs[0].shape[0] or 1))
print(time.perf_counter() - started_s)
"""


def opening_row(model: Model) -> Row:
    """Opening the file with the parity check and a first inference, the runtime's own start included."""
    times_s = []
    for _ in range(OPENINGS):
        done = subprocess.run(
            [sys.executable, "-c", _OPEN, str(model.path), model.session.device],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise UserError(f"{model.path}: opening it in a process of its own failed: {done.stderr.strip()[-300:]}")
        times_s.append(float(done.stdout))
    row = Row(f"opening {model.path.stem}", model.session.engine, model.session.device, model.card.steps)
    return replace(row, median_ms=1e3 * float(np.median(times_s)), p95_ms=1e3 * float(np.percentile(times_s, 95)))


def add_part(parts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe `bench denoiser`."""
    part = parts.add_parser("denoiser", help="exported denoisers against the published algorithm")
    part.add_argument(
        "models", type=Path, nargs="*", metavar="MODEL", help="exported denoisers, .onnx or .engine (default: shipped)"
    )
    part.add_argument("--device", choices=DEVICE_CHOICES, default="cpu", help="(default: %(default)s)")
    part.add_argument("--batches", type=int, nargs="+", default=BATCHES, metavar="N", help="(default: 1 10 64)")
    part.add_argument("--threads", type=int, nargs="+", default=THREADS, metavar="N", help="(default: 1 2)")
    part.add_argument("--seconds", type=float, default=1.0, metavar="S", help="for each row (default: 1)")
    part.set_defaults(measure=measure)


def measure(options: argparse.Namespace) -> tuple[list[Row], dict[str, Any]]:
    """Rows, and facts for the file."""
    paths = options.models or list(denoiser_files().values())
    if not paths:
        raise UserError("no denoiser comes with this program; give a file written by python -m binopose.export.onnx")
    opened = open_models(paths, options.device, options.threads)
    candidates = [candidate for model in opened for candidate in model_candidates(model, options.batches)]
    wanted = sorted({(row.k or 1, row.batch) for row in (one.row for one in candidates)})
    try:
        candidates += reference_candidates(wanted)
        peak = sgemm_peak
    except ImportError as error:
        print_warning(f"no comparison with the published algorithm and no floor: torch is missing ({error})")
        peak = None
    rows = with_ratios(interleaved(candidates, options.seconds))
    facts: dict[str, Any] = {"models": {str(model.path): model.card.training_run for model in opened}}
    if peak is not None:
        rows = with_floors(rows, opened, peak)
        facts["sgemm_gflops"] = {str(number): round(peak(number) / 1e9, 1) for number in options.threads}
    return [*rows, *(opening_row(model) for model in opened if model.threads == options.threads[0])], facts
