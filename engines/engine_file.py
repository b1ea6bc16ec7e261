"""Engine files: what TensorRT built for one kind of GPU, with the description of the model it was built from.

A zip without compression of `engine.plan` (TensorRT's own bytes), `card.json` (the pairs of text of `model_file`) and
`build.json` (what it was built with). TensorRT's bytes alone tell neither which model they are nor where they fit.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from .model_file import ModelFileError

PLAN, CARD, BUILD = "engine.plan", "card.json", "build.json"
EXPECTED = "expected a TensorRT engine written by python -m binopose.export.tensorrt"

Precision = Literal["fp32", "fp16"]


@dataclass(frozen=True, slots=True)
class EngineBuild:
    """What an engine was built with. tensorrt: version; gpu, capability: name and compute capability of the GPU."""

    tensorrt: str
    gpu: str
    capability: str
    precision: Precision
    batch: int


@dataclass(frozen=True, slots=True)
class EngineFile:
    """plan: for TensorRT; metadata: the description of the model, as in its ONNX file."""

    plan: bytes
    metadata: Mapping[str, str]
    build: EngineBuild

    def to_bytes(self) -> bytes:
        """The file's content."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(BUILD, json.dumps(asdict(self.build), indent=1))
            archive.writestr(CARD, json.dumps(dict(self.metadata)))
            archive.writestr(PLAN, self.plan)
        return buffer.getvalue()

    @staticmethod
    def from_bytes(path: Path, content: bytes) -> EngineFile:
        """Read a file's content; raises ModelFileError naming what is wrong with it. path: for the message."""
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                # Every member has a checksum, which reading verifies.
                plan, card, build = (archive.read(name) for name in (PLAN, CARD, BUILD))
            metadata = json.loads(card)
            facts = json.loads(build)
            built = EngineBuild(
                tensorrt=str(facts["tensorrt"]),
                gpu=str(facts["gpu"]),
                capability=str(facts["capability"]),
                precision="fp16" if facts["precision"] == "fp16" else "fp32",
                batch=int(facts["batch"]),
            )
            return EngineFile(plan, {str(key): str(value) for key, value in metadata.items()}, built)
        except (zipfile.BadZipFile, EOFError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelFileError(
                f"{path}: {EXPECTED}; this file is damaged or another ({error}); build it again"
            ) from error
