"""Speed of the detectors' networks, for both views of a pair."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..app.console import print_warning
from ..app.factory import engine_choice
from ..app.weights_cache import user_cache_dir
from ..calibration.errors import UserError
from ..engines.detectors.blazepose import LANDMARK_FILE, PERSON_FILE, BlazePoseNetwork
from ..engines.detectors.person import BlazePosePersonDetector
from ..engines.detectors.pose_model import PoseModel
from ..engines.detectors.pose_network import PoseNetwork
from ..engines.detectors.region import Region
from ..engines.detectors.rtmpose import RtmPoseNetwork
from ..engines.session import DEVICE_CHOICES, DeviceChoice
from ..models.weights import REGISTRY, locate
from .arithmetic import multiply_adds, sgemm_peak
from .timing import Candidate, Row, interleaved

PICTURE_PX = (1280, 720)
PERSON = Region((640.0, 360.0), (330.0, 440.0))
THREADS = (1, 2)


def noisy_pictures(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two pictures of nothing: what a network sees does not change how long it takes."""
    random = np.random.default_rng(seed)
    width, height = PICTURE_PX
    left, right = (random.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(2))
    return left, right


def pair_candidate(row: Row, network: PoseNetwork) -> Candidate:
    """Joints of one person in both views: cropping, network and decoding."""
    pictures, regions = noisy_pictures(), (PERSON, PERSON)
    return Candidate(row, lambda: network.read_both(pictures, regions))


def blazepose_candidates(folder: Path) -> list[Candidate]:
    """The landmark network of each view on a thread of its own, and the search for people in one view."""
    landmarks, people = BlazePoseNetwork(folder / LANDMARK_FILE), BlazePosePersonDetector(folder / PERSON_FILE)
    picture = noisy_pictures()[0]
    row = Row("blazepose, pair", "ai-edge-litert", "cpu", threads=2)
    search = replace(row, what="blazepose, search for people, one view", threads=1)
    return [pair_candidate(row, landmarks), Candidate(search, lambda: people.find(0, picture))]


def network_candidates(path: Path, device: DeviceChoice, threads: int) -> list[Candidate]:
    """A top-down network with both crops as one batch, with and without cropping and decoding."""
    model = PoseModel(path, threads, engine_choice(device))
    session = model.session
    row = Row(f"{path.stem}, pair", session.engine, session.device, threads=threads)
    width, height = model.input_size_px
    crops = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    network = pair_candidate(row, RtmPoseNetwork(model))
    return [network, Candidate(replace(row, what=f"{path.stem}, network and decoding"), lambda: model.run(crops))]


def installed_models() -> list[Path]:
    """The top-down networks of the weights cache."""
    found = []
    for entry in REGISTRY.values():
        folder = locate(entry, user_cache_dir())
        if folder is not None and entry.name != "blazepose":
            found += [folder / file.name for file in entry.files]
    return found


def with_floor(row: Row, contents: dict[str, bytes], peaks: dict[int, float]) -> Row:
    """The row with the time that the network's products alone would take, where that is known."""
    content = contents.get(row.what.split(",")[0])
    products = multiply_adds(content, 2) if content is not None and row.device == "cpu" else None
    return row if products is None else replace(row, floor_ms=2e3 * products / peaks[row.threads])


def add_part(parts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe `bench detectors`."""
    part = parts.add_parser("detectors", help="the detectors' networks, those in the weights cache and those given")
    part.add_argument("models", type=Path, nargs="*", metavar="MODEL", help="pose networks, .onnx or SDK .zip")
    part.add_argument("--device", choices=DEVICE_CHOICES, default="cpu", help="(default: %(default)s)")
    part.add_argument("--threads", type=int, nargs="+", default=THREADS, metavar="N", help="(default: 1 2)")
    part.add_argument("--seconds", type=float, default=1.0, metavar="S", help="for each row (default: 1)")
    part.set_defaults(measure=measure)


def measure(options: argparse.Namespace) -> tuple[list[Row], dict[str, Any]]:
    """Rows, and facts for the file."""
    models: list[Path] = options.models or installed_models()
    candidates = [
        candidate for path in models for number in options.threads
        for candidate in network_candidates(path, options.device, number)
    ]  # fmt: skip
    blazepose = locate(REGISTRY["blazepose"], user_cache_dir())
    if blazepose is not None:
        candidates += blazepose_candidates(blazepose)
    if not candidates:
        raise UserError("no detector to measure: give a model file, or get one with binopose models fetch blazepose")
    rows = interleaved(candidates, options.seconds)
    try:
        peaks = {number: sgemm_peak(number) for number in {row.threads for row in rows}}
    except ImportError as error:
        print_warning(f"no floor: torch is missing ({error})")
        return rows, {}
    contents = {path.stem: path.read_bytes() for path in models if path.suffix == ".onnx"}
    facts = {"sgemm_gflops": {str(number): round(peak / 1e9, 1) for number, peak in sorted(peaks.items())}}
    return [with_floor(row, contents, peaks) for row in rows], facts
