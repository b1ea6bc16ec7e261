"""Joints that no one can see and everybody defines differently, and where a detector's own definition is too far off.

Hips, knees, wrists lie where they lie; pelvis, thorax, neck, head top and nose are put somewhere between and beyond by
convention, and a detector that learnt another one, or learnt it badly, is off by the same amount all the time. How far
these joints are from the others can be seen without any ground truth. Known conventions differ by centimetres: that is
left to the bone lengths, which tell the denoiser which is meant. What lies far outside all of them is put back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .skeleton import BODY17


@dataclass(frozen=True, slots=True)
class Convention:
    """Where a joint is in the frame of the trunk: to the person's left, up the trunk, forward, in trunk lengths.

    base: the pair of joints whose middle is the origin; low, high: (3,) the least and the most that the two conventions
    of the motion data place it at (those of Human3.6M and Berkeley MHAD); sigma: (3,) standard deviation between the
    medians of 686 clips of 45 people, at least a centimetre.
    """

    base: str
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    sigma: tuple[float, float, float]


CONVENTIONS: Mapping[str, Convention] = {
    "Pelvis": Convention("Hip", (0.0, 0.0, 0.0), (0.0, 0.026, 0.017), (0.02, 0.02, 0.02)),
    "Thorax": Convention("Hip", (0.0, 0.547, -0.049), (0.0, 0.598, -0.012), (0.02, 0.02, 0.031)),
    "Neck": Convention("Shoulder", (0.0, 0.079, 0.028), (0.0, 0.108, 0.087), (0.02, 0.033, 0.039)),
    "HeadTop": Convention("Shoulder", (0.0, 0.432, 0.081), (0.0, 0.590, 0.104), (0.05, 0.066, 0.128)),
    "Nose": Convention("Shoulder", (0.0, 0.237, 0.116), (0.0, 0.240, 0.163), (0.03, 0.044, 0.060)),
}
# Trunks of other lengths are nobody's: a hip or shoulder is wrong, and the frame with it.
TRUNK_LIMITS_M = (0.25, 0.9)
# Further outside the conventions, in standard deviations, is no convention.
FARTHEST = 4.0

_SIDES = {part: [BODY17.index(side + part) for side in ("Right", "Left")] for part in ("Hip", "Shoulder")}


@dataclass(frozen=True, slots=True)
class Trunks:
    """The trunks of N poses.

    middle_m: by part, (N, 3); axes: (N, 3, 3), columns to the person's left, up and forward; length_m: (N,). NaN where
    shoulders or hips are not known.
    """

    middle_m: Mapping[str, np.ndarray]
    axes: np.ndarray
    length_m: np.ndarray


def trunks(points_m: np.ndarray) -> Trunks:
    """Of poses (N, 17, 3), body17, NaN where unknown."""
    sides = {part: points_m[:, joints] for part, joints in _SIDES.items()}
    middle_m = {part: ends_m.mean(axis=1) for part, ends_m in sides.items()}
    up = middle_m["Shoulder"] - middle_m["Hip"]
    length_m = np.linalg.norm(up, axis=1)
    up = up / length_m[:, None]
    left = sum(ends_m[:, 1] - ends_m[:, 0] for ends_m in sides.values())
    left = left - (left * up).sum(axis=1, keepdims=True) * up
    left /= np.linalg.norm(left, axis=1, keepdims=True)
    return Trunks(middle_m, np.stack([left, up, np.cross(left, up)], axis=-1), length_m)


def usual_places(points_m: np.ndarray) -> np.ndarray:
    """Median place of every joint of CONVENTIONS in the frame of the trunk, (17, 3) trunk lengths; NaN for the others.

    points_m: (N, 17, 3), NaN where unknown.
    """
    places = np.full((len(BODY17), 3), np.nan)
    found = trunks(points_m)
    for name, convention in CONVENTIONS.items():
        joint = BODY17.index(name)
        away_m = points_m[:, joint] - found.middle_m[convention.base]
        own = np.einsum("nij,ni->nj", found.axes, away_m) / found.length_m[:, None]
        known = np.isfinite(own).all(axis=1)
        if known.any():
            places[joint] = np.median(own[known], axis=0)
    return places


def beyond_convention(places: np.ndarray) -> np.ndarray:
    """By how much joints lie outside all conventions, (17, 3) trunk lengths; 0 where they do not, or not clearly.

    places: (17, 3) of `usual_places`.
    """
    beyond = np.zeros((len(BODY17), 3))
    for name, convention in CONVENTIONS.items():
        joint = BODY17.index(name)
        off = places[joint] - np.clip(places[joint], convention.low, convention.high)
        if np.max(np.abs(off) / convention.sigma) > FARTHEST:  # never so where a place is NaN
            beyond[joint] = off
    return beyond


def put_back(points_m: np.ndarray, beyond: np.ndarray) -> np.ndarray:
    """A pose with joints moved back to where conventions have them, (17, 3); as it is where the trunk is unknown or
    cannot be.

    points_m: (17, 3); beyond: (17, 3) of `beyond_convention`.
    """
    found = trunks(points_m[None])
    if not TRUNK_LIMITS_M[0] <= found.length_m[0] <= TRUNK_LIMITS_M[1]:
        return points_m
    shift_m = found.length_m[0] * beyond @ found.axes[0].T
    return points_m - np.nan_to_num(shift_m, nan=0.0)
