"""One pair of frames in, one pose out: the straight line, without windows, files or threads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What came of one pair.

    pair: pictures as shown (rectified in mode "images"); detections: both views, in pixels of these pictures, the
    detector's joints; left, right: the same as body17 in rectified pixels; raw, pose: before and after refinement, in
    the rectified left frame, None when nobody was found in both views; epipolar_px: (17,) signed row difference of
    observed joints, else NaN; stage_ms: duration of each stage.
    """

    pair: FramePair
    detections: tuple[Pose2D | None, Pose2D | None]
    left: Pose2D | None
    right: Pose2D | None
    raw: Pose3D | None
    pose: Pose3D | None
    epipolar_px: np.ndarray
    stage_ms: dict[str, float]


@contextmanager
def timed(stage_ms: dict[str, float], stage: str) -> Iterator[None]:
    """Note how long the block takes."""
    started_s = time.perf_counter()
    try:
        yield
    finally:
        stage_ms[stage] = (time.perf_counter() - started_s) * 1e3


def lift(
    rig: RectifiedRig, rows: RowStatistics, left: Pose2D | None, right: Pose2D | None, timestamp_s: float
) -> tuple[Pose3D | None, np.ndarray]:
    """Triangulate one person and say how far to trust each joint.

    left, right: body17 in rectified pixels; rows: running statistics of the row difference, which learn from this pair.
    Returns the pose in the rectified left frame, None when too few joints meet in front of the cameras, and the signed
    row difference of its joints, (17,), NaN where there is none.
    """
    nothing = np.full(len(BODY17), np.nan)
    if left is None or right is None:
        return None, nothing
    points_m = triangulate(rig, left.points_px, right.points_px)
    seen = np.isfinite(points_m).all(axis=1)
    if np.count_nonzero(seen) < MIN_JOINTS:
        return None, nothing
    epipolar_px = np.where(seen, epipolar_residual_px(left.points_px, right.points_px), np.nan)
    both = np.minimum(left.confidence, right.confidence)
    rows.observe(epipolar_px[both > 0.5])
    height_px = float(np.ptp(left.points_px[seen, 1]))
    confidence = np.where(seen, both * rows.trust(epipolar_px, height_px), 0.0)
    sigma_m = observation_sigma_m(points_m, confidence, rig.focal_px, rig.baseline_m, rows.noise_px)
    return Pose3D(points_m, confidence, sigma_m, BODY17, timestamp_s), epipolar_px


class Pipeline:
    """Detect, triangulate, refine: for the frames of one rig, in order."""

    def __init__(self, rectifier: Rectifier, detector: StereoDetector, denoiser: Denoiser) -> None:
        self.rectifier = rectifier
        self.detector = detector
        self.denoiser = denoiser
        self.rows = RowStatistics()

    def reset(self) -> None:
        """Forget the person followed so far."""
        self.detector.reset()
        self.denoiser.reset()

    def process(self, pair: FramePair, stage_ms: dict[str, float] | None = None) -> FrameResult:
        """The pose in one pair of pictures that `rectifier.images` returned.

        stage_ms: durations of stages that came before, which the result then has too.
        """
        stage_ms = dict(stage_ms or {})
        with timed(stage_ms, "detect"):
            detections = self.detector.detect(pair.left, pair.right, pair.timestamp_s)
        with timed(stage_ms, "triangulate"):
            left, right = (self._rectified(view, pose) for view, pose in enumerate(detections))
            raw, epipolar_px = lift(self.rectifier.rig, self.rows, left, right, pair.timestamp_s)
        with timed(stage_ms, "refine"):
            pose = self.denoiser.denoise(raw) if raw is not None else None
        return FrameResult(pair, detections, left, right, raw, pose, epipolar_px, stage_ms)

    def _rectified(self, view: int, detection: Pose2D | None) -> Pose2D | None:
        if detection is None:
            return None
        body = detection.to_skeleton(BODY17)
        return Pose2D(self.rectifier.points(view, body.points_px), body.confidence, BODY17)
