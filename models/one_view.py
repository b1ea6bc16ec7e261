"""Joints of which one view alone can be believed: on its line of sight, as far away as the person's bone reaches.

A hand behind the body is seen by one camera and guessed by the other. Where the two do not meet, or meet where no hand
can be, nothing tells by itself which of them is right; but the bone to the next joint has a length, and the joint was
somewhere a moment ago. Three hypotheses compete for each limb joint: both views are right, or one of them is. Each
costs what it is off by, in standard deviations (squared, halved), and doubting a view costs a price.

Tried on motion capture with limbs misplaced by about 40 cm in one view for 0.1 to 0.8 s (733 joints, baselines of 2 and
0.4 m): these joints are 147 and 115 mm off instead of 197 and 189 (median 80 and 65 instead of 164 and 141), 3 of them
stay without a place instead of 276, and the others are as right as before (28.6 and 29.5 mm instead of 29.0 and 30.0).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..calibration.rectify import RectifiedRig
from ..calibration.triangulate import project
from .outliers import LENGTH_OF_LIMB, LIMB_ENDS
from .pose import Pose2D, Pose3D

# A view that is no surer than this says nothing.
MIN_CONFIDENCE = 0.2
# What doubting a view costs.
PRICE = 5.0
# How far lengths deviate and lines of sight miss the sphere that the bone reaches.
REACH_SIGMA_M = 0.03
# What is known of a joint's place, relative to the next one: a moment ago this well, and less by so much a second; not
# at all after FORGET_S. A place of one view counts as known as well. Where both views agree on it speaks against them
# with a limited cost: else a mistake of the past would go on for ever.
PLACE_SIGMA_M, PLACE_SIGMA_M_S, FORGET_S = 0.05, 0.8, 1.0
MOST_COST_OF_PLACE = 2.0
# How far both views together place a joint too near or too far, at least.
BOTH_ALONG_SIGMA_M = 0.04
# A place of one view that is off by more standard deviations than this in anything is no better than a guess.
FARTHEST = 3.0
# One view says less than two.
TRUST = 0.4
ACROSS_SIGMA_M, MOST_ALONG_SIGMA_M = 0.02, 0.12


@dataclass(frozen=True, slots=True)
class Placed:
    """A joint placed by one view. view: the one that was believed; confidence: in 0..1; sigma_m: (3,)."""

    joint: int
    view: int
    point_m: np.ndarray
    confidence: float
    sigma_m: np.ndarray


@dataclass(frozen=True, slots=True)
class _Limb:
    """What is known of a limb segment now.

    outer: the joint in question; inner_m: (3,) where the joint at the other end is; length_m: between both;
    expected_m: (3,) where the outer joint is expected, known to place_sigma_m.
    """

    outer: int
    inner_m: np.ndarray
    length_m: float
    expected_m: np.ndarray
    place_sigma_m: float


class OneViewPlacing:
    """Follows the limbs of one person and places what both views together do not; causal."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the person."""
        self._from_inner_m = np.full((len(LIMB_ENDS), 3), np.nan)
        self._seen_s = np.full(len(LIMB_ENDS), -np.inf)

    def place(
        self,
        rig: RectifiedRig,
        views: tuple[Pose2D, Pose2D],
        points_m: np.ndarray,
        lengths_m: np.ndarray,
        row_noise_px: float,
        timestamp_s: float,
    ) -> list[Placed]:
        """Joints that one view shows better than both together do, from the trunk outward.

        views: body17, rectified pixels; points_m: (17, 3) triangulated, rectified frame, NaN where the views do not
        meet or are not believed; lengths_m: (4,) the person's, as `OutlierGate.lengths_m`; row_noise_px: standard
        deviation of row differences.
        """
        points_m = points_m.copy()
        found = []
        for number, (outer, inner) in enumerate(LIMB_ENDS.tolist()):
            length_m = float(lengths_m[LENGTH_OF_LIMB[number]])
            if np.isnan(points_m[inner, 0]) or np.isnan(length_m):
                continue
            gap_s = timestamp_s - self._seen_s[number]
            if 0 <= gap_s <= FORGET_S:
                expected_m = points_m[inner] + self._from_inner_m[number]
                limb = _Limb(outer, points_m[inner], length_m, expected_m, PLACE_SIGMA_M + PLACE_SIGMA_M_S * gap_s)
                cost = _cost_of_both(rig, limb, points_m[outer], row_noise_px)
                best = _best_of_one(rig, views, limb, cost - PRICE) if cost > PRICE else None
                if best is not None:
                    found.append(best)
                    points_m[outer] = best.point_m
            if np.isfinite(points_m[outer, 0]):
                self._from_inner_m[number] = points_m[outer] - points_m[inner]
                self._seen_s[number] = timestamp_s
        return found


def _cost_of_both(rig: RectifiedRig, limb: _Limb, point_m: np.ndarray, row_noise_px: float) -> float:
    """What it costs to believe both views, which meet at point_m, (3,); infinite where they do not."""
    if np.isnan(point_m[0]):
        return np.inf
    along_m = point_m - limb.inner_m
    found_m = float(np.linalg.norm(along_m))
    row_depth_m = point_m[2] ** 2 / (rig.focal_px * rig.baseline_m) * max(row_noise_px, 1.0)
    depth_sigma_m = float(np.hypot(BOTH_ALONG_SIGMA_M, row_depth_m))
    depth_share = abs(along_m[2]) / max(found_m, 1e-6)
    length_sigma_m = np.hypot(REACH_SIGMA_M, depth_share * np.sqrt(2) * depth_sigma_m)
    away_m = float(np.linalg.norm(point_m - limb.expected_m))
    away = away_m / np.hypot(limb.place_sigma_m, depth_sigma_m)
    return float(((found_m - limb.length_m) / length_sigma_m) ** 2 / 2 + min(away**2 / 2, MOST_COST_OF_PLACE))


def _best_of_one(rig: RectifiedRig, views: tuple[Pose2D, Pose2D], limb: _Limb, most: float) -> Placed | None:
    """The likeliest of the places that one view or the other offers, None when none costs less than `most`.

    How far away the others are, weighted by how likely they are, is part of its uncertainty.
    """
    offers: list[Placed] = []
    costs: list[float] = []
    for view, pose in enumerate(views):
        confidence = float(pose.confidence[limb.outer])
        if confidence < MIN_CONFIDENCE:
            continue
        for point_m, missed_m, sight_sigma_m in _meetings(rig, view, pose.points_px[limb.outer], limb):
            away = float(np.linalg.norm(point_m - limb.expected_m)) / limb.place_sigma_m
            missed = missed_m / REACH_SIGMA_M
            if max(away, missed) <= FARTHEST:
                sigma_m = np.hypot(ACROSS_SIGMA_M / confidence, sight_sigma_m)
                offers.append(Placed(limb.outer, view, point_m, TRUST * confidence, sigma_m))
                costs.append((away**2 + missed**2) / 2 - np.log(confidence))
    if not offers or min(costs) >= most:
        return None
    best = offers[int(np.argmin(costs))]
    likelihood = np.exp(min(costs) - np.array(costs))
    apart_m = np.array([offer.point_m - best.point_m for offer in offers])
    return replace(best, sigma_m=np.sqrt(best.sigma_m**2 + likelihood @ apart_m**2 / likelihood.sum()))


def _meetings(
    rig: RectifiedRig, view: int, point_px: np.ndarray, limb: _Limb
) -> Iterator[tuple[np.ndarray, float, np.ndarray]]:
    """Where a line of sight meets the sphere that a joint can reach, or passes it.

    Yields place (3,), by how much the line misses the sphere, standard deviation along the line by axis (3,).
    """
    camera_m = np.array([view * rig.baseline_m, 0.0, 0.0])
    sight = np.append((point_px - rig.centres_px[view]) / rig.focal_px, 1.0)
    sight /= np.linalg.norm(sight)
    nearest_m = float((limb.inner_m - camera_m) @ sight)
    off_m = float(np.linalg.norm(camera_m + nearest_m * sight - limb.inner_m))
    half_m = float(np.sqrt(max(limb.length_m**2 - off_m**2, 0.0)))
    # d(half) = length / half d(length): where the line only grazes the sphere the depth is hardly known.
    along_m = min(REACH_SIGMA_M * limb.length_m / max(half_m, 1e-3), MOST_ALONG_SIGMA_M)
    for depth_m in sorted({nearest_m - half_m, nearest_m + half_m}):
        if depth_m > 0:
            yield camera_m + depth_m * sight, max(off_m - limb.length_m, 0.0), np.abs(sight) * along_m


def with_placed(
    rig: RectifiedRig, left: Pose2D, right: Pose2D, raw: Pose3D, placed: list[Placed]
) -> tuple[Pose2D, Pose2D, Pose3D]:
    """What to tell a denoiser: as if both views had seen these joints where one of them alone has placed them."""
    if not placed:
        return left, right, raw
    views = (left, right)
    points_px = [view.points_px.copy() for view in views]
    points_m, confidence, sigma_m = raw.points_m.copy(), raw.confidence.copy(), raw.sigma_m.copy()
    for found in placed:
        joint = found.joint
        points_m[joint], confidence[joint], sigma_m[joint] = found.point_m, found.confidence, found.sigma_m
        shown_px = project(rig, found.point_m)
        for view in (0, 1):
            points_px[view][joint] = shown_px[view]
    left, right = (
        Pose2D(points, view.confidence, view.skeleton) for points, view in zip(points_px, views, strict=True)
    )
    return left, right, Pose3D(points_m, confidence, sigma_m, raw.skeleton, raw.timestamp_s)


def as_inferred(pose: Pose3D, placed: list[Placed]) -> Pose3D:
    """The refined pose; joints that one view placed are inferred, confidence 0, and no surer than that view was."""
    if not placed:
        return pose
    confidence, sigma_m = pose.confidence.copy(), pose.sigma_m.copy()
    for found in placed:
        confidence[found.joint] = 0.0
        sigma_m[found.joint] = np.maximum(sigma_m[found.joint], found.sigma_m)
    return Pose3D(pose.points_m, confidence, sigma_m, pose.skeleton, pose.timestamp_s)
