"""One pair of frames in, one pose out: the straight line, without windows, files or threads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..calibration.rectify import RectifiedRig, Rectifier
from ..calibration.triangulate import epipolar_residual_px, triangulate
from ..engines.denoiser import Denoiser
from ..engines.detectors.base import StereoDetector
from ..models.epipolar import RowStatistics
from ..models.pose import Pose2D, Pose3D
from ..models.skeleton import BODY17
from ..models.skeleton_fit import observation_sigma_m
from .frames import FramePair

# A person needs this many joints seen in both views; fewer are furniture.
MIN_JOINTS = 5
# No joint is further from the middle of the body; with little disparity a small error puts one in the next street.
MAX_REACH_M = 1.5


@dataclass(frozen=True, slots=True)
class PersonResult:
    """One person whom both views show; everything in the rectified left frame.

    left, right: body17 in rectified pixels; raw, pose: before and after refinement; epipolar_px: (17,) signed row
    difference (left minus right) of the joints seen in both views, else NaN.
    """

    left: Pose2D
    right: Pose2D
    raw: Pose3D
    pose: Pose3D
    epipolar_px: np.ndarray


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What came of one pair.

    pair: pictures as shown (rectified in mode "images"); detections: per view, in pixels of these pictures and with
    the detector's joints, or None; person: None when nobody was found in both views; stage_ms: duration of each stage.
    """

    pair: FramePair
    detections: tuple[Pose2D | None, Pose2D | None]
    person: PersonResult | None
    stage_ms: dict[str, float]


class ViewAligner(Protocol):
    """Brings the joints of cameras that do not run in step to a common time."""

    def align(self, left: Pose2D, right: Pose2D, pair: FramePair) -> tuple[Pose2D, Pose2D, float]:
        """Both views as they were at one moment, and that moment. left, right: body17 in rectified pixels."""
        ...


@contextmanager
def timed(stage_ms: dict[str, float], stage: str) -> Iterator[None]:
    """Note how long the block takes."""
    started_s = time.perf_counter()
    try:
        yield
    finally:
        stage_ms[stage] = (time.perf_counter() - started_s) * 1e3


def lift(
    rig: RectifiedRig, rows: RowStatistics, left: Pose2D, right: Pose2D, timestamp_s: float
) -> tuple[Pose3D | None, np.ndarray]:
    """Triangulate one person and say how far to trust each joint.

    left, right: body17 in rectified pixels; rows: running statistics of the row difference, which learn from this pair.
    Returns the pose in the rectified left frame, None when too few joints meet in front of the cameras, and the signed
    row difference of its joints, (17,), NaN where there is none.
    """
    points_m = triangulate(rig, left.points_px, right.points_px)
    in_front = ~np.isnan(points_m[:, 2])
    if in_front.any():
        middle_m = np.median(points_m[in_front], axis=0)
        points_m[np.linalg.norm(points_m - middle_m, axis=1) > MAX_REACH_M] = np.nan
    seen = ~np.isnan(points_m[:, 2])
    epipolar_px = np.where(seen, epipolar_residual_px(left.points_px, right.points_px), np.nan)
    if np.count_nonzero(seen) < MIN_JOINTS:
        return None, epipolar_px
    both = np.minimum(left.confidence, right.confidence)
    rows.observe(epipolar_px[both > 0.5])
    height_px = float(np.ptp(left.points_px[seen, 1]))
    confidence = np.where(seen, both * rows.trust(epipolar_px, height_px), 0.0)
    sigma_m = observation_sigma_m(points_m, confidence, rig.focal_px, rig.baseline_m, rows.noise_px)
    return Pose3D(points_m, confidence, sigma_m, BODY17, timestamp_s), epipolar_px


class Pipeline:
    """Detect, triangulate, refine: for the frames of one rig, in order."""

    def __init__(
        self,
        rectifier: Rectifier,
        detector: StereoDetector,
        denoiser: Denoiser,
        aligner: ViewAligner | None = None,
    ) -> None:
        """aligner: for views that were not recorded in step; None takes them as they are."""
        self._aligner = aligner
        self.rectifier = rectifier
        self.detector = detector
        self.denoiser = denoiser
        self.rows = RowStatistics()

    def process(self, pair: FramePair, stage_ms: dict[str, float] | None = None) -> FrameResult:
        """The pose in one pair of pictures that `rectifier.images` returned.

        stage_ms: durations of stages that came before, which the result then has too.
        """
        stage_ms = dict(stage_ms or {})
        with timed(stage_ms, "detect"):
            detections = self.detector.detect(pair.left, pair.right, pair.timestamp_s)
        person = None
        if detections[0] is not None and detections[1] is not None:
            with timed(stage_ms, "triangulate"):
                left, right = self._rectified(0, detections[0]), self._rectified(1, detections[1])
                timestamp_s = pair.timestamp_s
                if self._aligner is not None:
                    left, right, timestamp_s = self._aligner.align(left, right, pair)
                raw, epipolar_px = lift(self.rectifier.rig, self.rows, left, right, timestamp_s)
            if raw is not None:
                with timed(stage_ms, "refine"):
                    pose = self.denoiser.denoise(self.rectifier.rig, left, right, raw)
                person = PersonResult(left, right, raw, pose, epipolar_px)
        return FrameResult(pair, detections, person, stage_ms)

    def reset(self) -> None:
        """Forget the person: the next one may be somebody else."""
        self.detector.reset()
        self.denoiser.reset()

    def _rectified(self, view: int, detection: Pose2D) -> Pose2D:
        body = detection.to_skeleton(BODY17)
        return Pose2D(self.rectifier.points(view, body.points_px), body.confidence, BODY17)
