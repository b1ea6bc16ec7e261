"""Compare exports of a denoiser with the network itself in float64.

python -m binopose.export.check WEIGHTS.npz DENOISER.onnx ... [--device cpu]
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..calibration.errors import UserError
from ..engines.engine import Session, batch_of, run_in_batches
from ..engines.model_file import ModelFileError, require_kind
from ..engines.session import DEVICE_CHOICES, open_session
from ..models.nets.denoiser import Denoiser
from ..models.nets.weights_file import load_weights
from ..models.weights import sha256_of
from .fused import random_inputs
from .onnx import double_answers

LIMIT_M = 1e-5
SAMPLES = 512
TIMED_RUNS = 50


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far an export's joints are from the network's in float64, metres, and milliseconds per inference."""

    largest_m: float
    mean_m: float
    median_ms: float
    batch: int


def compare(network: Denoiser, steps: int, session: Session, inputs: dict[str, np.ndarray]) -> Agreement:
    """Run both on the same inputs (by name, (N, ...) each)."""
    expected_m = double_answers(network, steps, inputs)["points_m"]
    found_m = run_in_batches(session, inputs)["points_m"]
    distance_m = np.linalg.norm(found_m - expected_m, axis=-1)
    batch = batch_of(session) or 1
    first = {name: value[:batch] for name, value in inputs.items()}
    times_s = []
    for _ in range(TIMED_RUNS):
        started_s = time.perf_counter()
        session.run(first)
        times_s.append(time.perf_counter() - started_s)
    # Written so that a single NaN fails every comparison with a limit.
    return Agreement(float(distance_m.max()), float(distance_m.mean()), float(np.median(times_s) * 1e3), batch)


def check_export(weights: Path, exported: Path, device: str = "cpu") -> Agreement:
    """Compare one exported file with the weights it claims to be from.

    Raises ModelFileError when it is from other weights, or no denoiser.
    """
    network, _ = load_weights(weights)
    session = open_session(exported, device)
    card = require_kind(exported, session.card, "denoiser")
    if card.weights_sha256 != sha256_of(weights):
        raise ModelFileError(
            f"{exported}: exported from weights with sha256 {card.weights_sha256}, {weights} has {sha256_of(weights)}; "
            "export it again with python -m binopose.export.onnx"
        )
    return compare(network, card.steps, session, random_inputs(SAMPLES, seed=7))


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code: 3 when an export is further off than LIMIT_M."""
    parser = argparse.ArgumentParser(
        prog="python -m binopose.export.check",
        description=f"Compare exports with the network in float64 on {SAMPLES} random rigs and poses.",
    )
    parser.add_argument("weights", type=Path, metavar="WEIGHTS.npz", help="what was exported")
    parser.add_argument("exported", type=Path, nargs="+", metavar="DENOISER.onnx", help="the exports")
    parser.add_argument("--device", choices=DEVICE_CHOICES, default="cpu", help="where to run them (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        agreed = True
        for path in options.exported:
            found = check_export(options.weights, path, options.device)
            agreed &= found.largest_m <= LIMIT_M
            sys.stdout.write(
                f"{path}: largest difference {found.largest_m * 1e3:.5f} mm, mean {found.mean_m * 1e3:.6f} mm; "
                f"{found.median_ms:.3f} ms a run of {found.batch}\n"
            )
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    if not agreed:
        sys.stderr.write(f"error: expected at most {LIMIT_M * 1e3:g} mm\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
