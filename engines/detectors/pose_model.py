"""Top-down pose networks, as MMPose's RTMPose and HRNet: what a file holds, and how to run it.

A file is an ONNX network that `binopose.export.mmpose` wrote (with its own description inside), a bare ONNX network
with SimCC outputs, or an OpenMMLab SDK archive of one.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from ...models.skeleton import COCO17, H36M17, HALPE26, Skeleton
from ..engine import run_in_batches
from ..model_file import ModelCard, require_kind, require_skeleton
from ..session import ON_CPU, EngineChoice
from .heatmap import HeatmapDecoder
from .pose_format import PoseFormat, PoseModelError
from .sdk_archive import read_sdk_archive
from .simcc import SimccDecoder

SKELETONS = (COCO17, HALPE26, H36M17)
# What a network that does not name its joints has, by their number.
SKELETON_OF_JOINTS = {len(skeleton): skeleton for skeleton in (COCO17, HALPE26)}

EXPECTED = (
    "expected a top-down pose network: one from python -m binopose.export.mmpose, or one with SimCC outputs (RTMPose) "
    "as ONNX file or OpenMMLab SDK zip"
)


class PoseModel:
    """A pose network: crops in, joints in crop pixels out.

    input_size_px: (width, height) of a crop; skeleton: its joints; preprocessing: how crops are to be taken.
    """

    def __init__(self, path: Path, threads: int, engine: EngineChoice = ON_CPU) -> None:
        """threads: for one inference on the CPU.

        Raises PoseModelError or ModelFileError when the file holds something else, EngineUnavailable.
        """
        if not path.is_file():
            raise PoseModelError(f"{path}: no such file; {EXPECTED}. Get one with: binopose models fetch rtmpose-s")
        network, pose_format = None, PoseFormat()
        if zipfile.is_zipfile(path) or path.suffix.lower() == ".zip":
            network, preprocessing = read_sdk_archive(path)
            pose_format = PoseFormat(preprocessing)
        self.path = path
        self.session = engine.open(path, threads, network)
        try:
            self._learn(pose_format)
        except BaseException:
            self.session.close()
            raise

    def _learn(self, pose_format: PoseFormat) -> None:
        """Find out what the network is. pose_format: what is known from elsewhere when the file itself is silent."""
        card = self.session.card
        if card is not None:
            pose_format = self._described(require_kind(self.path, card, "detector"))
        self.preprocessing = pose_format.preprocessing
        self._read_input()
        width, height = self.input_size_px
        # Declared shapes of outputs are often symbolic; those of one inference are not.
        outputs = self._infer(np.zeros((1, 3, height, width), np.float32))
        try:
            self.decoder = (
                SimccDecoder(outputs, self.input_size_px)
                if pose_format.codec.name == "simcc"
                else HeatmapDecoder(outputs, self.input_size_px, pose_format.codec)
            )
        except ValueError as error:
            raise PoseModelError(
                f"{self.path}: {EXPECTED}; {error}. Networks with heat maps run only as exported by this program, "
                "which tells how to read them; networks that decode inside do not run"
            ) from error
        self.skeleton = self._find_skeleton(card)

    def _described(self, card: ModelCard) -> PoseFormat:
        """What our own files say about themselves."""
        try:
            return PoseFormat.from_text(card.detector) if card.detector else PoseFormat()
        except ValueError as error:
            raise PoseModelError(
                f"{self.path}: the model's own description is damaged: {error}; export it again"
            ) from error

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

    def _find_skeleton(self, card: ModelCard | None) -> Skeleton:
        """The joints: by their names where the file has them, else by their number."""
        joints = self.decoder.joints
        named = next((one for one in SKELETONS if card is not None and card.skeleton == one.joints), None)
        skeleton = named or SKELETON_OF_JOINTS.get(joints)
        if skeleton is None or len(skeleton) != joints:
            known = ", ".join(f"{n} ({skeleton.name})" for n, skeleton in SKELETON_OF_JOINTS.items())
            raise PoseModelError(f"{self.path}: expected a network with {known} joints, found {joints}")
        if card is not None:
            require_skeleton(self.path, card, skeleton)
        return skeleton

    def run(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Joints of each crop. crops: (N, H, W, 3) uint8 BGR -> points (N, J, 2) crop pixels, scores (N, J) in 0..1."""
        points_px, scores = self.decoder.decode(self._infer(self.preprocessing.normalised(crops)))
        return points_px, np.clip(scores, 0, 1).astype(np.float64)

    def _infer(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        return run_in_batches(self.session, {self._input_name: batch})
