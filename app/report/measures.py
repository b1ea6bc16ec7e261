"""The figures of the report: each step of the way measured by the same rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...calibration.rectify import RectifiedRig
from ...calibration.triangulate import epipolar_residual_px, project
from ...models.motion import body_changes, derivative, jitter_m_s3, speed_m_s
from ...models.skeleton import BODY17
from ..smoothing import smooth_poses
from .trace import RunTrace

# Bones that users look at, by the ends of one side; left and right are told apart.
BONES = {
    "thigh": ("Hip", "Knee"),
    "shin": ("Knee", "Ankle"),
    "upper arm": ("Shoulder", "Elbow"),
    "forearm": ("Elbow", "Wrist"),
}
SIDES = ("Right", "Left")
BONE_NAMES = tuple(f"{side.lower()} {bone}" for bone in BONES for side in SIDES)
_BONE_ENDS = np.array([[BODY17.index(side + joint) for joint in ends] for ends in BONES.values() for side in SIDES])


@dataclass(frozen=True, slots=True)
class Step:
    """The poses after one step, measured. N frames, NaN where there is none.

    name: what the reader calls it; key: its class on the page; points_m: (N, 17, 3); bones_m: (N, 8) lengths in the
    order of BONE_NAMES; reprojection_px: (N, 2, 17) from where each view sees a joint to where the pose puts it;
    rows_px: (N, 17) signed row difference of the two views, left minus right; third: (N - 3, 17) length of the third
    derivative, m/s^3; speed_m_s: (N - 1, 17); jitter_m_s3: the root mean square of `third`.
    """

    name: str
    key: str
    points_m: np.ndarray
    bones_m: np.ndarray
    reprojection_px: np.ndarray
    rows_px: np.ndarray
    third: np.ndarray
    speed_m_s: np.ndarray
    jitter_m_s3: float

    @property
    def bone_mean_m(self) -> np.ndarray:
        """(8,) mean length of each bone."""
        return _over_frames(np.mean, self.bones_m)

    @property
    def bone_variation(self) -> np.ndarray:
        """(8,) standard deviation of each bone's length over its mean."""
        return _over_frames(np.std, self.bones_m) / self.bone_mean_m


def _over_frames(summary: Callable[[np.ndarray], np.floating], values: np.ndarray) -> np.ndarray:
    """A summary of every column without its NaN; NaN for a column of nothing else."""
    known = [column[np.isfinite(column)] for column in values.T]
    return np.array([summary(column) if len(column) else np.nan for column in known])


def middle(values: np.ndarray) -> float:
    """Median of what is known; NaN when nothing is."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def steps_of(trace: RunTrace, refined: bool, smooth_hz: float | None, held_m: np.ndarray | None = None) -> list[Step]:
    """The steps that a run took, in order.

    refined: a denoiser was on; smooth_hz: cut-off of the smoothing, or None; held_m: as `smooth_poses` had it.
    """
    time_s, points_m = trace.time_s, trace.fixed_m
    steps = [_measured(trace.rig, time_s, "as detected", "s0", trace.detected_m, trace.detected_px)]
    if trace.exchanged.any() or trace.outliers.any():
        steps.append(_measured(trace.rig, time_s, "sides and outliers", "s1", points_m, trace.fixed_px))
    if refined:
        points_m = trace.refined_m
        steps.append(_measured(trace.rig, time_s, "refined", "s2", points_m, trace.fixed_px))
    if smooth_hz is not None and len(trace):
        starts = body_changes(points_m, time_s) | trace.reacquired
        points_m = smooth_poses(points_m, time_s, starts, smooth_hz, held_m).points_m
        steps.append(_measured(trace.rig, time_s, "smoothed", "s3", points_m, trace.fixed_px))
    return steps


def _measured(
    rig: RectifiedRig, time_s: np.ndarray, name: str, key: str, points_m: np.ndarray, seen_px: np.ndarray
) -> Step:
    shown_px = project(rig, points_m)
    return Step(
        name,
        key,
        points_m,
        np.linalg.norm(points_m[:, _BONE_ENDS[:, 0]] - points_m[:, _BONE_ENDS[:, 1]], axis=-1),
        np.moveaxis(np.linalg.norm(shown_px - seen_px, axis=-1), 0, 1),
        epipolar_residual_px(seen_px[0], seen_px[1]),
        np.linalg.norm(derivative(points_m, time_s, 3), axis=-1) if len(time_s) > 3 else np.empty((0, len(BODY17))),
        speed_m_s(points_m, time_s) if len(time_s) > 1 else np.empty((0, len(BODY17))),
        jitter_m_s3(points_m, time_s),
    )
