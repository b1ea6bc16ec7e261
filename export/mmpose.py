"""Export a top-down pose network of MMPose to the ONNX file that `--detector FILE.onnx` takes.

python -m binopose.export.mmpose CONFIG --checkpoint FILE --sha256 HEX -o model.onnx [--licence TEXT]
python -m binopose.export.mmpose CONFIG --random-weights -o model.onnx

Runs in an environment of its own, see docs/mmpose.md. Beside the network a model card is written, model.toml. The file
keeps its name only if ONNX Runtime gives the answers that PyTorch gave.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..calibration.errors import UserError
from ..engines.detectors.pose_model import PoseModel
from ..engines.model_file import ModelCard, Reference
from ..engines.parity import check_parity
from .mmpose_model import ExportError, Frameworks, MMPoseModel, build_model, load_frameworks, to_onnx

LICENCE_UNKNOWN = "not stated; ask whoever published the checkpoint"
LICENCE_RANDOM = "none needed: random weights, nothing learnt"


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to export. config: path, or name of a config that comes with MMPose; checkpoint: None for random weights."""

    config: str
    output: Path
    checkpoint: Path | None = None
    sha256: str | None = None
    licence: str = LICENCE_UNKNOWN


@dataclass(frozen=True, slots=True)
class Weights:
    """Where weights come from. content: of the checkpoint whose checksum was confirmed, None for random ones."""

    description: str
    content: bytes | None = None

    def sha256(self, model: MMPoseModel) -> str:
        """Of the checkpoint file; of the numbers themselves where there is none."""
        if self.content is not None:
            return hashlib.sha256(self.content).hexdigest()
        digest = hashlib.sha256()
        for tensor in model.network.state_dict().values():
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()


def confirmed_weights(request: ExportRequest) -> Weights:
    """The checkpoint's bytes, read once and compared with the checksum; nothing of them has been interpreted.

    Raises ExportError unless the checksum is that of the file.
    """
    if request.checkpoint is None:
        if request.sha256 is not None:
            raise ExportError("--sha256: expected together with --checkpoint; random weights have no file")
        return Weights("random weights, seed 0")
    if not request.checkpoint.is_file():
        raise ExportError(f"{request.checkpoint}: no such file; expected a checkpoint of MMPose (.pth)")
    expected = (request.sha256 or "").strip().lower()
    if not re.fullmatch(r"[0-9a-f]{64}", expected):
        raise ExportError(
            f"{request.checkpoint}: a checkpoint can run code when it is read, so say with --sha256 which one you "
            f'mean; expected 64 hexadecimal digits, found "{expected}". sha256sum prints them; the names of '
            "OpenMMLab's files hold the first eight"
        )
    content = request.checkpoint.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ExportError(
            f"{request.checkpoint}: expected the file with sha256 {expected}, found {found}; it was not read. Get the "
            "checkpoint again, or correct --sha256 if you trust this one"
        )
    return Weights(f"checkpoint {request.checkpoint.name}", content)


def export(request: ExportRequest) -> MMPoseModel:
    """Write the ONNX file and its card. Raises ExportError; EngineUnavailable when the result is not the model."""
    if request.output.suffix != ".onnx":
        raise ExportError(f"{request.output}: expected a name ending in .onnx")
    if not request.output.parent.is_dir():
        raise ExportError(f"{request.output.parent}: no such folder")
    weights = confirmed_weights(request)
    frameworks = load_frameworks()
    model = build_model(frameworks, request.config, weights.content)
    pictures = model.pose_format.preprocessing.normalised(reference_crops(model.input_size_px))
    network, answers = to_onnx(frameworks, model, pictures)
    card = ModelCard(
        kind="detector",
        skeleton=model.skeleton.joints,
        steps=0,
        training_run=f"MMPose {model.name}, {weights.description}",
        weights_sha256=weights.sha256(model),
        reference=Reference({"input": pictures}, answers),
        detector=model.pose_format.to_text(),
    )
    unproven = request.output.with_name(request.output.stem + ".unproven.onnx")
    try:
        unproven.write_bytes(_with_metadata(network, card))
        largest = _prove(unproven, card.reference)
        facts = _card_facts(request, model, card, frameworks) | {"onnxruntime_against_torch": largest}
        facts["onnx_sha256"] = hashlib.sha256(unproven.read_bytes()).hexdigest()
        _write_card(request.output.with_suffix(".toml"), facts)
        unproven.replace(request.output)
    finally:
        unproven.unlink(missing_ok=True)
    return model


def reference_crops(size_px: tuple[int, int]) -> np.ndarray:
    """Two drawn people, to try engines with: upright, and bent in other colours. (2, H, W, 3) uint8 BGR.

    Even colours: the file holds these pictures, and they shrink to next to nothing.
    """
    width, height = size_px
    crops = []
    for lean, (ground, cloth, skin) in (
        (0.0, ((90, 120, 100), (160, 60, 40), (130, 170, 210))),
        (0.12, ((200, 190, 180), (40, 40, 150), (70, 90, 130))),
    ):
        crop = np.full((height, width, 3), ground, np.uint8)

        def at(x: float, y: float, lean: float = lean) -> tuple[int, int]:
            return round((x + lean * (0.5 - y)) * width), round(y * height)

        thick = max(2, width // 12)
        cv2.ellipse(crop, at(0.5, 0.16), (width // 11, height // 14), 0, 0, 360, skin, -1)
        cv2.line(crop, at(0.5, 0.3), at(0.5, 0.5), cloth, 3 * thick)
        for side in (-1, 1):
            cv2.line(crop, at(0.5 + 0.14 * side, 0.27), at(0.5 + 0.26 * side, 0.42), skin, thick)
            cv2.line(crop, at(0.5 + 0.26 * side, 0.42), at(0.5 + 0.22 * side + lean, 0.56), skin, thick)
            cv2.line(crop, at(0.5 + 0.08 * side, 0.52), at(0.5 + 0.11 * side, 0.72), cloth, thick)
            cv2.line(crop, at(0.5 + 0.11 * side, 0.72), at(0.5 + 0.1 * side - lean, 0.92), cloth, thick)
        crops.append(crop)
    return np.stack(crops)


def _with_metadata(network: bytes, card: ModelCard) -> bytes:
    import onnx

    model = onnx.load_model_from_string(network)
    onnx.helper.set_model_props(model, card.to_metadata())
    return model.SerializeToString()


def _prove(path: Path, reference: Reference) -> float:
    """Open the file as the program does, parity check included; returns the largest difference of any output.

    Then each picture alone: an export can hold on to the batch that it was made with.
    """
    model = PoseModel(path, threads=1)
    for one in range(len(next(iter(reference.inputs.values())))):
        inputs, outputs = (
            {name: array[one : one + 1] for name, array in arrays.items()}
            for arrays in (reference.inputs, reference.outputs)
        )
        check_parity(path, model.session, Reference(inputs, outputs))
    found = model.session.run(reference.inputs)
    model.session.close()
    return max(float(np.abs(found[name] - expected).max()) for name, expected in reference.outputs.items())


def _card_facts(request: ExportRequest, model: MMPoseModel, card: ModelCard, frameworks: Frameworks) -> dict[str, Any]:
    """The model card: what the network is, where it comes from, how it is fed and read."""
    preprocessing, codec = model.pose_format.preprocessing, model.pose_format.codec
    return {
        "what": f"2D pose network for one person in a crop: {model.name}",
        "config": model.config.name,
        "config_sha256": hashlib.sha256(model.config.read_bytes()).hexdigest(),
        "weights": card.training_run.partition(", ")[2],
        "weights_sha256": card.weights_sha256,
        "licence": LICENCE_RANDOM if request.checkpoint is None else request.licence,
        "exported_with": f"MMPose {frameworks.mmpose.__version__}, PyTorch {frameworks.torch.__version__}",
        "input_size_px": list(model.input_size_px),
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "is_rgb": preprocessing.is_rgb,
        "padding": preprocessing.padding,
        "corner_aligned": preprocessing.corner_aligned,
        "codec": codec.name if codec.name == "simcc" else f"heat maps, {codec.name}, blur of {codec.blur_cells} cells",
        "flip_test": False,
        "skeleton": model.skeleton.name,
        "joints": list(model.skeleton.joints),
    }


def _write_card(path: Path, facts: dict[str, Any]) -> None:
    import tomli_w

    path.write_text(tomli_w.dumps(facts), encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m binopose.export.mmpose",
        description="Export a top-down pose network of MMPose to ONNX. The config is run as a program: use only those "
        "that you trust.",
    )
    parser.add_argument("config", help="config of MMPose: a file, or the name of one that comes with MMPose")
    weights = parser.add_mutually_exclusive_group(required=True)
    weights.add_argument("--checkpoint", type=Path, metavar="FILE.pth", help="trained weights")
    weights.add_argument("--random-weights", action="store_true", help="none: for tests of speed and of the export")
    parser.add_argument("--sha256", metavar="HEX", help="of the checkpoint, which is not read unless it fits")
    parser.add_argument("--licence", default=LICENCE_UNKNOWN, metavar="TEXT", help="of the weights, for the model card")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.onnx")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    request = ExportRequest(options.config, options.output, options.checkpoint, options.sha256, options.licence)
    try:
        model = export(request)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    width, height = model.input_size_px
    sys.stdout.write(
        f"{request.output}: {model.name}, {len(model.skeleton)} joints of {model.skeleton.name}, {width} x {height}\n"
        f"{request.output.with_suffix('.toml')}: its model card\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
