"""How good a run was: figures for the summary, and what its user should worry about."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..calibration.errors import UserError
from ..calibration.people import BAD_RESIDUAL, SUSPECT_RESIDUAL
from ..calibration.rectify import Rectifier
from ..calibration.triangulate import epipolar_residual_px, triangulate
from ..models.pose import Pose2D
from ..models.running_median import RunningMedian
from ..models.sides import LIMBS, VIEWS, SideExchange
from ..models.skeleton import BODY17
from .distribution import Distribution
from .pipeline import FrameResult, PersonResult

# Pairs with a person in both views after which it is decided whether the views are exchanged.
EXCHANGE_PAIRS = 10
CONFIDENT = 0.5
# Runs this short are not worth statistics about lost tracking.
MIN_SHARE_LOST = 0.02
# Exchanged sides that were put right are worth mentioning from this share of the frames on.
MIN_SHARE_EXCHANGED = 0.05


class ExchangedViews(UserError):
    """The left video shows what the right camera sees, and the other way round."""


class ExchangeCheck:
    """Finds out from the first people seen whether the two views were given in the wrong order."""

    def __init__(self, rectifier: Rectifier) -> None:
        self._rectifier = rectifier
        self._pairs = 0
        self._in_front = {False: 0, True: 0}
        self._joints = 0
        self._rows_px: dict[bool, list[float]] = {False: [], True: []}

    def observe(self, detections: tuple[Pose2D | None, Pose2D | None]) -> None:
        """Look at one pair. Raises ExchangedViews once it is sure."""
        left, right = (pose.to_skeleton(BODY17) if pose is not None else None for pose in detections)
        if left is None or right is None or self._pairs >= EXCHANGE_PAIRS:
            return
        sure = np.minimum(left.confidence, right.confidence) > CONFIDENT
        if not sure.any():
            return
        self._pairs += 1
        self._joints += int(np.count_nonzero(sure))
        for exchanged in (False, True):
            left_px, right_px = self._rectified(left, right, exchanged)
            points_m = triangulate(self._rectifier.rig, left_px, right_px)[sure]
            self._in_front[exchanged] += int(np.count_nonzero(np.isfinite(points_m).all(axis=1)))
            rows_px = np.abs(epipolar_residual_px(left_px, right_px)[sure])
            self._rows_px[exchanged].append(float(np.nanmedian(rows_px)) if np.isfinite(rows_px).any() else np.inf)
        if self._pairs == EXCHANGE_PAIRS:
            self._decide()

    @property
    def decided(self) -> bool:
        """Whether enough pairs were seen."""
        return self._pairs >= EXCHANGE_PAIRS

    def _rectified(self, left: Pose2D, right: Pose2D, exchanged: bool) -> tuple[np.ndarray, np.ndarray]:
        points_px = [self._rectifier.recorded_px(view, pose.points_px) for view, pose in enumerate((left, right))]
        if exchanged:
            points_px.reverse()
        return self._rectifier.rectified_px(0, points_px[0]), self._rectifier.rectified_px(1, points_px[1])

    def _decide(self) -> None:
        given, turned = (self._in_front[exchanged] / self._joints for exchanged in (False, True))
        given_px, turned_px = (float(np.median(self._rows_px[exchanged])) for exchanged in (False, True))
        behind = given < 0.5 < turned and turned_px < 2 * given_px
        misfit = turned > 0.9 and turned_px < 0.25 * given_px
        if behind or misfit:
            disparity = (
                f"{1 - given:.0%} of the joints have negative disparity (lie behind the cameras), the other way round "
                f"{1 - turned:.0%}; "
            )
            raise ExchangedViews(
                f"left and right seem to be exchanged: as given, {disparity if behind else ''}the rows of the views "
                f"differ by {given_px:.0f} px, the other way round by {turned_px:.0f} px. Name the views the other way "
                "round, or import the rig with its cameras in this order"
            )


class SideCounts:
    """How often the detector exchanged left and right, by view and limb."""

    WHOLE_BODY = "whole_body"

    def __init__(self) -> None:
        self.frames = 0
        self._counts = {view: dict.fromkeys((self.WHOLE_BODY, *LIMBS), 0) for view in VIEWS}

    def add(self, exchange: SideExchange) -> None:
        """Count one frame."""
        self.frames += bool(exchange)
        for view, counts in enumerate(self._counts.values()):
            limbs = [limb for limb in LIMBS if exchange.of(view, limb)]
            for limb in [self.WHOLE_BODY] if len(limbs) == len(LIMBS) else limbs:
                counts[limb] += 1

    def by_view(self) -> dict[str, dict[str, int]]:
        """Frames in which the whole body, only the arms or only the legs were exchanged in each view."""
        return {view: dict(counts) for view, counts in self._counts.items()}

    def words(self) -> str:
        """The same as a phrase, without what never happened."""
        return ", ".join(
            f"{view} view: {part.replace('_', ' ')} {count}"
            for view, counts in self._counts.items()
            for part, count in counts.items()
            if count
        )


class RunQuality:
    """Collects the figures of a run, frame by frame, in constant memory."""

    def __init__(self, rectifier: Rectifier) -> None:
        self._rectifier = rectifier
        self._exchange = ExchangeCheck(rectifier)
        self.frames = self.poses = 0
        self._one_view = 0
        self._sides = SideCounts()
        self._outliers = self._frames_with_outliers = self._reacquired = 0
        self._lost_streak = self._longest_lost = 0
        self._latency_ms = Distribution()
        self._stage_ms: dict[str, Distribution] = {}
        self._reprojection_px = Distribution()
        self._raw_reprojection_px = Distribution()
        self._epipolar_px = Distribution()
        self._relative_epipolar = Distribution()
        self._epipolar_bias = RunningMedian(1, -300.0, 300.0, 0.5)

    @property
    def views_decided(self) -> bool:
        """Whether enough was seen to be sure that the views are not exchanged."""
        return self._exchange.decided

    def add_stage(self, stage: str, durations_ms: list[float]) -> None:
        """Durations of a stage that runs beside the pipeline."""
        self._stage_ms.setdefault(stage, Distribution()).add(np.array(durations_ms))

    def observe(self, result: FrameResult, latency_ms: float) -> None:
        """Count one frame. Raises ExchangedViews."""
        self._exchange.observe(result.detections)
        self.frames += 1
        self._latency_ms.add(latency_ms)
        for stage, duration_ms in result.stage_ms.items():
            self.add_stage(stage, [duration_ms])
        if result.person is None:
            self._one_view += sum(pose is not None for pose in result.detections) == 1
            self._lost_streak += 1
            self._longest_lost = max(self._longest_lost, self._lost_streak)
            return
        self.poses += 1
        self._lost_streak = 0
        self._reacquired += result.reacquired
        self._sides.add(result.exchange)
        self._observe_person(result.person, result.detections)

    def _observe_person(self, person: PersonResult, detections: tuple[Pose2D | None, Pose2D | None]) -> None:
        left, right = person.left, person.right
        sure = (person.raw.confidence > 0) & (np.minimum(left.confidence, right.confidence) > CONFIDENT)
        for view, detection in enumerate(detections):
            if detection is None:
                continue
            seen_px = detection.to_skeleton(BODY17).points_px[sure]
            for pose, collected in ((person.pose, self._reprojection_px), (person.raw, self._raw_reprojection_px)):
                shown_px = self._rectifier.picture_px(view, pose.points_m[sure])
                collected.add(np.linalg.norm(shown_px - seen_px, axis=1))
        residual_px = person.epipolar_px[sure]
        self._epipolar_px.add(np.abs(residual_px))
        self._epipolar_bias.observe(np.zeros(len(residual_px), dtype=np.intp), residual_px)
        height_px = float(np.nanmax(left.points_px[:, 1]) - np.nanmin(left.points_px[:, 1]))
        self._relative_epipolar.add(np.abs(residual_px) / max(height_px, 1.0))
        self._outliers += int(np.count_nonzero(person.outliers))
        self._frames_with_outliers += bool(person.outliers.any())

    def status(self, result: FrameResult) -> str:
        """A few words on the picture."""
        if result.person is not None:
            return ""
        seen = [name for name, pose in zip(("left", "right"), result.detections, strict=True) if pose is not None]
        return "no person" if not seen else f"person in the {seen[0]} view only" if len(seen) == 1 else "no 3D pose"

    def figures(self, elapsed_s: float) -> dict[str, Any]:
        """The numbers of summary.json."""
        return {
            "frames": self.frames,
            "frames_with_pose": self.poses,
            "frames_in_one_view": self._one_view,
            "frames_with_exchanged_sides": self._sides.frames,
            "exchanged_sides": self._sides.by_view(),
            "outliers": {"joints": self._outliers, "frames": self._frames_with_outliers},
            "reacquisitions": self._reacquired,
            "pairs_per_second": round(self.frames / max(elapsed_s, 1e-9), 2),
            "latency_ms": self._latency_ms.median_and_p95(),
            "stage_ms": {stage: durations.median_and_p95() for stage, durations in self._stage_ms.items()},
            "reprojection_px": self._reprojection_px.mean_and_median(),
            "raw_reprojection_px": self._raw_reprojection_px.mean_and_median(),
            "epipolar_px": {
                **self._epipolar_px.mean_and_median(),
                "p95": round(self._epipolar_px.percentile(95), 2),
                "bias": round(float(self._epipolar_bias.median[0]), 2),
            },
        }

    def warnings(self) -> list[str]:
        """What the user should know about the result."""
        found = []
        if self.frames and not self.poses:
            found.append(
                "nobody was found in both views: is a person in the picture, upright and not too small, "
                "and do both videos show the same scene?"
            )
        elif self.frames - self.poses > MIN_SHARE_LOST * self.frames:
            found.append(
                f"no pose in {self.frames - self.poses} of {self.frames} frames (longest gap {self._longest_lost}"
                + (f"; {self._one_view} times the person was seen in one view only)" if self._one_view else ")")
            )
        if self._sides.frames > MIN_SHARE_EXCHANGED * self.poses:
            found.append(
                f"the detector exchanged left and right of the person in {self._sides.frames} of {self.poses} frames "
                f"({self._sides.words()}); this was put right"
            )
        residual = self._relative_epipolar.percentile(50)
        if residual > SUSPECT_RESIDUAL:
            median_px, bias_px = self._epipolar_px.percentile(50), float(self._epipolar_bias.median[0])
            steady = abs(bias_px) > 0.6 * median_px
            cause = (
                "the same way all the time, so the calibration does not fit these videos"
                if steady
                else "either the calibration does not fit these videos or they are not synchronised"
            )
            weight = "poses mean little" if residual > BAD_RESIDUAL else "poses are less accurate than they could be"
            found.append(
                f"the views disagree: their rows differ by {median_px:.0f} px (median, {residual:.1%} of the person's "
                f"height): {cause}; {weight}"
            )
        return found
