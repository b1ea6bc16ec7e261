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
from ..models.nets.fused import double_answers, random_inputs
from ..models.nets.weights_file import load_weights
from ..models.weights import sha256_of

LIMIT_M = 1e-5
LIMIT_PX = 1e-3
# A body pressed together, hips nearer than their length allows, gives way in a direction that the last digit decides.
# So an export may differ by so many times what rounding the inputs to float32 moves the answer (found: up to 6), but
# never by more than the excused.
ROUNDINGS = 20
EXCUSED_M = 1e-4
SAMPLES = 512
TIMED_RUNS = 50


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far an export is from the network in float64.

    largest_m, mean_m: of the joints; unexcused_m: largest distance of joints or sigmas, less what rounding the inputs
    excuses, 0 when that is more; rows_px: largest difference of the row differences; median_ms: of an inference for
    `batch` poses. NaN wherever either of the two gave no number.
    """

    largest_m: float
    mean_m: float
    unexcused_m: float
    rows_px: float
    median_ms: float
    batch: int

    @property
    def acceptable(self) -> bool:
        """Whether the export may be shipped; false for NaN."""
        return self.unexcused_m <= LIMIT_M and self.rows_px <= LIMIT_PX


def compare(network: Denoiser, steps: int, session: Session, inputs: dict[str, np.ndarray]) -> Agreement:
    """Run both on the same inputs (by name, (N, ...) each)."""
    expected = double_answers(network, steps, inputs)
    rounded = double_answers(network, steps, _rounded_otherwise(inputs))
    found = run_in_batches(session, inputs)
    distance_m = np.linalg.norm(found["points_m"] - expected["points_m"], axis=-1)
    unexcused_m = []
    for name in ("points_m", "sigma_m"):
        off_m = np.linalg.norm(found[name] - expected[name], axis=-1).max(axis=1)
        moved_m = np.linalg.norm(rounded[name] - expected[name], axis=-1).max(axis=1)
        unexcused_m.append(np.maximum(off_m - np.minimum(ROUNDINGS * moved_m, EXCUSED_M), 0.0))
    # Minima and maxima of anything with a NaN in it are NaN.
    return Agreement(
        largest_m=float(distance_m.max()),
        mean_m=float(distance_m.mean()),
        unexcused_m=float(np.max(unexcused_m)),
        rows_px=float(np.abs(found["epipolar_px"] - expected["epipolar_px"]).max()),
        median_ms=_median_ms(session, inputs),
        batch=batch_of(session) or 1,
    )


def _rounded_otherwise(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Inputs that float32 could not tell from these, in float64: each half a last digit larger or smaller."""
    random = np.random.default_rng(0)
    half_digit = float(np.finfo(np.float32).eps) / 2
    return {
        name: value.astype(np.float64) * (1 + half_digit * random.choice([-1, 1], value.shape))
        for name, value in inputs.items()
    }


def _median_ms(session: Session, inputs: dict[str, np.ndarray]) -> float:
    batch = batch_of(session) or 1
    first = {name: value[:batch] for name, value in inputs.items()}
    times_s = []
    for _ in range(TIMED_RUNS):
        started_s = time.perf_counter()
        session.run(first)
        times_s.append(time.perf_counter() - started_s)
    return float(np.median(times_s) * 1e3)


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
    """The command. Returns the exit code: 3 when an export is further off than it may be."""
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
            agreed &= found.acceptable
            sys.stdout.write(
                f"{path}: largest difference {found.largest_m * 1e3:.5f} mm, mean {found.mean_m * 1e3:.6f} mm, "
                f"not due to rounding {found.unexcused_m * 1e3:.5f} mm; "
                f"{found.median_ms:.3f} ms a run of {found.batch}\n"
            )
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    if not agreed:
        sys.stderr.write(f"error: expected at most {LIMIT_M * 1e3:g} mm that are not due to rounding\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
