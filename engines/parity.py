"""Whether an engine is the model it was made from: it has to give the stored answers to the stored inputs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .engine import EngineUnavailable, Session, run_in_batches
from .model_file import ModelFileError, Reference

log = logging.getLogger(__name__)

LIMIT_MM = 1.0
LIMIT_PX = 1.0
HISTOGRAMS = ("simcc_x", "simcc_y")
HEATMAPS = "heatmaps"
# Two places of a histogram whose heights differ by less than this share of its range are equally good answers.
EQUAL_HEIGHT = 0.01
# For sizes that a network leaves open.
MADE_UP_SIZE = 2


class EngineInexact(EngineUnavailable):
    """An engine whose answers are not those of the model in the file."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """The largest distance of one output from what it should be; infinite where only one of the two is a number."""

    output: str
    distance: float
    limit: float
    unit: str

    @property
    def acceptable(self) -> bool:
        """Whether the engine may be used."""
        return self.distance <= self.limit

    def __str__(self) -> str:
        return f"{self.output} {self.distance:.3g} {self.unit} (at most {self.limit:g} {self.unit})"


def _largest_distance(expected: np.ndarray, found: np.ndarray) -> float:
    """Largest Euclidean distance of two arrays of vectors, (..., D) each; NaN is equal to NaN alone."""
    unlike = np.isfinite(expected) != np.isfinite(found)
    if unlike.any():
        return float("inf")
    difference = np.where(np.isfinite(expected), found.astype(np.float64) - expected, 0.0)
    return float(np.linalg.norm(difference, axis=-1).max(initial=0.0))


def _peak_distance_px(expected: np.ndarray, found: np.ndarray, axes: int, cells_per_px: np.ndarray) -> float:
    """Largest distance of the peaks of two stacks of histograms (axes 1) or heat maps (axes 2), in input pixels.

    A peak elsewhere counts only where the expected histogram is clearly lower: between two equal peaks, as an empty
    picture has, rounding decides.
    """
    if not np.isfinite(found).all():
        return float("inf")
    shape = expected.shape[-axes:]
    flat_expected, flat_found = (array.reshape(-1, int(np.prod(shape))) for array in (expected, found))
    rows = np.arange(len(flat_expected))
    peaks = flat_expected.argmax(axis=1), flat_found.argmax(axis=1)
    heights = flat_expected[rows, peaks[0]] - flat_expected[rows, peaks[1]]
    unlike = heights > EQUAL_HEIGHT * np.ptp(flat_expected, axis=1)
    places = [np.stack(np.unravel_index(peak, shape), axis=-1) / cells_per_px for peak in peaks]
    distances = np.linalg.norm(places[0] - places[1], axis=1)
    return float(distances[unlike].max(initial=0.0))


def is_comparable(name: str) -> bool:
    """Whether it is known what an output of this name means."""
    return name in (*HISTOGRAMS, HEATMAPS) or name.endswith(("_m", "_px"))


def deviation(name: str, expected: np.ndarray, found: np.ndarray, input_shape: tuple[int, ...]) -> Deviation | None:
    """How far an output is off, by what its name says it is; None for outputs of unknown meaning.

    `..._m` are vectors (the last axis), `..._px` numbers; `simcc_x`, `simcc_y` (N, J, bins) and `heatmaps` (N, J, H, W)
    are compared by their peaks. input_shape: of the picture, (N, 3, H, W).
    """
    if not is_comparable(name):
        return None
    if expected.shape != found.shape:
        return Deviation(name, float("inf"), 0.0, "(another shape)")
    if name in HISTOGRAMS:
        cells_per_px = np.array([expected.shape[-1] / input_shape[-1 if name == "simcc_x" else -2]])
        return Deviation(name, _peak_distance_px(expected, found, 1, cells_per_px), LIMIT_PX, "px")
    if name == HEATMAPS:
        cells_per_px = np.array(expected.shape[-2:]) / np.array(input_shape[-2:])
        return Deviation(name, _peak_distance_px(expected, found, 2, cells_per_px), LIMIT_PX, "px")
    if name.endswith("_m"):
        return Deviation(name, 1e3 * _largest_distance(expected, found), LIMIT_MM, "mm")
    return Deviation(name, _largest_distance(expected[..., None], found[..., None]), LIMIT_PX, "px")


def reference_from(session: Session, seed: int = 0) -> Reference:
    """Answers of a session that is trusted (the CPU's) to made-up inputs, for files that bring no reference.

    The inputs are smooth noise of mean 0 and spread 1, as normalised pictures have.
    """
    random = np.random.default_rng(seed)
    inputs = {}
    for port in session.inputs:
        shape = tuple(size or MADE_UP_SIZE for size in port.shape)
        noise = random.standard_normal(shape)
        for axis in range(2, len(shape)):
            noise = noise + np.roll(noise, 1, axis) + np.roll(noise, 2, axis) + np.roll(noise, 3, axis)
        inputs[port.name] = (noise / noise.std()).astype(port.dtype)
    return Reference(inputs, session.run(inputs))


def measure(path: Path, session: Session, reference: Reference) -> list[Deviation]:
    """Run the reference inputs and compare. Raises ModelFileError when they are not those of this network."""
    # TensorRT builds for the batch that it sees first and again for larger ones; live work is one pose at a time.
    at_once = 1 if session.device == "tensorrt" else None
    try:
        found = run_in_batches(session, reference.inputs, at_once)
    except ValueError as error:
        raise ModelFileError(
            f"{path}: the stored reference inputs do not fit the network: {error}; export it again"
        ) from error
    lacking = reference.outputs.keys() - found.keys()
    if lacking:
        raise ModelFileError(f"{path}: the network has no output {', '.join(sorted(lacking))}; export it again")
    input_shape = next(iter(reference.inputs.values())).shape
    measured = [deviation(name, expected, found[name], input_shape) for name, expected in reference.outputs.items()]
    compared = [one for one in measured if one is not None]
    if not compared:
        raise ModelFileError(f"{path}: none of the reference outputs {sorted(reference.outputs)} can be compared")
    return compared


def check_parity(path: Path, session: Session, reference: Reference, allow_inexact: bool = False) -> list[Deviation]:
    """Try an engine with the reference of its file; returns how far each output is off.

    Raises EngineInexact when one is further off than its limit, unless `allow_inexact`, which logs a warning instead.
    """
    deviations = measure(path, session, reference)
    worst = [str(one) for one in deviations if not one.acceptable]
    if not worst:
        log.info(
            "%s: %s on %s agrees with the reference: %s",
            path,
            session.engine,
            session.device,
            "; ".join(map(str, deviations)),
        )
        return deviations
    message = (
        f"{path}: {session.engine} on {session.device} ({session.hardware}) does not give the answers expected of the "
        f"file: off by {'; '.join(worst)}"
    )
    if not allow_inexact:
        raise EngineInexact(f"{message}. Use another --device, or --allow-inexact if that is good enough for you")
    log.warning("%s; used all the same, as --allow-inexact asks", message)
    return deviations
