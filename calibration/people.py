"""Does a rig fit a recording of people? Judged by joints that both views show, without any board.

Corresponding points of a true rig lie in the same row once rectified. What is left of the row difference tells apart a
calibration that does not fit (steady), views that were not taken at the same moment (goes with the motion), and
detector noise (neither). It cannot tell the length of the baseline: only a board or a tape can.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np
from scipy.optimize import least_squares

from .rectify import Rectifier
from .rig import Camera, RigError, RigidTransform, StereoRig
from .triangulate import epipolar_residual_px

Verdict = Literal["good", "usable", "refused"]

# Median row difference as a share of the person's height in the picture: detectors alone stay below the first; above
# the second the views see different things.
SUSPECT_RESIDUAL, BAD_RESIDUAL = 0.01, 0.03
MIN_PAIRS = 10
MIN_JOINTS = 6
# Offsets beyond this are no jitter of free-running cameras: the recordings were not started together.
MAX_OFFSET_S = 0.3
# An offset is believed when it takes this share off what remains of the row difference, and is no mere tie.
MIN_OFFSET_GAIN = 0.15
# A whole-frame answer is made finer in so many steps, each of which is taken for a mistake beyond so much.
REFINING_STEPS, MOST_REFINED_S = 3, 0.01
# Nobody is behind the cameras; noise puts few joints there.
MAX_BEHIND = 0.2
# The residual is systematic when each joint's own median is this large a part of it.
STEADY = 0.5
# The standard deviation of a normal distribution over its median absolute value.
SIGMA_PER_MEDIAN = 1.4826
# How far a rig may have moved in use: priors of the refinement.
PRIOR_ROTATION_RAD = np.deg2rad(1.0)
PRIOR_ROW_PX = 10.0
MAX_POINTS = 6000
# A detector repeats its mistakes: within this time a joint counts as one observation.
INDEPENDENT_S = 0.5


@dataclass(frozen=True, slots=True)
class PeopleTrack:
    """Joints of one person in both views over time.

    timestamp_s: (T,); points_px: (T, 2, J, 2) pixels as recorded, NaN where not sure.
    """

    timestamp_s: np.ndarray
    points_px: np.ndarray


@dataclass(frozen=True, slots=True)
class RigCheck:
    """What a recording says of a rig; pixels are rectified ones.

    residual_px: median absolute row difference; relative: the same as a share of the person's height;
    bias_px: signed median (left minus right); systematic_px: what each joint shows all the time (median over the joints
    of the absolute median over time); noise_px: robust sd about the bias; trend_px_per_s: drift of the pairs' medians;
    time_offset_s: how much later the right view shows what the left view shows, None when no offset explains the
    residual; noise_without_offset_px: what would be left of the noise; behind: share of the joints with negative
    disparity; series: (T, 2) seconds and signed median of each pair.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    pairs: int
    residual_px: float
    relative: float
    bias_px: float
    systematic_px: float
    noise_px: float
    trend_px_per_s: float
    time_offset_s: float | None
    noise_without_offset_px: float
    behind: float
    series: np.ndarray = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refinement:
    """A rig turned so that the views agree better, baseline length kept.

    rotation_rad: (3,) turn of the right camera about its own axes; row_px: shift of its principal row; before_px,
    after_px: median absolute row difference on frames that the fit has not seen.
    """

    rig: StereoRig
    rotation_rad: np.ndarray
    row_px: float
    before_px: float
    after_px: float


def _rectified(rectifier: Rectifier, points_px: np.ndarray) -> np.ndarray:
    """(T, 2, J, 2) recorded to rectified pixels."""
    return np.stack([rectifier.rectified_px(view, points_px[:, view]) for view in (0, 1)], axis=1)


def _rows_px(rectified_px: np.ndarray) -> np.ndarray:
    """Signed row difference, left minus right, (T, J)."""
    return epipolar_residual_px(rectified_px[:, 0], rectified_px[:, 1])


def _medians_px(rows_px: np.ndarray) -> np.ndarray:
    """Median over time of each joint seen often enough, (T, J) -> (K,)."""
    often = np.isfinite(rows_px).sum(axis=0) >= MIN_PAIRS
    return np.nanmedian(rows_px[:, often], axis=0) if often.any() else np.zeros(1)


def _spread(values: np.ndarray) -> float:
    """Robust standard deviation about the median, NaN ignored."""
    values = values[np.isfinite(values)]
    return SIGMA_PER_MEDIAN * float(np.median(np.abs(values - np.median(values)))) if values.size else float("nan")


def _shifted(track_px: np.ndarray, timestamp_s: np.ndarray, offset_s: float) -> np.ndarray:
    """Tracks (T, J, 2) as they were `offset_s` later, interpolated; NaN beyond the ends."""
    wanted_s = timestamp_s + offset_s
    after = np.clip(np.searchsorted(timestamp_s, wanted_s), 1, len(timestamp_s) - 1)
    before = after - 1
    share = (wanted_s - timestamp_s[before]) / (timestamp_s[after] - timestamp_s[before])
    outside = (share < -1e-9) | (share > 1 + 1e-9)
    moved = track_px[before] + share[:, None, None] * (track_px[after] - track_px[before])
    moved[outside] = np.nan
    return moved


def time_offset(
    timestamp_s: np.ndarray, rectified_px: np.ndarray, min_gain: float = MIN_OFFSET_GAIN
) -> tuple[float | None, float]:
    """The constant time offset between the views that best explains the row difference, and the spread that it leaves.

    timestamp_s: (T,); rectified_px: (T, 2, J, 2). Positive: the right view lags, its joints at t + offset belong to the
    left view's at t. None when no offset of at most MAX_OFFSET_S takes the share min_gain off the spread (too little
    motion, or none).
    """
    now = _spread(_rows_px(rectified_px))
    if len(timestamp_s) < MIN_PAIRS or not np.isfinite(now):
        return None, now
    # Whole frames only: in between, interpolation averages noise away and would look like a better match.
    interval_s = float(np.median(np.diff(timestamp_s)))
    reach = max(round(MAX_OFFSET_S / interval_s), 2)
    offsets_s = np.arange(-reach, reach + 1) * interval_s
    spreads = np.array(
        [
            _spread(rectified_px[:, 0, :, 1] - _shifted(rectified_px[:, 1], timestamp_s, offset_s)[..., 1])
            for offset_s in offsets_s
        ]
    )
    if not np.isfinite(spreads).any():  # joints seen now and then only: nothing to interpolate between
        return None, now
    best = int(np.nanargmin(spreads))
    if best in (0, len(offsets_s) - 1):
        return None, now
    # Noise and motion add in squares, so about the minimum the square of the spread is a parabola of the offset.
    left, middle, right = spreads[best - 1 : best + 2] ** 2
    curvature = left - 2 * middle + right
    vertex = 0.5 * (left - right) / curvature if curvature > 0 else 0.0
    remaining = float(np.sqrt(max(middle - 0.25 * (left - right) * vertex, 0.0)))
    if remaining > (1 - min_gain) * now:
        return None, now
    return _refined_offset(timestamp_s, rectified_px, float(offsets_s[best] + vertex * interval_s)), remaining


def _refined_offset(timestamp_s: np.ndarray, rectified_px: np.ndarray, offset_s: float) -> float:
    """An offset found in whole frames, made finer: what is left of the row difference is speed times what is left of
    the offset (Lucas and Kanade 1981, An iterative image registration technique, in one dimension and time)."""
    left_px = rectified_px[:, 0, :, 1]
    moments_s = (timestamp_s[2:] - timestamp_s[:-2])[:, None]
    for _ in range(REFINING_STEPS):
        right_px = _shifted(rectified_px[:, 1], timestamp_s, offset_s)[..., 1]
        rows_px = left_px - right_px
        seen = np.isfinite(rows_px).any(axis=0)
        rows_px[:, seen] -= np.nanmedian(rows_px[:, seen], axis=0)
        speed = (left_px[2:] - left_px[:-2] + right_px[2:] - right_px[:-2]) / (2 * moments_s)
        known = np.isfinite(rows_px[1:-1]) & np.isfinite(speed)
        rest_px, speed = rows_px[1:-1][known], speed[known]
        # Huber's weights: a joint that was mistaken for another must not decide.
        weight = 1 / np.maximum(1, np.abs(rest_px) / max(1.5 * _spread(rest_px), 1e-9))
        power = float(np.sum(weight * speed**2))
        if not power > 0:
            return offset_s
        change_s = float(np.sum(weight * speed * rest_px)) / power
        offset_s += float(np.clip(change_s, -MOST_REFINED_S, MOST_REFINED_S))
    return offset_s


def _judge(found: RigCheck) -> tuple[Verdict, tuple[str, ...]]:
    """Verdict and reasons from the figures of a check."""
    if found.behind > MAX_BEHIND:
        return "refused", (
            f"{found.behind:.0%} of the joints would lie behind the cameras: left and right are exchanged, in the "
            "videos or in the rig",
        )
    reasons = [
        f"the rows of the views differ by {found.residual_px:.1f} px (median), "
        f"{found.relative:.1%} of the person's height"
    ]
    if found.relative <= SUSPECT_RESIDUAL and found.time_offset_s is None:
        return "good", tuple(reasons)
    if found.systematic_px > STEADY * found.residual_px:
        reasons.append(
            f"joint by joint the difference is steady ({found.systematic_px:.1f} px, over all {found.bias_px:+.1f}): "
            "a camera has moved, the calibration was never quite right, or the detector sees the sides differently"
        )
    if found.time_offset_s is not None:
        reasons.append(
            f"a time offset of {found.time_offset_s * 1e3:+.0f} ms (right later than left) explains part of it, "
            f"leaving {found.noise_without_offset_px:.1f} of {found.noise_px:.1f} px of noise: the views are not "
            "synchronised"
        )
    else:
        reasons.append("no time offset between the views explains it")
    if found.relative > BAD_RESIDUAL:
        return "refused", (
            "the calibration does not fit these videos",
            *reasons,
            "calibrate again with these cameras as they stand, or find the calibration that belongs to the videos",
        )
    return "usable", tuple(reasons)


def check_rig(rig: StereoRig, track: PeopleTrack) -> RigCheck:
    """Judge a rig by people. Raises RigError when too little of anybody is seen in both views."""
    rectifier = Rectifier(rig)
    rectified_px = _rectified(rectifier, track.points_px)
    rows_px = _rows_px(rectified_px)
    seen = np.isfinite(rows_px).sum(axis=1) >= MIN_JOINTS
    if np.count_nonzero(seen) < MIN_PAIRS:
        raise RigError(
            f"a person was seen in both views in {np.count_nonzero(seen)} pairs only; at least {MIN_PAIRS} are needed "
            "to judge a rig: use a recording in which somebody moves about in both views"
        )
    rectified_px, rows_px, timestamp_s = rectified_px[seen], rows_px[seen], track.timestamp_s[seen]
    residual_px = float(np.nanmedian(np.abs(rows_px)))
    bias_px = float(np.nanmedian(rows_px))
    heights_px = np.nanmax(rectified_px[:, 0, :, 1], axis=1) - np.nanmin(rectified_px[:, 0, :, 1], axis=1)
    relative = residual_px / float(np.median(heights_px))
    disparity = (rectified_px[:, 0, :, 0] - rectifier.rig.left_centre_x_px) - (
        rectified_px[:, 1, :, 0] - rectifier.rig.right_centre_x_px
    )
    behind = float(np.mean(disparity[np.isfinite(disparity)] <= 0))
    per_frame_px = np.nanmedian(rows_px, axis=1)
    elapsed_s = timestamp_s - timestamp_s[0]
    trend = float(np.polyfit(elapsed_s, per_frame_px, 1)[0]) if elapsed_s[-1] > 0 else 0.0
    offset_s, left_px = time_offset(timestamp_s, rectified_px)
    found = RigCheck(
        verdict="good",
        reasons=(),
        pairs=len(timestamp_s),
        residual_px=residual_px,
        relative=relative,
        bias_px=bias_px,
        systematic_px=float(np.nanmedian(np.abs(_medians_px(rows_px)))),
        noise_px=_spread(rows_px),
        trend_px_per_s=trend,
        time_offset_s=offset_s,
        noise_without_offset_px=left_px,
        behind=behind,
        series=np.stack([timestamp_s, per_frame_px], axis=1),
    )
    verdict, reasons = _judge(found)
    return replace(found, verdict=verdict, reasons=reasons)


def _turned(rig: StereoRig, rotation_rad: np.ndarray, row_px: float) -> StereoRig:
    """The right camera turned about its centre and its principal point moved; the baseline stays."""
    rotation = cv2.Rodrigues(rotation_rad)[0] @ rig.right_from_left.rotation
    matrix = rig.right.matrix.copy()
    matrix[1, 2] += row_px
    right = Camera(rig.right.size_px, matrix, rig.right.distortion, rig.right.model)
    transform = RigidTransform(rotation, -rotation @ rig.right_centre_m)
    return StereoRig(rig.left, right, transform, rig.world_from_left, rig.provenance)


def _epipolar_px(
    left_rays: np.ndarray, right_rays: np.ndarray, transform: RigidTransform, focal_px: float
) -> np.ndarray:
    """Sampson distance of matching normalised points (N, 2), in pixels, signed (Hartley, Zisserman, section 11.4.3)."""
    ones = np.ones((len(left_rays), 1))
    left, right = np.hstack([left_rays, ones]), np.hstack([right_rays, ones])
    x, y, z = transform.translation_m / np.linalg.norm(transform.translation_m)
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ transform.rotation
    to_right, to_left = left @ essential.T, right @ essential
    gradient = np.sqrt((to_right[:, :2] ** 2).sum(axis=1) + (to_left[:, :2] ** 2).sum(axis=1))
    return focal_px * (right * to_right).sum(axis=1) / np.maximum(gradient, 1e-12)


def refine_rig(rig: StereoRig, track: PeopleTrack) -> Refinement:
    """Turn the right camera, and move its principal row, so that people's joints meet; baseline length kept.

    Fitted to every other frame with a robust loss and priors (1 degree, 10 px) and judged on the rest. Only as good as
    the detector's agreement with itself in both views: a calibration with a board is better.
    Raises RigError when too little is seen.
    """
    known = ~np.isnan(track.points_px.sum(axis=(1, 3)))  # (T, J)
    fitted = np.zeros(len(known), dtype=bool)
    fitted[::2] = True
    if np.count_nonzero(known[fitted]) < MIN_PAIRS * MIN_JOINTS or np.count_nonzero(known[~fitted]) < MIN_JOINTS:
        raise RigError("too few joints were seen in both views to refine the rig")
    chosen = known & fitted[:, None]
    left_px, right_px = track.points_px[:, 0][chosen], track.points_px[:, 1][chosen]
    step = max(len(left_px) // MAX_POINTS, 1)
    left_rays, right_px = rig.left.rays_from_px(left_px[::step]), right_px[::step]
    right_rays = rig.right.rays_from_px(right_px)
    usable = np.isfinite(left_rays).all(axis=1) & np.isfinite(right_rays).all(axis=1)
    left_rays, right_rays = left_rays[usable], right_rays[usable]
    focal_px = float(np.mean([camera.matrix[1, 1] for camera in (rig.left, rig.right)]))
    scale_px = max(_spread(_epipolar_px(left_rays, right_rays, rig.right_from_left, focal_px)), 0.5)
    duration_s = float(track.timestamp_s[-1] - track.timestamp_s[0])
    independent = known.shape[1] * (1 + duration_s / INDEPENDENT_S)
    scale_px *= np.sqrt(max(len(left_rays) / independent, 1.0))

    def misfit(unknowns: np.ndarray) -> np.ndarray:
        rotation = cv2.Rodrigues(unknowns[:3])[0] @ rig.right_from_left.rotation
        transform = RigidTransform(rotation, -rotation @ rig.right_centre_m)
        moved = right_rays - np.array([0.0, unknowns[3] / rig.right.matrix[1, 1]])
        prior = np.concatenate([unknowns[:3] / PRIOR_ROTATION_RAD, unknowns[3:] / PRIOR_ROW_PX])
        return np.concatenate([_epipolar_px(left_rays, moved, transform, focal_px) / scale_px, prior])

    scales = np.array([PRIOR_ROTATION_RAD] * 3 + [PRIOR_ROW_PX])
    unknowns = least_squares(misfit, np.zeros(4), x_scale=scales, loss="soft_l1", f_scale=1.0).x
    refined = _turned(rig, unknowns[:3], float(unknowns[3]))
    before_px, after_px = (
        float(np.nanmedian(np.abs(_rows_px(_rectified(Rectifier(each), track.points_px[~fitted])))))
        for each in (rig, refined)
    )
    return Refinement(refined, unknowns[:3], float(unknowns[3]), before_px, after_px)
