"""Top-down pose networks with SimCC outputs, as MMPose's RTMPose: what a file holds, and how to run it.

A file is either a bare ONNX network or an OpenMMLab SDK archive (zip) with the network and its `pipeline.json`.
SimCC (Li et al., ECCV 2022) answers with two histograms per joint, one over the columns and one over the rows.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ...calibration.errors import UserError
from ...models.skeleton import COCO17, HALPE26, Skeleton
from ..engine import run_in_batches
from ..model_file import require_kind, require_skeleton
from ..session import ON_CPU, EngineChoice

NETWORK_MEMBER = "end2end.onnx"
PIPELINE_MEMBER = "pipeline.json"
SKELETON_OF_JOINTS = {len(skeleton): skeleton for skeleton in (COCO17, HALPE26)}

# Mean and standard deviation of ImageNet's red, green, blue on the scale 0..255: what MMPose trains with.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
DEFAULT_PADDING = 1.25

EXPECTED = "expected a top-down pose network with SimCC outputs (RTMPose), as ONNX file or OpenMMLab SDK zip"


class PoseModelError(UserError):
    """A file that is no pose network this program can run."""


@dataclass(frozen=True)
class Preprocessing:
    """What a network expects of its input. mean, std: per channel, on 0..255; padding: margin around the person."""

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    is_rgb: bool = True
    padding: float = DEFAULT_PADDING


def _read_archive(path: Path) -> tuple[bytes, Preprocessing]:
    """The network of an SDK archive, and its preprocessing."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {PurePosixPath(name).name: name for name in archive.namelist()}
            if NETWORK_MEMBER not in members:
                raise PoseModelError(
                    f"{path}: {EXPECTED}; this archive has no {NETWORK_MEMBER}, only {', '.join(sorted(members)[:8])}"
                )
            network = archive.read(members[NETWORK_MEMBER])
            pipeline = json.loads(archive.read(members[PIPELINE_MEMBER])) if PIPELINE_MEMBER in members else None
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise PoseModelError(f"{path}: {EXPECTED}; the archive is damaged ({error}), fetch it again") from error
    except ValueError as error:
        raise PoseModelError(f"{path}: {PIPELINE_MEMBER} in it is not JSON ({error}), fetch it again") from error
    return network, Preprocessing() if pipeline is None else _preprocessing(path, pipeline)


def _preprocessing(path: Path, pipeline: Any) -> Preprocessing:
    """What `pipeline.json` says about the input; MMPose's own values where it is silent."""
    try:
        steps = [step for task in pipeline["pipeline"]["tasks"] for step in task.get("transforms", [])]
        by_type = {step["type"]: step for step in steps}
        normalize = by_type.get("Normalize", {})
        mean, std = normalize.get("mean", IMAGENET_MEAN), normalize.get("std", IMAGENET_STD)
        padding = float(by_type.get("TopDownGetBboxCenterScale", {}).get("padding", DEFAULT_PADDING))
        red, green, blue = (float(v) for v in mean)
        red_std, green_std, blue_std = (float(v) for v in std)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PoseModelError(
            f"{path}: {PIPELINE_MEMBER} in it is not that of an OpenMMLab pose SDK ({error!r}); "
            "use the archive as downloaded, or the bare ONNX file"
        ) from error
    if min(red_std, green_std, blue_std) <= 0 or not 0.5 < padding < 3:
        raise PoseModelError(f"{path}: {PIPELINE_MEMBER} in it has std {std} and padding {padding}, which cannot be")
    is_rgb = bool(normalize.get("to_rgb", True))
    return Preprocessing((red, green, blue), (red_std, green_std, blue_std), is_rgb, padding)


class SimccModel:
    """A pose network: crops in, joints in crop pixels out.

    input_size_px: (width, height) of a crop.
    """

    def __init__(self, path: Path, threads: int, engine: EngineChoice = ON_CPU) -> None:
        """threads: for one inference on the CPU.

        Raises PoseModelError or ModelFileError when the file holds something else, EngineUnavailable.
        """
        if not path.is_file():
            raise PoseModelError(f"{path}: no such file; {EXPECTED}. Get one with: binopose models fetch rtmpose-s")
        network, self.preprocessing = None, Preprocessing()
        if zipfile.is_zipfile(path) or path.suffix.lower() == ".zip":
            network, self.preprocessing = _read_archive(path)
        self.session = engine.open(path, threads, network)
        self.path = path
        self._read_input()
        self._try_out()
        if self.session.card is not None:
            require_skeleton(path, require_kind(path, self.session.card, "detector"), self.skeleton)

    def _read_input(self) -> None:
        inputs = self.session.inputs
        shape = inputs[0].shape if len(inputs) == 1 else ()
        if len(shape) != 4 or shape[1] != 3 or shape[2] is None or shape[3] is None:
            raise PoseModelError(
                f"{self.path}: {EXPECTED}, so one input of shape (batch, 3, height, width) with fixed height and "
                f"width; found {', '.join(map(str, inputs))}"
            )
        self._input_name = inputs[0].name
        self.input_size_px = (shape[3], shape[2])
        if shape[0] not in (None, 1, 2):
            raise PoseModelError(f"{self.path}: expected a batch of 1, 2 or any size, found {shape[0]}")

    def _try_out(self) -> None:
        """Learn from one inference what the outputs are: their declared shapes are often symbolic."""
        names = [output.name for output in self.session.outputs]
        self._output_names = ["simcc_x", "simcc_y"] if {"simcc_x", "simcc_y"} <= set(names) else names[:2]
        width, height = self.input_size_px
        shapes = [output.shape for output in self._histograms(np.zeros((1, 3, height, width), np.float32))]
        fits = len(shapes) == 2 and all(len(shape) == 3 for shape in shapes) and shapes[0][:2] == shapes[1][:2]
        ratios = (shapes[0][2] / width, shapes[1][2] / height) if fits else (0.0, 1.0)
        if not fits or ratios[0] != ratios[1] or ratios[0] < 1:
            raise PoseModelError(
                f"{self.path}: {EXPECTED}, so two outputs (batch, joints, bins) with the same number of bins per pixel "
                f"of {width} x {height}; found {dict(zip(names, shapes, strict=False))}. Networks with heat maps or "
                "with decoding inside are not supported: export the SimCC form"
            )
        self.bins_per_px = float(ratios[0])
        joints = shapes[0][1]
        if joints not in SKELETON_OF_JOINTS:
            known = ", ".join(f"{n} ({skeleton.name})" for n, skeleton in SKELETON_OF_JOINTS.items())
            raise PoseModelError(f"{self.path}: expected a network with {known} joints, found {joints}")
        self.skeleton: Skeleton = SKELETON_OF_JOINTS[joints]

    def run(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Joints of each crop. crops: (N, H, W, 3) uint8 BGR -> points (N, J, 2) crop pixels, scores (N, J) in 0..1."""
        histograms = self._histograms(self._normalised(crops))
        bins = np.stack([histogram.argmax(axis=2) for histogram in histograms], axis=2)
        # The smaller of the two peaks, as MMPose scores a joint: it must be clear where it is both ways.
        peaks = np.minimum(*(histogram.max(axis=2) for histogram in histograms))
        return bins / self.bins_per_px, np.clip(peaks, 0, 1).astype(np.float64)

    def _normalised(self, crops: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8 BGR -> (N, 3, H, W) float32."""
        pixels = crops[..., ::-1] if self.preprocessing.is_rgb else crops
        scale = 1 / np.array(self.preprocessing.std, dtype=np.float32)
        shift = -np.array(self.preprocessing.mean, dtype=np.float32) * scale
        return np.ascontiguousarray((pixels * scale + shift).transpose(0, 3, 1, 2))

    def _histograms(self, batch: np.ndarray) -> list[np.ndarray]:
        outputs = run_in_batches(self.session, {self._input_name: batch})
        return [outputs[name] for name in self._output_names]
