"""What a model file says about itself, and whether it is the model that the caller can use.

The facts travel inside the file as pairs of text (`metadata_props` of ONNX, a JSON member of a TensorRT engine file),
so reading them needs nothing but the runtime that runs the model. They hold a few inputs with the outputs that the
network gave for them before it was exported: with these every engine is tried before it is used (`parity`).
"""

from __future__ import annotations

import base64
import binascii
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import numpy as np

from ..calibration.errors import UserError
from ..models.skeleton import Skeleton

FORMAT_VERSION = "1"
KINDS = ("denoiser", "detector")
ModelKind = Literal["denoiser", "detector"]

_PREFIX = "binopose."
_KEYS = ("kind", "skeleton", "steps", "training_run", "weights_sha256", "reference")
# Only in the files of detectors.
_DETECTOR_KEY = "detector"


class ModelFileError(UserError):
    """A file that holds no model, another model than was asked for, or one of another version."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Inputs and the outputs that belong to them, by name. Empty: the file has none, nothing can be compared."""

    inputs: Mapping[str, np.ndarray] = field(default_factory=dict)
    outputs: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.inputs) and bool(self.outputs)

    def to_text(self) -> str:
        """Base64 of a compressed .npz with the arrays `in.NAME` and `out.NAME`."""
        arrays = {f"in.{name}": array for name, array in self.inputs.items()}
        arrays |= {f"out.{name}": array for name, array in self.outputs.items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **{name: np.asarray(array) for name, array in arrays.items()})
        return base64.b64encode(buffer.getvalue()).decode("ascii")

    @staticmethod
    def from_text(text: str) -> Reference:
        """The inverse of `to_text`; raises ValueError for anything else."""
        try:
            with np.load(io.BytesIO(base64.b64decode(text, validate=True)), allow_pickle=False) as arrays:
                named = {name: arrays[name] for name in arrays.files}
        except (binascii.Error, zipfile.BadZipFile, OSError, EOFError, KeyError) as error:
            raise ValueError(f"not a compressed .npz in base64 ({error})") from error
        parts = {
            part: {name.removeprefix(part): array for name, array in named.items() if name.startswith(part)}
            for part in ("in.", "out.")
        }
        return Reference(parts["in."], parts["out."])


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model file of ours says about itself.

    skeleton: names of the joints in their order; steps: K of a denoiser, 0 for a detector; training_run: which training
    the weights are from; weights_sha256: of the weights that were exported; detector: how pictures go in and how joints
    come out (`detectors.pose_format`), empty for a denoiser.
    """

    kind: ModelKind
    skeleton: tuple[str, ...]
    steps: int
    training_run: str
    weights_sha256: str
    reference: Reference = field(default_factory=Reference)
    detector: str = ""

    def to_metadata(self) -> dict[str, str]:
        """The card as pairs of text, to be kept in the file."""
        values = {
            "format": FORMAT_VERSION,
            "kind": self.kind,
            "skeleton": ",".join(self.skeleton),
            "steps": str(self.steps),
            "training_run": self.training_run,
            "weights_sha256": self.weights_sha256,
            "reference": self.reference.to_text(),
        }
        if self.detector:
            values[_DETECTOR_KEY] = self.detector
        return {_PREFIX + key: value for key, value in values.items()}


def read_card(path: Path, metadata: Mapping[str, str]) -> ModelCard | None:
    """The card in a file's pairs of text, None when the file is not ours.

    Raises ModelFileError for a card of another version or one that is damaged. path: for the message alone.
    """
    version = metadata.get(_PREFIX + "format")
    if version is None:
        return None
    if version != FORMAT_VERSION:
        raise ModelFileError(
            f'{path}: model file of format "{version}", this program reads format "{FORMAT_VERSION}"; '
            "use the file that came with this version, or export it again"
        )
    missing = [_PREFIX + key for key in _KEYS if _PREFIX + key not in metadata]
    if missing:
        raise ModelFileError(f"{path}: the model's own description lacks {', '.join(missing)}; export it again")
    values = {key: metadata[_PREFIX + key] for key in _KEYS}
    if values["kind"] not in KINDS:
        raise ModelFileError(f'{path}: expected a model of kind {" or ".join(KINDS)}, found "{values["kind"]}"')
    try:
        return ModelCard(
            kind=cast(ModelKind, values["kind"]),
            skeleton=tuple(name for name in values["skeleton"].split(",") if name),
            steps=int(values["steps"]),
            training_run=values["training_run"],
            weights_sha256=values["weights_sha256"],
            reference=Reference.from_text(values["reference"]),
            detector=metadata.get(_PREFIX + _DETECTOR_KEY, ""),
        )
    except ValueError as error:
        raise ModelFileError(f"{path}: the model's own description is damaged: {error}; export it again") from error


def require_kind(path: Path, card: ModelCard | None, kind: ModelKind) -> ModelCard:
    """The card of a file that has to be ours and of a kind; raises ModelFileError for any other."""
    if card is None:
        raise ModelFileError(
            f"{path}: expected a {kind} exported by this program, found a network without its description; "
            "export it with python -m binopose.export.onnx"
        )
    if card.kind != kind:
        raise ModelFileError(f"{path}: expected a {kind}, found a {card.kind}")
    return card


def require_skeleton(path: Path, card: ModelCard, skeleton: Skeleton) -> None:
    """Raise ModelFileError unless the model's joints are those of `skeleton`, in its order."""
    if card.skeleton == skeleton.joints:
        return
    differing = [
        f'joint {index} is "{found}" instead of "{expected}"'
        for index, (expected, found) in enumerate(zip(skeleton.joints, card.skeleton, strict=False))
        if expected != found
    ]
    what = differing[0] if differing else f"it has {len(card.skeleton)}"
    raise ModelFileError(
        f"{path}: expected the {len(skeleton)} joints of {skeleton.name}, but {what}; "
        f"export the model for {skeleton.name}"
    )
