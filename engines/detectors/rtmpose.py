"""RTMPose and other top-down pose networks of MMPose, both views as one batch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ...calibration.rectify import Rectifier
from ...models.pose import Pose2D
from ..session import ON_CPU, EngineChoice
from .blazepose import PERSON_FILE
from .person import REGION_SCALE, BlazePosePersonDetector, PersonCandidate
from .pose_model import PoseModel
from .pose_network import Pictures, PoseReading, Regions
from .region import Region
from .tracker import StereoTracker

# Joints that decide where the person is, and whether there is one.
MIN_JOINT_SCORE = 0.3
MIN_JOINTS = 4
# The joints' own box is smaller than the person's: the skull, the feet and the hands reach beyond it.
BODY_MARGIN = 1.15


class RtmPoseNetwork:
    """A top-down network as a `PoseNetwork`. A joint's confidence is its score, a pose's presence their mean."""

    min_presence = 0.3

    def __init__(self, model: PoseModel) -> None:
        self._model = model
        self.device: str = model.session.device
        self.skeleton = model.skeleton

    def first_region(self, candidate: PersonCandidate) -> Region:
        """An upright box around the body circle. It is as wide as the crop's shape makes it: people are upright."""
        return self._region(np.asarray(candidate.body.centre_px), (0.0, candidate.body.size_px[1] / REGION_SCALE))

    def read(self, view: int, picture: np.ndarray, region: Region) -> PoseReading:
        """Joints in one picture."""
        return self._read([picture], [region])[0]

    def read_both(self, pictures: Pictures, regions: Regions) -> tuple[PoseReading, PoseReading]:
        """Joints in both pictures, as one batch."""
        left, right = self._read(pictures, regions)
        return left, right

    def close(self) -> None:
        """Give the network's memory back."""
        self._model.session.close()

    def _read(self, pictures: Sequence[np.ndarray], regions: Sequence[Region]) -> list[PoseReading]:
        size_px = self._model.input_size_px
        crops = [
            self._model.preprocessing.sampled(region, size_px).crop(picture, size_px, cv2.BORDER_CONSTANT)
            for picture, region in zip(pictures, regions, strict=True)
        ]
        points_crop_px, scores = self._model.run(np.stack(crops))
        readings = []
        for region, points, score in zip(regions, points_crop_px, scores, strict=True):
            points_px = region.to_picture(points, size_px)
            pose = Pose2D(points_px, score, self.skeleton)
            readings.append(PoseReading(pose, float(score.mean()), self._body(points_px, score)))
        return readings

    def _body(self, points_px: np.ndarray, scores: np.ndarray) -> Region | None:
        """The region around the joints that are seen, None when there are too few."""
        seen = points_px[scores >= MIN_JOINT_SCORE]
        if len(seen) < MIN_JOINTS:
            return None
        low, high = seen.min(axis=0), seen.max(axis=0)
        width, height = (high - low) * BODY_MARGIN
        return self._region((low + high) / 2, (float(width), float(height)))

    def _region(self, centre_px: np.ndarray, box_px: tuple[float, float]) -> Region:
        """The smallest upright region of the crop's shape that holds a box, with the network's padding around it."""
        crop_width, crop_height = self._model.input_size_px
        height_px = max(box_px[1], box_px[0] * crop_height / crop_width) * self._model.preprocessing.padding
        size_px = (height_px * crop_width / crop_height, height_px)
        return Region((float(centre_px[0]), float(centre_px[1])), size_px)


def open_detector(
    rectifier: Rectifier,
    model: Path,
    person_weights_dir: Path,
    engine: EngineChoice = ON_CPU,
    threads: int | None = None,
) -> StereoTracker:
    """RTMPose for a pair of cameras; BlazePose's person detector finds the person to begin with.

    model: a file as `PoseModel` reads them; person_weights_dir: the folder with BlazePose's files; threads: for one
    inference on the CPU, None for as many as there are cores, four at most.
    Raises PoseModelError, EngineUnavailable or LiteRtUnavailable when a runtime is missing or a file does not hold what
    is expected.
    """
    network = RtmPoseNetwork(PoseModel(model, threads or min(4, os.cpu_count() or 1), engine))
    person_detector = BlazePosePersonDetector(person_weights_dir / PERSON_FILE)
    return StereoTracker("rtmpose", rectifier, person_detector, network)
