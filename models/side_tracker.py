"""Puts left and right right: follows the person through time under every plausible naming of the sides.

A beam of hypotheses, one per way in which the current frame may be exchanged (SideExchange), each with its own idea of
where the limb joints are and where they go. A frame extends all of them by all namings of its joints; what that costs
is

    the evidence of the frame itself (rows, lengths, the way bodies bend: side_evidence)
  + how far the joints, so named, are from where the hypothesis expects them, in both views
  + a price for exchanges beginning and ending, and a small one for being exchanged at all,

and the cheapest way to each naming stays (the Viterbi algorithm with tracks per survivor). The cheapest hypothesis
tells how the frame is exchanged, at once or, with look-ahead, some frames later, when the sequel is known.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from ..calibration.rectify import RectifiedRig
from .epipolar import RowStatistics
from .pose import Pose2D
from .running_median import RunningMedian
from .side_evidence import JOINT_VARIANTS, LIMB_STATES, STATES, BodyEvidence, Candidates, candidates, student_cost
from .sides import NO_EXCHANGE, WHOLE_LIMB, SideExchange

# Hypotheses that are followed: 24 decide no better.
BEAM = 8
# Price of an exchange beginning or ending in a limb of one view, and of that limb being exchanged for a frame; both
# times so many times more for part of a limb; and the price for every frame in which both views exchange a limb.
CHANGE_COST = 4.0
PRESENCE_COST = 0.3
PART_FACTOR = 2.0
BOTH_VIEWS_COST = 0.3

# The filter that tells where joints go: gains for place and speed.
PLACE_GAIN, SPEED_GAIN = 0.7, 0.25
# What is expected of a joint is off by at least this part of the person's height, and by this until it is known.
FLOOR_OF_HEIGHT, USUAL_OF_HEIGHT = 0.004, 0.012
MIN_OBSERVATIONS = 60
# Joints not seen for so long are anywhere; seconds. Speed is not believed for longer than the second.
FORGET_S = 0.4
COAST_S = 0.1
PRUNE_COST = 60.0


@dataclass(frozen=True, slots=True)
class _Beam:
    """Hypotheses, cheapest first.

    cost: (H,); arms, legs: (H,) limb states; place: (H, 12, 3) column, row and disparity of the limb joints, NaN
    where never seen; speed: the same per second; seen_s: (H, 12) when each was last seen; parent: (H,) position in the
    beam before.
    """

    cost: np.ndarray
    arms: np.ndarray
    legs: np.ndarray
    place: np.ndarray
    speed: np.ndarray
    seen_s: np.ndarray
    parent: np.ndarray


@dataclass(frozen=True, slots=True)
class _Step:
    """A frame that waits for its decision. points_m: of its Candidates; evidence: what learns from it."""

    beam: _Beam
    points_m: np.ndarray
    evidence: BodyEvidence


def _empty_beam() -> _Beam:
    nowhere = np.full((1, 12, 3), np.nan)
    none = np.zeros(1, np.intp)
    return _Beam(np.zeros(1), none, none, nowhere, np.zeros((1, 12, 3)), np.full((1, 12), -np.inf), none)


def _state_prices() -> tuple[np.ndarray, np.ndarray]:
    """Of limb states, (states,), and of going from one to another, (states, states)."""
    part = (LIMB_STATES > 0) & (LIMB_STATES < WHOLE_LIMB)
    exchanged = LIMB_STATES > 0
    presence = PRESENCE_COST * (exchanged + PART_FACTOR * part).sum(axis=1)
    presence += BOTH_VIEWS_COST * exchanged.all(axis=1)
    changed = LIMB_STATES[:, None] != LIMB_STATES
    change = CHANGE_COST * (changed + PART_FACTOR * (changed & (part[:, None] | part))).sum(axis=-1)
    return presence, change


PRESENCE, CHANGE = _state_prices()


class SideTracker:
    """Finds out frame by frame which joints of which view have left and right exchanged.

    lookahead: so many frames later a frame is decided; 0 decides at once.
    """

    def __init__(self, lookahead: int = 0) -> None:
        self.lookahead = lookahead
        self.reset()

    def reset(self) -> None:
        """Forget the person."""
        self._waiting: deque[_Step | None] = deque()
        self._beam = _empty_beam()
        self._scales = RunningMedian(18, 0.0, 0.1, 0.0005)
        self.forget_lengths()

    def forget_lengths(self) -> None:
        """It may be somebody else from now on."""
        self._evidence = BodyEvidence()

    def push(
        self, rig: RectifiedRig, rows: RowStatistics, bodies: tuple[Pose2D, Pose2D] | None, timestamp_s: float
    ) -> SideExchange | None:
        """Add a frame.

        bodies: the person in the left and the right view, body17 in rectified pixels, None when not in both; rows: what
        is usual of the row differences. Returns the decision on the frame that is due, None while there is none.
        """
        step = None
        if bodies is not None:
            found = candidates(rig, *bodies)
            frame_costs = self._evidence.costs(rig, found, rows.bias_px, rows.noise_px)
            self._beam = self._extended(found, frame_costs, timestamp_s)
            step = _Step(self._beam, found.points_m, self._evidence)
        self._waiting.append(step)
        return self._decide() if len(self._waiting) > self.lookahead else None

    def finish(self) -> list[SideExchange]:
        """Decide on the frames that still wait; in order."""
        return [self._decide() for _ in range(len(self._waiting))]

    def _decide(self) -> SideExchange:
        # Back from the cheapest hypothesis of now to what it began with.
        best = 0
        for later in reversed(list(self._waiting)[1:]):
            if later is not None:
                best = int(later.beam.parent[best])
        step = self._waiting.popleft()
        if step is None:
            return NO_EXCHANGE
        arms, legs = int(step.beam.arms[best]), int(step.beam.legs[best])
        variants = np.concatenate([JOINT_VARIANTS[arms], JOINT_VARIANTS[legs]])
        step.evidence.learn(step.points_m[np.arange(12), variants])
        (arms_left, arms_right), (legs_left, legs_right) = LIMB_STATES[[arms, legs]].tolist()
        return SideExchange(((arms_left, legs_left), (arms_right, legs_right)))

    def _extended(self, found: Candidates, frame_costs: np.ndarray, timestamp_s: float) -> _Beam:
        beam = self._beam
        gap_s = np.maximum(timestamp_s - beam.seen_s, 1e-6)
        coasted_s = np.minimum(gap_s, COAST_S)[..., None]
        expected = beam.place + np.where(np.isfinite(beam.seen_s)[..., None], beam.speed * coasted_s, 0.0)
        innovation = found.seen[..., :3] - expected[:, :, None]  # (H, 12, 4, 3)
        sigma_px = self._sigmas_of_height() * found.height_px
        joint_costs = self._continuity_costs(innovation, found, gap_s, sigma_px).reshape(-1, 2, 6, 4)
        arm_costs, leg_costs = (
            joint_costs[:, limb][:, np.arange(6), JOINT_VARIANTS].sum(axis=-1) + PRESENCE for limb in (0, 1)
        )
        arm_costs += CHANGE[beam.arms]
        leg_costs += CHANGE[beam.legs]
        total = beam.cost[:, None, None] + arm_costs[:, :, None] + leg_costs[:, None, :] + frame_costs
        parent = total.argmin(axis=0).ravel()
        cost = total.min(axis=0).ravel()
        kept = np.argsort(cost, kind="stable")[:BEAM]
        kept = kept[cost[kept] < cost[kept[0]] + PRUNE_COST]
        return self._advanced(found, expected, innovation, sigma_px, kept, parent[kept], cost[kept], timestamp_s)

    def _continuity_costs(
        self, innovation: np.ndarray, found: Candidates, gap_s: np.ndarray, sigma_px: np.ndarray
    ) -> np.ndarray:
        """(H, 12, 4)"""
        squared = ((innovation / sigma_px[:, None]) ** 2).sum(axis=-1)
        known = np.exp(-gap_s / FORGET_S)[..., None] * found.confidence
        return np.nan_to_num(known * student_cost(squared, 3), nan=0.0)

    def _sigmas_of_height(self) -> np.ndarray:
        """(12, 3)"""
        known = self._scales.seen >= MIN_OBSERVATIONS
        sigma = np.where(known, np.maximum(1.5 * self._scales.median, FLOOR_OF_HEIGHT), USUAL_OF_HEIGHT)
        return np.repeat(sigma.reshape(2, 1, 3, 3), 2, axis=1).reshape(12, 3)

    def _advanced(
        self, found: Candidates, expected: np.ndarray, innovation: np.ndarray, sigma_px: np.ndarray, kept: np.ndarray,
        parent: np.ndarray, cost: np.ndarray, timestamp_s: float,
    ) -> _Beam:  # fmt: skip
        """The beam after this frame: hypotheses `kept` (arm state, leg state as one number) from their parents."""
        beam = self._beam
        arms, legs = np.divmod(kept, STATES)
        variants = np.concatenate([JOINT_VARIANTS[arms], JOINT_VARIANTS[legs]], axis=1)  # (H, 12)
        joints = np.arange(12)
        moved = innovation[parent[:, None], joints, variants]  # (H, 12, 3)
        now = found.seen[joints, variants, :3]
        seen = np.asarray(np.isfinite(now).all(axis=-1))
        fresh = seen & np.isnan(moved[..., 0])
        gap_s = np.maximum(timestamp_s - beam.seen_s[parent], 1e-3)
        self._learn_scales(moved[0], gap_s[0], found.height_px)
        place = np.where(seen[..., None], expected[parent] + PLACE_GAIN * moved, beam.place[parent])
        place[fresh] = now[fresh]
        # A jump says nothing about speed.
        trust = 1 / (1 + ((moved / sigma_px) ** 2).sum(axis=-1) / 25)
        gain = np.where(seen & ~fresh, SPEED_GAIN * trust / gap_s, 0.0)[..., None]
        speed = beam.speed[parent] + gain * np.nan_to_num(moved, nan=0.0)
        return _Beam(
            cost - cost[0], arms, legs, place, np.where(fresh[..., None], 0.0, speed),
            np.where(seen, timestamp_s, beam.seen_s[parent]), parent,
        )  # fmt: skip

    def _learn_scales(self, moved: np.ndarray, gap_s: np.ndarray, height_px: float) -> None:
        """moved: (12, 3) innovations of the best hypothesis."""
        quantity = np.broadcast_to(np.arange(18).reshape(2, 1, 3, 3), (2, 2, 3, 3)).reshape(12, 3)
        recent = gap_s < COAST_S
        self._scales.observe(quantity[recent].ravel(), (np.abs(moved[recent]) / height_px).ravel())
