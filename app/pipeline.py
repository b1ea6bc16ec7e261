"""One pair of frames in, one pose out: the straight line, without windows, files or threads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..calibration.rectify import RectifiedRig, Rectifier
from ..calibration.triangulate import epipolar_residual_px, triangulate
from ..engines.denoiser import Denoiser
from ..engines.detectors.base import StereoDetector
from ..models.detector_profile import DetectorProfile
from ..models.epipolar import RowStatistics, person_height_px, sigma_of_rows_m
from ..models.one_view import OneViewPlacing, as_inferred, with_placed
from ..models.outliers import OutlierGate
from ..models.pose import Pose2D, Pose3D
from ..models.presence import PresenceWatch
from ..models.side_tracker import SideTracker
from ..models.sides import NO_EXCHANGE, SideExchange
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

    left, right: body17 in rectified pixels, left and right put right; raw, pose: before and after refinement;
    epipolar_px: (17,) signed row difference (left minus right) of the joints seen in both views, else NaN;
    outliers: (17,) joints that both views show, but not in a believable place: raw does not have them.
    """

    left: Pose2D
    right: Pose2D
    raw: Pose3D
    pose: Pose3D
    epipolar_px: np.ndarray
    outliers: np.ndarray = field(default_factory=lambda: np.zeros(len(BODY17), dtype=bool))


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What came of one pair.

    pair: pictures as shown (rectified in mode "images"); detections: per view, in pixels of these pictures and with
    the detector's joints, left and right put right, or None; person: None when nobody was found in both views;
    stage_ms: duration of each stage; exchange: what the detector had exchanged; reacquired: the person was away, or it
    is another one: nothing of what was learnt before holds.
    """

    pair: FramePair
    detections: tuple[Pose2D | None, Pose2D | None]
    person: PersonResult | None
    stage_ms: dict[str, float]
    exchange: SideExchange = NO_EXCHANGE
    reacquired: bool = False


@dataclass(frozen=True, slots=True)
class Observation:
    """What the detector saw in one pair, as it came.

    detections: as in FrameResult; bodies: the same as body17 in rectified pixels, None unless both views show somebody.
    """

    pair: FramePair
    detections: tuple[Pose2D | None, Pose2D | None]
    bodies: tuple[Pose2D, Pose2D] | None
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
    height_px = person_height_px(left.points_px[seen])
    confidence = np.where(seen, both * rows.trust(epipolar_px, height_px), 0.0)
    noise_px = rows.joint_noise_px(height_px)
    sigma_m = observation_sigma_m(points_m, confidence, rig.focal_px, rig.baseline_m, noise_px)
    return Pose3D(points_m, confidence, sigma_m, BODY17, timestamp_s), epipolar_px


def without(pose: Pose3D, joints: np.ndarray) -> Pose3D:
    """The pose with some joints not observed. joints: (17,) flags."""
    if not joints.any():
        return pose
    points_m = np.where(joints[:, None], np.nan, pose.points_m)
    confidence = np.where(joints, 0.0, pose.confidence)
    return Pose3D(points_m, confidence, pose.sigma_m, pose.skeleton, pose.timestamp_s)


def less_sure(rig: RectifiedRig, pose: Pose3D, excess_px: np.ndarray) -> Pose3D:
    """The refined pose with what the rows betray added to its uncertainty. excess_px: (17,) of `RowStatistics`.

    A joint that errs no more than usual is as sure as its denoiser says. Denoisers are told the rows and take most of
    it into account, but do not know what is usual for this detector on this rig.
    """
    sigma_m = np.hypot(pose.sigma_m, sigma_of_rows_m(rig, pose.points_m, excess_px))
    return Pose3D(pose.points_m, pose.confidence, sigma_m, pose.skeleton, pose.timestamp_s)


class Pipeline:
    """Detect, put left and right right, triangulate, refine: for the frames of one rig, in order."""

    def __init__(
        self,
        rectifier: Rectifier,
        detector: StereoDetector,
        denoiser: Denoiser,
        aligner: ViewAligner | None = None,
        profile: DetectorProfile | None = None,
    ) -> None:
        """aligner: for views that were not recorded in step; None takes them as they are; profile: what is known of the
        detector's errors on this rig."""
        self._aligner = aligner
        self.rectifier = rectifier
        self.detector = detector
        self.denoiser = denoiser
        self._profile = profile
        self.rows = RowStatistics(profile.rows if profile is not None else None)
        self._sides = SideTracker()
        self._outliers = OutlierGate()
        self._one_view = OneViewPlacing()
        self._presence = PresenceWatch()

    def process(self, pair: FramePair, stage_ms: dict[str, float] | None = None) -> FrameResult:
        """The pose in one pair of pictures that `rectifier.images` returned.

        stage_ms: durations of stages that came before, which the result then has too.
        """
        seen = self.observe(pair, stage_ms)
        result = self.complete(seen, self.settle_sides(self._sides, seen) or NO_EXCHANGE)
        if result.reacquired:
            self._sides.forget_lengths()
        return result

    def observe(self, pair: FramePair, stage_ms: dict[str, float] | None = None) -> Observation:
        """The first half of `process`: what the detector sees."""
        stage_ms = dict(stage_ms or {})
        with timed(stage_ms, "detect"):
            left, right = self.detector.detect(pair.left, pair.right, pair.timestamp_s)
        bodies = None
        if left is not None and right is not None:
            bodies = self._rectified(0, left), self._rectified(1, right)
        return Observation(pair, (left, right), bodies, stage_ms)

    def settle_sides(self, sides: SideTracker, seen: Observation) -> SideExchange | None:
        """Show a pair to `sides`; returns the decision that is due, which may be on an earlier pair."""
        with timed(seen.stage_ms, "sides"):
            return sides.push(self.rectifier.rig, self.rows, seen.bodies, seen.pair.timestamp_s)

    def complete(self, seen: Observation, exchange: SideExchange) -> FrameResult:
        """The second half of `process`: into space. To be called in the order of the pairs."""
        left, right = seen.detections
        if left is not None and right is not None:
            left, right = exchange.corrected(0, left), exchange.corrected(1, right)
        person, reacquired = None, False
        if seen.bodies is not None:
            bodies = exchange.corrected(0, seen.bodies[0]), exchange.corrected(1, seen.bodies[1])
            person, reacquired = self._in_space(bodies, seen.pair, seen.stage_ms)
        return FrameResult(seen.pair, (left, right), person, seen.stage_ms, exchange, reacquired)

    def _in_space(
        self, bodies: tuple[Pose2D, Pose2D], pair: FramePair, stage_ms: dict[str, float]
    ) -> tuple[PersonResult | None, bool]:
        """The person in space, and whether they have just come (back)."""
        rig, timestamp_s = self.rectifier.rig, pair.timestamp_s
        with timed(stage_ms, "triangulate"):
            left, right = bodies
            if self._aligner is not None:
                left, right, timestamp_s = self._aligner.align(left, right, pair)
            if self._profile is not None:
                left, right = self._profile.corrected(rig, left, right)
            raw, epipolar_px = lift(rig, self.rows, left, right, timestamp_s)
            if raw is None:
                return None, False
            reacquired = self._presence.is_new(raw.points_m, timestamp_s)
            if reacquired:
                self._outliers.reset()
                self._one_view.reset()
                self.denoiser.reset()
            outliers = self._outliers.find(rig, self.rows, raw, epipolar_px)
            if 2 * np.count_nonzero(outliers) > np.count_nonzero(np.isfinite(epipolar_px)):
                return None, reacquired  # half of one body and half of another
            raw = without(raw, outliers)
            placed = self._one_view.place(
                rig, (left, right), raw.points_m, self._outliers.lengths_m, self.rows.noise_px, timestamp_s
            )
            outliers[[found.joint for found in placed if raw.confidence[found.joint] > 0]] = True
            raw = without(raw, outliers)
        with timed(stage_ms, "refine"):
            pose = self.denoiser.denoise(rig, *with_placed(rig, left, right, raw, placed))
            pose = as_inferred(pose, placed)
            observed_rows_px = np.where(raw.confidence > 0, epipolar_px, np.nan)
            excess_px = self.rows.excess_noise_px(
                observed_rows_px, person_height_px(left.points_px[np.isfinite(epipolar_px)])
            )
            pose = less_sure(rig, pose, excess_px)
        return PersonResult(left, right, raw, pose, epipolar_px, outliers), reacquired

    def reset(self) -> None:
        """Forget the person: the next one may be somebody else."""
        self.detector.reset()
        self.denoiser.reset()
        self._sides.reset()
        self._outliers.reset()
        self._one_view.reset()
        self._presence.reset()

    def _rectified(self, view: int, detection: Pose2D) -> Pose2D:
        body = detection.to_skeleton(BODY17)
        return Pose2D(self.rectifier.points(view, body.points_px), body.confidence, BODY17)
