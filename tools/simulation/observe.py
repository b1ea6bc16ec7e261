"""What a detector on a stereo rig makes of a pose: rigs, noise, misses, confidences and learnt bone lengths."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...app.pipeline import MAX_REACH_M
from ...models.bone_lengths import segments_of
from ...models.epipolar import FLOOR_OF_HEIGHT
from ...models.nets.geometry import project, triangulate
from ...models.nets.skeleton_layer import incidence
from ...models.skeleton import BODY17

_INDEX = BODY17.index
_UNSEEN_BY_COCO = [_INDEX(joint) for joint in ("Thorax", "Neck", "HeadTop")]
_LEGS = [_INDEX(side + joint) for side in ("Right", "Left") for joint in ("Knee", "Ankle")]
_HIPS, _KNEES, _SHOULDERS = (
    [_INDEX(side + joint) for side in ("Right", "Left")] for joint in ("Hip", "Knee", "Shoulder")
)
_PELVIS = _INDEX("Pelvis")
_PARTS = {
    "Ankle": 0, "Knee": 0, "Hip": 1, "Pelvis": 1, "Thorax": 1, "Neck": 2, "HeadTop": 2, "Nose": 2, "Shoulder": 3,
    "Elbow": 4, "Wrist": 4,
}  # fmt: skip
# How much harder joints are than others, before all that varies: limbs that move, and the pelvis, which nobody sees.
HARDEST = 8.0
_DIFFICULTY = {"Ankle": 1.1, "Knee": 0.9, "Pelvis": 1.8, "HeadTop": 0.9, "Nose": 0.8, "Elbow": 1.2, "Wrist": 1.5}


@dataclass(frozen=True, slots=True)
class RigVariation:
    """Rigs and places, drawn evenly (lengths logarithmically) between two limits.

    slope: x / Z and y / Z of the person off the middle between the cameras, standard deviations.
    """

    baseline_m: tuple[float, float] = (0.06, 4.0)
    distance_m: tuple[float, float] = (1.0, 8.0)
    parallax: tuple[float, float] = (0.02, 1.4)
    slope: tuple[float, float] = (0.2, 0.12)


@dataclass(frozen=True, slots=True)
class NoiseVariation:
    """How detections err, in metres at the person; pairs are limits between which each sample draws.

    Real detectors misplace a joint in space more than in a picture: two views 47 degrees apart still agree about half
    of the error, and disparities are eleven times better than independent noise would have them. So most of the noise
    is a displacement in space that both views see, the rest belongs to each view.

    across_m: level per axis; depth_ratio: further displacement along the line of sight (or between that and where the
    person faces), times the level; view: noise of each view, times the level and, below 30 degrees of parallax, less;
    spread: log-normal spread of the level between parts and joints; freedom: of Student's t, the heavier the smaller;
    smooth: correlation along a bone; body, trunk: shift of the whole body and of everything from the hips up, times the
    level; thigh_m: of the trunk along flexed thighs (seated people); alike: how much more of all these there is when
    both views look the same way and hence err together (see `_alikeness`); gross_share: joints that are off by
    gross_factor; equal_rows_share: samples whose views name the same row.
    pelvis_share, pelvis_m: samples whose pelvis is far off by itself; flat_share: samples in which shoulders and hips
    lie too close together in depth, by up to half.
    definition_m: constant offset of the detector's joint definitions in the person's own frame.
    missing_share: samples with joints missing at random, up to missing_joints; coco_share: without the joints that
    COCO-like detectors lack; no_legs_share: with legs out of view; swap_share: with a limb's sides exchanged in one
    view; certain_share: without confidences.
    """

    across_m: tuple[float, float] = (0.003, 0.011)
    depth_ratio: tuple[float, float] = (0.6, 2.2)
    view: tuple[float, float] = (0.1, 0.9)
    spread: tuple[float, float] = (0.15, 0.5)
    freedom: tuple[float, float] = (2.5, 30.0)
    smooth: tuple[float, float] = (0.0, 0.5)
    body: tuple[float, float] = (0.0, 0.6)
    trunk: tuple[float, float] = (0.0, 0.6)
    alike: float = 1.5
    gross_share: float = 0.008
    gross_factor: tuple[float, float] = (3.0, 10.0)
    equal_rows_share: float = 0.5
    thigh_m: float = 0.035
    pelvis_share: float = 0.12
    pelvis_m: tuple[float, float] = (0.03, 0.12)
    flat_share: float = 0.3
    definition_m: float = 0.010
    missing_share: float = 0.2
    missing_joints: int = 5
    coco_share: float = 0.15
    no_legs_share: float = 0.03
    swap_share: float = 0.01
    certain_share: float = 0.5


@dataclass(frozen=True, slots=True)
class LengthVariation:
    """How the learnt bone lengths err: unknown_share of the samples have none; error_m: standard deviation, drawn."""

    unknown_share: float = 0.3
    error_m: tuple[float, float] = (0.0015, 0.012)


class Samples(NamedTuple):
    """A batch.

    truth_m: (B, J, 3) rectified left frame; left, right: (B, J, 2) normalised image coordinates, 0 where missing;
    clean_left, clean_right: the projection of the truth; confidence: (B, J), 0 where missing; baseline_m: (B,);
    lengths_m: (B, G), 0 where unknown.
    """

    truth_m: Tensor
    left: Tensor
    right: Tensor
    clean_left: Tensor
    clean_right: Tensor
    confidence: Tensor
    baseline_m: Tensor
    lengths_m: Tensor


class Simulation:
    """Draws rigs and detections for poses; all of the randomness comes from the generator handed in."""

    def __init__(self, rigs: RigVariation, noise: NoiseVariation, lengths: LengthVariation) -> None:
        self.rigs, self.noise, self.lengths = rigs, noise, lengths
        names = [joint.removeprefix("Right").removeprefix("Left") for joint in BODY17.joints]
        self._part = torch.tensor([_PARTS[name] for name in names])
        self._difficulty = torch.tensor([_DIFFICULTY.get(name, 1.0) for name in names])
        segments = segments_of(BODY17)
        self._incidence = torch.tensor(incidence(BODY17), dtype=torch.float32)
        pooled = np.eye(segments.groups)[segments.group]
        self._pooled = torch.tensor(pooled / pooled.sum(axis=0), dtype=torch.float32)  # (S, G)
        self._above_knees = torch.tensor([float(not any(p in name for p in ("Knee", "Ankle"))) for name in names])
        self._mirror = torch.from_numpy(BODY17.mirror)

    def observe(self, poses_m: Tensor, generator: torch.Generator) -> Samples:
        """poses_m: (B, J, 3) in camera directions, anywhere -> what the two views see of them."""
        draw = _Draw(len(poses_m), generator)
        truth_m, baseline_m = self._in_front_of_rig(poses_m, draw)
        clean_left, clean_right = project(truth_m, baseline_m)
        person = _person_frame(truth_m)
        defined_m = truth_m + self._definition(draw) @ person
        level = self._level(draw)
        alike = _alikeness(baseline_m / truth_m[:, _PELVIS, 2])
        displaced_m = defined_m + self._displacement(draw, truth_m, person, level, alike)
        left, right = project(displaced_m, baseline_m)
        distance_m = truth_m[:, _PELVIS, 2, None, None]
        left_m, right_m = self._of_each_view(draw, level, baseline_m / distance_m[:, 0, 0])
        left, right = self._exchanged(left + left_m / distance_m, right + right_m / distance_m, draw)
        confidence = self._confidence(draw, level.difficulty, left, right)
        left, right, confidence = self._missing(draw, left, right, confidence, baseline_m)
        lengths_m = self._learnt_lengths(draw, defined_m, level)
        return Samples(truth_m, left, right, clean_left, clean_right, confidence, baseline_m, lengths_m)

    def _in_front_of_rig(self, poses_m: Tensor, draw: _Draw) -> tuple[Tensor, Tensor]:
        distance_m = draw.log_between(self.rigs.distance_m)
        baseline_m = draw.log_between(self.rigs.baseline_m)
        low, high = self.rigs.parallax
        baseline_m = (baseline_m / distance_m).clamp(
            low * (1 + draw.uniform()), high * (1 - draw.uniform() / 2)
        ) * distance_m
        x_m = baseline_m / 2 + self.rigs.slope[0] * distance_m * draw.normal()
        y_m = self.rigs.slope[1] * distance_m * draw.normal()
        place_m = torch.stack([x_m, y_m, distance_m], dim=-1)
        # Nobody's joint comes closer to the camera than this.
        nearest_m = poses_m[..., 2].amin(dim=1)
        place_m[:, 2] = torch.maximum(place_m[:, 2], 0.4 - nearest_m)
        return poses_m + place_m[:, None], baseline_m

    def _definition(self, draw: _Draw) -> Tensor:
        """Offsets of the joints in the person's frame (left, up, forward), mostly mirrored, (B, J, 3)."""
        own, shared = draw.normal(17, 3), draw.normal(17, 3)
        side = torch.tensor(BODY17.side, dtype=torch.float32)
        # The middle of the body has no left and right, and a left joint's outward is the other way from a right one's.
        lateral = torch.where(side == 0, torch.ones_like(side), side)
        mirrored = shared[:, torch.minimum(self._mirror, torch.arange(17))]
        mirrored = mirrored * torch.stack([lateral, torch.ones(17), torch.ones(17)], dim=-1)
        return self.noise.definition_m * 2 * draw.uniform(1, 1) * (0.9 * mirrored + 0.45 * own)

    def _level(self, draw: _Draw) -> _Level:
        noise = self.noise
        spread = draw.between(noise.spread)[:, None]
        difficulty = self._difficulty * torch.exp(spread * (draw.normal(17) + draw.normal(5)[:, self._part]))
        tail = _student_scale(draw, draw.log_between(noise.freedom)[:, None])
        gross = draw.uniform(17) < noise.gross_share * 2 * draw.uniform(1)
        tail = torch.where(gross, torch.maximum(tail, draw.log_between(noise.gross_factor, 17)), tail)
        depth_ratio = draw.log_between(noise.depth_ratio)[:, None]
        return _Level(draw.log_between(noise.across_m)[:, None], depth_ratio, (difficulty * tail).clamp(max=HARDEST))

    def _displacement(self, draw: _Draw, truth_m: Tensor, person: Tensor, level: _Level, alike: Tensor) -> Tensor:
        """Where the detector sees the joints in space, relative to where they are, (B, J, 3)."""
        noise = self.noise
        sight = torch.nn.functional.normalize(truth_m[:, _PELVIS], dim=-1)
        forward = person[:, 2] * torch.sign((person[:, 2] * sight).sum(dim=-1, keepdim=True))
        turned = draw.uniform(1) * (draw.uniform(1) < 0.5)
        axis = torch.nn.functional.normalize(sight + turned * forward, dim=-1)

        def anywhere(amount: Tensor, *joints: int) -> Tensor:
            along = level.depth_ratio[..., None] * draw.normal(*joints, 1) * axis[:, None]
            return (level.across_m * amount)[..., None] * (draw.normal(*joints, 3) + along)

        def share(limits: tuple[float, float]) -> Tensor:
            return draw.between(limits)[:, None] + noise.alike * alike * draw.uniform(1)

        smooth = (draw.between(noise.smooth)[:, None] + 0.5 * alike * draw.uniform(1)).clamp(max=0.95)
        own = [self._along_bones(draw.normal(17), smooth) for _ in range(4)]
        own_m = torch.stack(own[:3], dim=-1) + level.depth_ratio[..., None] * own[3][..., None] * axis[:, None]
        moved_m = (level.across_m * level.difficulty)[..., None] * own_m
        moved_m = moved_m + anywhere(share(noise.body), 1)
        trunk_m = anywhere(share(noise.trunk), 1)[:, 0] + (0.3 + alike) * self._along_thighs(draw, truth_m)
        moved_m = moved_m + self._above_knees[:, None] * trunk_m[:, None]
        off = (draw.uniform(1) < noise.pelvis_share) * draw.between(noise.pelvis_m)[:, None]
        direction = torch.nn.functional.normalize(draw.normal(3) + 1.5 * person[:, 2] - 0.5 * person[:, 1], dim=-1)
        moved_m[:, _PELVIS] += off * direction
        return moved_m + self._flattened(draw, truth_m, sight)

    def _along_thighs(self, draw: _Draw, truth_m: Tensor) -> Tensor:
        """How far the trunk of a seated or squatting person seems to be shifted along the thighs, (B, 3)."""
        thigh = torch.nn.functional.normalize((truth_m[:, _KNEES] - truth_m[:, _HIPS]).mean(dim=1), dim=-1)
        trunk = torch.nn.functional.normalize(truth_m[:, _SHOULDERS].mean(dim=1) - truth_m[:, _PELVIS], dim=-1)
        straight = -(thigh * trunk).sum(dim=-1, keepdim=True)
        bent = (1 - straight.clamp(min=0)).clamp(0, 1)
        return self.noise.thigh_m * bent * draw.normal(1) * thigh

    def _flattened(self, draw: _Draw, truth_m: Tensor, sight: Tensor) -> Tensor:
        """In some samples the far shoulder and hip seem too near and the near ones too far, (B, J, 3)."""
        moved_m = torch.zeros_like(truth_m)
        amount = 0.5 * draw.uniform(1) * (draw.uniform(1) < self.noise.flat_share)
        for pair in (_SHOULDERS, _HIPS):
            middle_m = truth_m[:, pair].mean(dim=1, keepdim=True)
            depth_m = ((truth_m[:, pair] - middle_m) * sight[:, None]).sum(dim=-1, keepdim=True)
            moved_m[:, pair] = -amount[..., None] * depth_m * sight[:, None]
        return moved_m

    def _of_each_view(self, draw: _Draw, level: _Level, parallax: Tensor) -> tuple[Tensor, Tensor]:
        """What each view adds by itself, metres at the person, (B, J, 2) each."""
        amount_m = level.across_m * draw.between(self.noise.view)[:, None] * (2 * parallax[:, None]).clamp(max=1)
        amount_m = amount_m * level.difficulty
        # A joint hidden from one camera is gross in that view alone.
        views = [draw.normal(17, 2) * draw.between((0.4, 1.6), 17, 1) * amount_m[..., None] for _ in range(2)]
        equal = (draw.uniform(1) < self.noise.equal_rows_share)[..., None]
        rows = (views[0][..., 1:] + views[1][..., 1:]) / 2
        left, right = (torch.cat([v[..., :1], torch.where(equal, rows, v[..., 1:])], dim=-1) for v in views)
        return left, right

    def _along_bones(self, own: Tensor, smooth: Tensor) -> Tensor:
        """Unit normal noise that is correlated by `smooth` along each bone. own: (B, J) independent."""
        result = own.clone()
        for child, parent in BODY17.bones_from_root:
            result[:, child] = smooth[:, 0] * result[:, parent] + torch.sqrt(1 - smooth[:, 0] ** 2) * own[:, child]
        return result

    def _exchanged(self, left: Tensor, right: Tensor, draw: _Draw) -> tuple[Tensor, Tensor]:
        """In a few samples, one view names the sides of arms or legs the wrong way round."""
        struck = draw.uniform(1) < self.noise.swap_share
        legs = draw.uniform(1) < 0.5
        of_legs = torch.tensor([any(part in joint for part in ("Hip", "Knee", "Ankle")) for joint in BODY17.joints])
        chosen = (struck & (legs == of_legs))[..., None]
        in_left = draw.uniform(1, 1) < 0.5
        return (
            torch.where(chosen & in_left, left[:, self._mirror], left),
            torch.where(chosen & ~in_left, right[:, self._mirror], right),
        )

    def _confidence(self, draw: _Draw, difficulty: Tensor, left: Tensor, right: Tensor) -> Tensor:
        """As a detector would rate the joint, times the trust that its row difference earns (`models.epipolar`)."""
        felt = difficulty / self._difficulty * torch.exp(0.6 * draw.normal(17))
        informed = torch.exp(-0.3 * (felt - 0.8).clamp(min=0)).clamp(0.05, 1)
        certain = draw.uniform(1) < self.noise.certain_share
        rows = (left[..., 1] - right[..., 1]).abs()
        usual = 1.4826 * rows.median(dim=1, keepdim=True).values
        height = (left[..., 1].amax(dim=1) - left[..., 1].amin(dim=1))[:, None]
        limit = torch.maximum(3 * usual, FLOOR_OF_HEIGHT * height).clamp(min=1e-3)
        return torch.where(certain, torch.ones_like(informed), informed) / (1 + (rows / limit) ** 2)

    def _missing(
        self, draw: _Draw, left: Tensor, right: Tensor, confidence: Tensor, baseline_m: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        share = self.noise.missing_joints / 17 * draw.uniform(1)
        missing = (draw.uniform(17) < share) & (draw.uniform(1) < self.noise.missing_share)
        coco = draw.uniform(1) < self.noise.coco_share
        missing[:, _UNSEEN_BY_COCO] |= coco
        missing[:, _LEGS] |= draw.uniform(1) < self.noise.no_legs_share
        # Such detectors have the pelvis from the hips, and are as sure of it as of these.
        for view in (left, right):
            view[:, _PELVIS] = torch.where(coco, view[:, _HIPS].mean(dim=1), view[:, _PELVIS])
        confidence[:, _PELVIS] = torch.where(coco[:, 0], confidence[:, _HIPS].amin(dim=1), confidence[:, _PELVIS])
        missing[:, _PELVIS] |= coco[:, 0] & missing[:, _HIPS].any(dim=1)
        missing |= _out_of_reach(left, right, baseline_m)
        seen = (~missing).to(left.dtype)
        return left * seen[..., None], right * seen[..., None], confidence * seen

    def _learnt_lengths(self, draw: _Draw, defined_m: Tensor, level: _Level) -> Tensor:
        """Running medians of segment lengths: too long by the noise across the segment, and uncertain."""
        vectors_m = self._incidence @ defined_m  # (B, S, 3)
        lengths_m = vectors_m.norm(dim=-1)
        along_depth = (vectors_m[..., 2] / lengths_m.clamp(min=1e-3)) ** 2
        excess_m2 = 2 * level.across_m**2 * (2 + level.depth_ratio**2 * (1 - along_depth))
        lengths_m = torch.sqrt(lengths_m**2 + draw.uniform(1) * excess_m2) @ self._pooled  # (B, G)
        groups = lengths_m.shape[1]
        lengths_m = lengths_m + draw.log_between(self.lengths.error_m)[:, None] * draw.normal(groups)
        known = (draw.uniform(1) >= self.lengths.unknown_share) & (draw.uniform(groups) >= 0.03)
        return lengths_m.clamp(min=0.02) * known


class _Level(NamedTuple):
    """across_m: (B, 1) level per axis; depth_ratio: (B, 1); difficulty: (B, J) factor of each joint in this sample."""

    across_m: Tensor
    depth_ratio: Tensor
    difficulty: Tensor


class _Draw:
    """Random numbers for a batch."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self._count, self._generator = count, generator

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(self._count, *shape, generator=self._generator)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self._count, *shape, generator=self._generator)

    def between(self, limits: tuple[float, float], *shape: int) -> Tensor:
        return limits[0] + (limits[1] - limits[0]) * self.uniform(*shape)

    def log_between(self, limits: tuple[float, float], *shape: int) -> Tensor:
        return torch.exp(self.between((math.log(limits[0]), math.log(limits[1])), *shape))


def _alikeness(parallax: Tensor) -> Tensor:
    """(B, 1), 1 when both views look the same way, falling to 0 when they see the person from different sides."""
    return torch.exp(-parallax / 0.25)[:, None]


def _person_frame(points_m: Tensor) -> Tensor:
    """Rows left, up and forward of the person, (B, 3, 3)."""
    up = torch.nn.functional.normalize(points_m[:, _SHOULDERS].mean(dim=1) - points_m[:, _HIPS].mean(dim=1), dim=-1)
    across = points_m[:, _SHOULDERS[1]] - points_m[:, _SHOULDERS[0]] + points_m[:, _HIPS[1]] - points_m[:, _HIPS[0]]
    # With y down and z away from the camera, left x up points where the person faces.
    forward = torch.nn.functional.normalize(torch.linalg.cross(across, up, dim=-1), dim=-1)
    return torch.stack([torch.linalg.cross(up, forward, dim=-1), up, forward], dim=1)


def _out_of_reach(left: Tensor, right: Tensor, baseline_m: Tensor) -> Tensor:
    """(B, J): joints that the program throws away, as they meet behind the cameras or far from the rest of the body."""
    points_m = triangulate(left, right, baseline_m)
    middle_m = points_m.median(dim=1, keepdim=True).values
    return (left[..., 0] <= right[..., 0]) | ((points_m - middle_m).norm(dim=-1) > MAX_REACH_M)


def _student_scale(draw: _Draw, freedom: Tensor) -> Tensor:
    """sqrt(freedom / chi^2), (B, J); chi^2 as a cube of a normal (Wilson, Hilferty 1931), which needs no sampler."""
    spread = 2 / (9 * freedom)
    ratio = (1 - spread + torch.sqrt(spread) * draw.normal(17)) ** 3
    return 1 / torch.sqrt(ratio.clamp(min=0.02))
