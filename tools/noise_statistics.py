"""What errors of stereo detections are made of: their size, tails, correlations, and how they follow the posture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import kurtosis, rankdata

from ..calibration.errors import UserError
from ..models.skeleton import BODY17
from .datasets.observations import Observations

AXES = ("x", "y", "depth")
LAGS = (1, 5, 20)
GROSS_M = 0.1
PERCENTILES = (10, 50, 90)

_INDEX = BODY17.index
_HIPS, _KNEES, _ANKLES, _SHOULDERS = (
    [_INDEX("Right" + joint), _INDEX("Left" + joint)] for joint in ("Hip", "Knee", "Ankle", "Shoulder")
)
PELVIS = _INDEX("Pelvis")
TRUNK = [*_HIPS, *_SHOULDERS, _INDEX("Thorax"), _INDEX("Neck")]


@dataclass(frozen=True, slots=True)
class PostureErrors:
    """Errors of samples in one posture, in millimetres, medians; per-joint medians over all postures taken off.

    trunk: of hips, shoulders, thorax and neck together, (3,); along_thigh: the same along the thighs, positive toward
    the knees, and its standard deviation; pelvis: of the pelvis against the hips, (3,); thigh: length as observed less
    the true one.
    """

    share: float
    trunk_mm: np.ndarray
    along_thigh_mm: float
    along_thigh_sd_mm: float
    pelvis_mm: np.ndarray
    thigh_mm: float


@dataclass(frozen=True, slots=True)
class NoiseStatistics:
    """Errors of N samples; each joint's mean error is taken off first. Axes: x, y (mean of both views, at the distance
    of the joint) and depth.

    sd_mm, median_mm, kurtosis: (17, 3), median of the absolute error, kurtosis 3 for a normal distribution;
    disparity_mm, rows_mm: (17,) standard deviation of left less right in x and y at the person; view_correlation:
    (17, 2) of the two views' x and y errors; rank_correlation: (3, 17, 17) between joints; body_mm: (3,) standard
    deviation of a pose's mean error, body_share: (3,) its share of all variance (1/17 when joints are independent);
    level_mm: (3, 3) percentiles 10, 50, 90 over the poses of the mean absolute error, per axis; gross_share: (17,)
    joints more than 100 mm off; bones_mm: (bones, 2) mean and standard deviation of the error of a length; over_time:
    correlation per axis of errors that many frames apart; postures: by name.
    """

    samples: int
    sd_mm: np.ndarray
    median_mm: np.ndarray
    kurtosis: np.ndarray
    disparity_mm: np.ndarray
    rows_mm: np.ndarray
    view_correlation: np.ndarray
    rank_correlation: np.ndarray
    body_mm: np.ndarray
    body_share: np.ndarray
    level_mm: np.ndarray
    gross_share: np.ndarray
    bones_mm: np.ndarray
    over_time: dict[int, np.ndarray]
    postures: dict[str, PostureErrors]

    def correlation_of(self, pairs: np.ndarray) -> np.ndarray:
        """Mean rank correlation over pairs of joints, (P, 2) -> (3,)."""
        return self.rank_correlation[:, pairs[:, 0], pairs[:, 1]].mean(axis=1)


def mirrored_pairs() -> np.ndarray:
    """Left and right of the same joint, (P, 2)."""
    own = np.arange(len(BODY17))
    return np.stack([own, BODY17.mirror], axis=1)[BODY17.mirror > own]


def trunk_pairs() -> np.ndarray:
    """All pairs of trunk joints, (P, 2)."""
    first, second = np.triu_indices(len(TRUNK), 1)
    return np.stack([np.array(TRUNK)[first], np.array(TRUNK)[second]], axis=1)


def view_errors_m(observations: Observations) -> np.ndarray:
    """Errors of both views at the distance of the joint, (2, N, 17, 2)."""
    x, y, depth = np.moveaxis(observations.truth_m, -1, 0)
    true = [np.stack([(x - shift) / depth, y / depth], axis=-1) for shift in (0, observations.baseline_m[:, None])]
    found = (observations.left, observations.right)
    return np.stack([(f - t) * depth[..., None] for f, t in zip(found, true, strict=True)])


def axis_errors_m(observations: Observations) -> np.ndarray:
    """Errors across the line of sight (mean of the views) and in depth, mean per joint taken off. (N, 17, 3)."""
    across_m = view_errors_m(observations).mean(axis=0)
    depth_m = observations.observed_m[..., 2] - observations.truth_m[..., 2]
    errors_m = np.concatenate([across_m, depth_m[..., None]], axis=-1)
    return errors_m - errors_m.mean(axis=0)


def noise_statistics(observations: Observations) -> NoiseStatistics:
    """All statistics. Raises UserError when a joint has no positive disparity, which no depth error describes."""
    lost = np.isnan(observations.observed_m).any(axis=(1, 2))
    if lost.any():
        raise UserError(
            f"{np.count_nonzero(lost)} of {len(observations)} samples have joints whose views do not meet in front of "
            "the cameras: expected a positive disparity everywhere; leave these samples out"
        )
    errors_m = axis_errors_m(observations)
    left_m, right_m = view_errors_m(observations)
    body_m = errors_m.mean(axis=1)
    lengths_m = _bone_lengths_m(observations.observed_m) - _bone_lengths_m(observations.truth_m)
    return NoiseStatistics(
        samples=len(observations),
        sd_mm=errors_m.std(axis=0) * 1e3,
        median_mm=np.median(np.abs(errors_m), axis=0) * 1e3,
        kurtosis=kurtosis(errors_m, axis=0, fisher=False),
        disparity_mm=(left_m - right_m)[..., 0].std(axis=0) * 1e3,
        rows_mm=(left_m - right_m)[..., 1].std(axis=0) * 1e3,
        view_correlation=_correlation(left_m, right_m),
        rank_correlation=np.stack([np.corrcoef(rankdata(errors_m[..., axis], axis=0).T) for axis in range(3)]),
        body_mm=body_m.std(axis=0) * 1e3,
        body_share=body_m.var(axis=0) / (errors_m**2).mean(axis=(0, 1)),
        level_mm=np.percentile(np.abs(errors_m).mean(axis=1), PERCENTILES, axis=0) * 1e3,
        gross_share=(np.linalg.norm(errors_m, axis=-1) > GROSS_M).mean(axis=0),
        bones_mm=np.stack([lengths_m.mean(axis=0), lengths_m.std(axis=0)], axis=1) * 1e3,
        over_time=_over_time(errors_m, observations),
        postures=_by_posture(observations),
    )


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of two sets of N values each, along the first axis."""
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    return (first * second).mean(axis=0) / (first.std(axis=0) * second.std(axis=0))


def _bone_lengths_m(points_m: np.ndarray) -> np.ndarray:
    child, parent = BODY17.bone_indices.T
    return np.linalg.norm(points_m[:, child] - points_m[:, parent], axis=-1)


def _over_time(errors_m: np.ndarray, observations: Observations) -> dict[int, np.ndarray]:
    """Correlation with the error of the same joint so many frames later, mean over the joints; only lags there are."""
    place = {key: n for n, key in enumerate(zip(observations.run.tolist(), observations.order.tolist(), strict=True))}
    found = {}
    for lag in LAGS:
        pairs = np.array(
            [(n, place[run, order + lag]) for (run, order), n in place.items() if (run, order + lag) in place]
        )
        if len(pairs) > 1:
            products = errors_m[pairs[:, 0]] * errors_m[pairs[:, 1]]
            found[lag] = (products.mean(axis=0) / errors_m.var(axis=0)).mean(axis=0)
    return found


def _angle_rad(middle_m: np.ndarray, first_m: np.ndarray, second_m: np.ndarray) -> np.ndarray:
    first, second = first_m - middle_m, second_m - middle_m
    cosine = (first * second).sum(axis=-1) / (np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1))
    return np.arccos(np.clip(cosine, -1, 1))


def _by_posture(observations: Observations) -> dict[str, PostureErrors]:
    """Upright, bent at the hip with straight knees, and seated or squatting; postures that occur, by true joints."""
    truth_m = observations.truth_m
    hips, knees, ankles, shoulders = (truth_m[:, pair].mean(axis=1) for pair in (_HIPS, _KNEES, _ANKLES, _SHOULDERS))
    hip, knee = np.rad2deg(_angle_rad(hips, shoulders, knees)), np.rad2deg(_angle_rad(knees, hips, ankles))
    chosen = {"upright": hip >= 160, "bent": (hip < 130) & (knee >= 150), "seated": (hip < 130) & (knee < 130)}
    errors_m = observations.observed_m - truth_m
    errors_m -= np.median(errors_m, axis=0)
    toward_knee = (knees - hips) / np.linalg.norm(knees - hips, axis=-1, keepdims=True)
    trunk_m = errors_m[:, TRUNK].mean(axis=1)
    along_m = (trunk_m * toward_knee).sum(axis=-1)
    pelvis_m = errors_m[:, PELVIS] - errors_m[:, _HIPS].mean(axis=1)
    thigh_m = [
        np.linalg.norm(points_m[:, _HIPS] - points_m[:, _KNEES], axis=-1).mean(axis=1)
        for points_m in (observations.observed_m, truth_m)
    ]
    return {
        name: PostureErrors(
            share=float(mask.mean()),
            trunk_mm=np.median(trunk_m[mask], axis=0) * 1e3,
            along_thigh_mm=float(np.median(along_m[mask]) * 1e3),
            along_thigh_sd_mm=float(along_m[mask].std() * 1e3),
            pelvis_mm=np.median(pelvis_m[mask], axis=0) * 1e3,
            thigh_mm=float(np.median(thigh_m[0][mask] - thigh_m[1][mask]) * 1e3),
        )
        for name, mask in chosen.items()
        if mask.sum() >= 20
    }
