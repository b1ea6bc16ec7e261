"""What two views and a body say about left and right: the cost of every way of naming the sides of one frame."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from ..calibration.rectify import RectifiedRig
from ..calibration.triangulate import triangulate
from .pose import Pose2D
from .running_median import RunningMedian
from .sides import LIMBS, WHOLE_LIMB
from .skeleton import BODY17

SIDES = ("Right", "Left")
# The twelve limb joints: by limb, then side, then from the trunk to the end.
JOINTS = np.array([BODY17.index(side + joint) for limb in LIMBS.values() for side in SIDES for joint in limb])
NOSE = BODY17.index("Nose")

# A limb state says how many joints are exchanged, counted from the end, in the left view and in the right one.
LIMB_STATES = np.array(list(product(range(WHOLE_LIMB + 1), repeat=2)))
STATES = len(LIMB_STATES)
# Which variant of its naming each state gives a joint at each place of the limb: 2 if the left view exchanges it plus 1
# if the right view does. (states, 3)
_REACH = WHOLE_LIMB - np.arange(3)
VARIANTS = 2 * (LIMB_STATES[:, :1] >= _REACH) + (LIMB_STATES[:, 1:] >= _REACH)
# The same for the six joints of a limb, (states, 6).
JOINT_VARIANTS = np.tile(VARIANTS, 2)

# Student's t with few degrees of freedom: a gross error has to be cheap enough for the other joints to outvote it.
FREEDOM = 3.0
# What rays cost that do not meet in front of the cameras.
IMPOSSIBLE_COST = 10.0
# What a joint costs that one view shows without the other: a naming must not gain by tearing pairs apart.
ALONE_COST = 4.0

# Segments of a limb, (side, place) at both ends: the width, then the segments of both sides.
_ENDS = np.array([[(0, 0), (1, 0)], [(0, 0), (0, 1)], [(1, 0), (1, 1)], [(0, 1), (0, 2)], [(1, 1), (1, 2)]])
_LENGTHS = 3
_LENGTH_OF_SEGMENT = np.array([0, 1, 1, 2, 2])
# Lengths before the person is known, in parts of the trunk (mid-hip to mid-shoulder): (limb, width / upper / lower).
_USUAL_LENGTHS = np.array([[0.68, 0.56, 0.50], [0.42, 0.82, 0.82]])
_USUAL_SPREAD = 0.2
MIN_OBSERVATIONS = 40
# How far segments deviate from their length, detectors' errors not counted.
LENGTH_SIGMA_M = 0.02
# Detectors' errors on the person, across the line of sight and along it at least.
ACROSS_SIGMA_M = 0.015
ALONG_SIGMA_M = 0.03

# How strongly one frame argues from the way bodies bend. Frames in a row show nearly the same pose, so that each may
# say only a part of what it seems to know.
ANATOMY_WEIGHT = 0.5
# Of what is known to lie in front of something else, how far it usually lies there.
BEND_M, FACE_M = 0.03, 0.05


def student_cost(squared: np.ndarray, dimensions: int = 1) -> np.ndarray:
    """Negative logarithm of Student's t, 0 at its mode. squared: squared distance in standard deviations."""
    return (FREEDOM + dimensions) / 2 * np.log1p(squared / FREEDOM)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Where the limb joints would be for each variant of their naming (see VARIANTS).

    seen: (12, 4, 4) mean column, mean row, disparity and row difference, rectified pixels; points_m: (12, 4, 3), NaN
    also where the rays do not meet; confidence: (12, 4); alone: (12, 4) the confidence of a joint that only one view
    shows, else 0; nose_m: (3,); height_px: of the person. NaN and confidence 0 where a view lacks the joint.
    """

    seen: np.ndarray
    points_m: np.ndarray
    confidence: np.ndarray
    alone: np.ndarray
    nose_m: np.ndarray
    height_px: float


def candidates(rig: RectifiedRig, left: Pose2D, right: Pose2D) -> Candidates:
    """All namings of the joints of one frame. left, right: body17, rectified pixels."""
    mirrored = BODY17.mirror[JOINTS]
    left_joint = np.stack([JOINTS, JOINTS, mirrored, mirrored], axis=1)
    right_joint = np.stack([JOINTS, mirrored, JOINTS, mirrored], axis=1)
    left_px, right_px = left.points_px[left_joint], right.points_px[right_joint]
    confidences = np.stack([left.confidence[left_joint], right.confidence[right_joint]])
    both = confidences.min(axis=0)
    rows_px = left.points_px[np.isfinite(left.points_px[:, 1]), 1]
    return Candidates(
        np.concatenate([(left_px + right_px) / 2, left_px - right_px], axis=-1),
        triangulate(rig, left_px, right_px),
        both,
        np.where(both > 0, 0.0, confidences.max(axis=0)),
        triangulate(rig, left.points_px[NOSE], right.points_px[NOSE]),
        max(float(np.ptp(rows_px)), 1.0) if len(rows_px) else 1.0,
    )


class BodyEvidence:
    """Judges all namings of one frame by rows, lengths and the way bodies bend; learns the person's lengths."""

    def __init__(self) -> None:
        self._lengths = RunningMedian(2 * _LENGTHS, 0.03, 0.9, 0.002)
        self._trunk = RunningMedian(1, 0.1, 0.9, 0.002)

    def learn(self, points_m: np.ndarray) -> None:
        """Add a frame whose sides are settled, (12, 3) limb joints, NaN ignored."""
        limbs_m = points_m.reshape(2, 2, 3, 3)
        ends_m = limbs_m[:, _ENDS[..., 0], _ENDS[..., 1]]  # (limb, segment, end, 3)
        lengths_m = np.linalg.norm(ends_m[:, :, 0] - ends_m[:, :, 1], axis=-1)
        quantity = np.arange(2)[:, None] * _LENGTHS + _LENGTH_OF_SEGMENT
        self._lengths.observe(quantity.ravel(), lengths_m.ravel())
        self._trunk.observe(np.zeros(1, np.intp), np.array([np.linalg.norm(_trunk_m(limbs_m))]))

    def costs(self, rig: RectifiedRig, found: Candidates, row_bias_px: float, row_noise_px: float) -> np.ndarray:
        """Negative log-likelihood of all pairs of limb states, up to a constant, (arm states, leg states)."""
        limbs_m = found.points_m.reshape(2, 2, 3, 4, 3)
        joint_costs = self._joint_costs(found, row_bias_px, row_noise_px).reshape(2, 6, 4)
        limb_costs = joint_costs[:, np.arange(6), JOINT_VARIANTS].sum(axis=-1)
        limb_costs += self._length_costs(rig, limbs_m, row_noise_px)
        knees, girdles = self._anatomy_costs(limbs_m, found.nose_m, _depth_sigma_m(rig, limbs_m, row_noise_px))
        girdle = VARIANTS[:, 0]
        return limb_costs[0][:, None] + limb_costs[1] + knees + girdles[girdle[:, None], girdle]

    def _joint_costs(self, found: Candidates, row_bias_px: float, row_noise_px: float) -> np.ndarray:
        """Do the two views of a joint belong together? (12, 4)"""
        scale_px = max(row_noise_px, 0.01 * found.height_px, 1.0)
        residual_px = found.seen[..., 3] - row_bias_px
        cost = found.confidence * student_cost((residual_px / scale_px) ** 2)
        impossible = np.isfinite(residual_px) & np.isnan(found.points_m[..., 2])
        return np.nan_to_num(cost, nan=0.0) + IMPOSSIBLE_COST * impossible + ALONE_COST * found.alone

    def _expected_lengths_m(self, limbs_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lengths of (limb, width / upper / lower) and how far they may be off, (2, 3) each."""
        trunk_m = self._trunk.median[0]
        if np.isnan(trunk_m):
            # Exchanged or not, the middles of shoulders and hips are in about the same place.
            trunk_m = np.linalg.norm(_trunk_m(limbs_m[:, :, :, 0]))
        usual_m = _USUAL_LENGTHS * trunk_m
        known = self._lengths.seen.reshape(2, _LENGTHS) >= MIN_OBSERVATIONS
        learnt_m = self._lengths.median.reshape(2, _LENGTHS)
        return np.where(known, learnt_m, usual_m), np.where(known, LENGTH_SIGMA_M, _USUAL_SPREAD * usual_m)

    def _length_costs(self, rig: RectifiedRig, limbs_m: np.ndarray, row_noise_px: float) -> np.ndarray:
        """Is the limb built like this person's? (limb, state)"""
        expected_m, spread_m = (each[:, _LENGTH_OF_SEGMENT, None, None] for each in self._expected_lengths_m(limbs_m))
        first_m, second_m = (limbs_m[:, _ENDS[:, end, 0], _ENDS[:, end, 1]] for end in (0, 1))  # (limb, segment, 4, 3)
        along_m = first_m[:, :, :, None] - second_m[:, :, None]  # (limb, segment, 4, 4, 3)
        length_m = np.linalg.norm(along_m, axis=-1)
        depth_m = (first_m[:, :, :, None, 2] + second_m[:, :, None, :, 2]) / 2
        depth_sigma_m = np.maximum(ALONG_SIGMA_M, depth_m**2 * _depth_per_square(rig, row_noise_px))
        depth_share = np.abs(along_m[..., 2]) / np.maximum(length_m, 1e-6)
        variance = 2 * ACROSS_SIGMA_M**2 + 2 * (depth_share * depth_sigma_m) ** 2 + spread_m**2
        cost = np.nan_to_num(student_cost((length_m - expected_m) ** 2 / variance), nan=0.0)
        places = _ENDS[:, :, 1]
        return cost[:, np.arange(len(_ENDS)), VARIANTS[:, places[:, 0]], VARIANTS[:, places[:, 1]]].sum(axis=-1)

    def _anatomy_costs(
        self, limbs_m: np.ndarray, nose_m: np.ndarray, depth_sigma_m: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Knees bend forward, noses point forward, the trunk does not twist by more than a right angle.

        Returns the costs of the leg states, (states,), and of the variants of shoulders and hips, (4, 4).
        """
        trunk_m = _trunk_m(limbs_m[:, :, :, 0])
        shoulders_m, hips_m = limbs_m[:, :, 0].swapaxes(1, 2)  # (variant, side, 3) each
        left_m = np.stack([shoulders_m[:, 1] - shoulders_m[:, 0], hips_m[:, 1] - hips_m[:, 0]])
        forward = np.cross(left_m, trunk_m)
        forward /= np.maximum(np.linalg.norm(forward, axis=-1, keepdims=True), 1e-9)  # (girdle, 4, 3)
        middle_m = shoulders_m.mean(axis=1)
        face_sigma_m, bend_sigma_m = (np.hypot(usual, forward[..., 2] * depth_sigma_m) for usual in (FACE_M, BEND_M))
        face = _preference(((nose_m - middle_m) * forward[0]).sum(axis=-1) / face_sigma_m[0])
        width_m = np.linalg.norm(left_m, axis=-1)
        sure = width_m / np.hypot(width_m, 2 * depth_sigma_m)  # of the direction of shoulders and of hips
        twist = _preference(2 * forward[0] @ forward[1].T * sure[0][:, None] * sure[1])
        hips = VARIANTS[:, 0]
        knees = _preference(
            sure[1][hips] * (_knee_bends_m(limbs_m[1]) * forward[1][hips]).sum(axis=-1) / bend_sigma_m[1][hips]
        )
        return knees.sum(axis=0), face[:, None] + twist


def _knee_bends_m(legs_m: np.ndarray) -> np.ndarray:
    """From the line through hip and ankle to the knee for every leg state. (side, place, 4, 3) -> (side, states, 3)."""
    hip_m, knee_m, ankle_m = np.moveaxis(legs_m[:, np.arange(3), VARIANTS], 2, 0)
    axis_m = ankle_m - hip_m
    share = ((knee_m - hip_m) * axis_m).sum(axis=-1) / np.maximum((axis_m**2).sum(axis=-1), 1e-6)
    return knee_m - hip_m - share[..., None] * axis_m


def _trunk_m(limbs_m: np.ndarray) -> np.ndarray:
    """From mid-hip to mid-shoulder. (limb, side, place, 3) -> (3,)."""
    return limbs_m[0, :, 0].mean(axis=0) - limbs_m[1, :, 0].mean(axis=0)


def _depth_per_square(rig: RectifiedRig, disparity_noise_px: float) -> float:
    """Standard deviation of a depth by the square of that depth, 1/m."""
    return max(disparity_noise_px, 1.0) / (rig.focal_px * rig.baseline_m)


def _depth_sigma_m(rig: RectifiedRig, limbs_m: np.ndarray, disparity_noise_px: float) -> float:
    """Of a joint of this person."""
    depths_m = limbs_m[:, :, :, 0, 2]
    known = np.isfinite(depths_m)
    depth_m = float(np.median(depths_m[known])) if known.any() else 0.0
    return max(ALONG_SIGMA_M, depth_m**2 * _depth_per_square(rig, disparity_noise_px))


def _preference(evidence: np.ndarray) -> np.ndarray:
    """Cost that grows as `evidence` turns negative; where there is none (NaN) that of evidence 0."""
    return ANATOMY_WEIGHT * np.nan_to_num(np.log1p(np.exp(-np.clip(evidence, -4, 4))), nan=np.log(2.0))
