"""Poses to train on: real motion, with the bodies, joint definitions and tilts that it lacks."""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...calibration.errors import UserError
from ...models.skeleton import BODY17

# One clip in this many is kept from training, to validate on motion that was never seen.
VALIDATION_EVERY = 10
TENTH_MM = 1e-4
_FIELDS = {"pose_tenth_mm": 3, "pose_mhad_tenth_mm": 3, "clip_id": 1, "clips": 0}

_INDEX = BODY17.index
_ARMS = [[_INDEX(side + joint) for joint in ("Shoulder", "Elbow", "Wrist")] for side in ("Right", "Left")]


@dataclass(frozen=True, slots=True)
class BodyVariation:
    """How bodies and joint definitions vary around those of the motion data; standard deviations.

    scale, bone: relative size of the whole and of each bone (mirrored bones alike); shoulder_m: each shoulder with its
    arm, in `shoulder_share` of the samples (the girdle of real people moves far more than that of the data);
    definition_m: where a joint is said to lie, each joint, per axis; tilt_rad: of the camera against the vertical;
    lying_share: samples turned any way up; bent_share: samples with an arm turned at the shoulder and elbow at random.
    """

    scale: float = 0.08
    bone: float = 0.06
    shoulder_m: float = 0.025
    shoulder_share: float = 0.7
    definition_m: float = 0.010
    tilt_rad: float = 0.20
    lying_share: float = 0.05
    bent_share: float = 0.15


class MotionData:
    """The motion file in memory; every frame with H36M-like and with MHAD-like joints, relative to the pelvis."""

    def __init__(self, path: Path) -> None:
        fields = _read(path)
        poses = np.stack([fields["pose_tenth_mm"], fields["pose_mhad_tenth_mm"]])
        # World z up to camera-like y down: (x, y, z) -> (x, -z, y).
        metres = poses.astype(np.float32)[..., [0, 2, 1]] * np.array([1, -1, 1], np.float32) * np.float32(TENTH_MM)
        self._poses = torch.from_numpy(np.ascontiguousarray(metres))  # (2, N, J, 3)
        clips, clip = fields["clips"], fields["clip_id"]
        self.starts = np.searchsorted(clip, np.arange(len(clips)))
        self.lengths = np.bincount(clip, minlength=len(clips))
        groups = np.unique([entry["group"] for entry in clips], return_inverse=True)[1]
        # Half way between drawing clips by their length and groups alike: dance must not drown the rest.
        share = self.lengths / np.bincount(groups, weights=self.lengths)[groups]
        self._weights = 0.5 * share / share.sum() + 0.5 * self.lengths / self.lengths.sum()
        self.validation = np.arange(len(clips)) % VALIDATION_EVERY == VALIDATION_EVERY - 1

    def draw(self, count: int, validation: bool, generator: torch.Generator) -> Tensor:
        """Poses of training or validation clips in both joint definitions, (2, count, J, 3)."""
        weights = torch.from_numpy(np.where(self.validation == validation, self._weights, 0.0))
        clips = torch.multinomial(weights, count, replacement=True, generator=generator)
        share = torch.rand(count, generator=generator, dtype=torch.float64)
        frames = torch.from_numpy(self.starts)[clips] + (share * torch.from_numpy(self.lengths)[clips]).long()
        return self._poses[:, frames]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = np.load(path, allow_pickle=False)
        if not isinstance(content, np.lib.npyio.NpzFile):
            raise ValueError("a single array")
        with content:
            missing = [name for name in _FIELDS if name not in content.files]
            if missing:
                raise UserError(
                    f"{path}: {missing[0]}: expected a field of that name, found {', '.join(content.files)}"
                )
            fields: dict[str, Any] = {name: content[name] for name in _FIELDS}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected the motion data .npz") from None
    except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: cannot be read as motion data: {error}") from None
    frames = len(fields["clip_id"]) if fields["clip_id"].ndim else 0
    for name in ("pose_tenth_mm", "pose_mhad_tenth_mm"):
        if fields[name].shape != (frames, len(BODY17), 3):
            raise UserError(f"{path}: {name}: expected shape ({frames}, {len(BODY17)}, 3), found {fields[name].shape}")
        if not np.isfinite(fields[name]).all():
            raise UserError(f"{path}: {name}: expected finite numbers, found NaN or infinity")
    fields["clips"] = _clips(path, str(fields["clips"]), fields["clip_id"])
    return fields


def _clips(path: Path, text: str, clip: np.ndarray) -> list[dict[str, Any]]:
    """The list of clips, which the clip numbers of the frames (N,) have to fit."""
    try:
        clips = json.loads(text)
    except ValueError as error:
        raise UserError(f"{path}: clips: expected JSON, found {text[:40]!r} ({error})") from None
    if not isinstance(clips, list) or not all(isinstance(entry, dict) and "group" in entry for entry in clips):
        raise UserError(f'{path}: clips: expected a list of clips with a "group" each, found {text[:40]!r}')
    if len(clips) < VALIDATION_EVERY:
        raise UserError(
            f"{path}: clips: expected at least {VALIDATION_EVERY}, found {len(clips)}: "
            f"one in {VALIDATION_EVERY} is kept to validate on"
        )
    if clip.dtype.kind not in "iu" or not np.array_equal(np.unique(clip), np.arange(len(clips))):
        raise UserError(f"{path}: clip_id: expected frames of each of the {len(clips)} clips, numbered from 0")
    if (np.diff(clip) < 0).any():
        raise UserError(f"{path}: clip_id: expected the frames clip after clip, found them mixed")
    return clips


def vary_bodies(poses: Tensor, variation: BodyVariation, generator: torch.Generator) -> Tensor:
    """Random bodies, joint definitions, sides and directions. poses: (2, B, J, 3) as drawn -> (B, J, 3)."""
    count = poses.shape[1]

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    # Two fifths each definition as it is, the rest anything between.
    mix = (2.5 * uniform(count, 1, 1) - 0.75).clamp(0, 1)
    points_m = poses[0] + mix * (poses[1] - poses[0])
    points_m = _rescaled(points_m, variation, normal)
    points_m = _bent_arms(points_m, variation, uniform, normal)
    moved_m = variation.shoulder_m * normal(count, 2, 1, 3) * (uniform(count, 1, 1, 1) < variation.shoulder_share)
    points_m = points_m.clone()
    for side, arm in enumerate(_ARMS):
        points_m[:, arm] += moved_m[:, side]
    points_m += variation.definition_m * normal(*points_m.shape) * uniform(count, 1, 1)
    mirrored = points_m[:, torch.from_numpy(BODY17.mirror)] * torch.tensor([-1.0, 1.0, 1.0])
    points_m = torch.where(uniform(count, 1, 1) < 0.5, mirrored, points_m)
    return points_m @ _directions(count, variation, uniform, normal).transpose(1, 2)


def _rescaled(points_m: Tensor, variation: BodyVariation, normal: Any) -> Tensor:
    """Bodies of other sizes: each bone by its own factor, mirrored bones by the same."""
    count = len(points_m)
    scale = torch.exp(variation.scale * normal(count, 1))
    alike = np.minimum(BODY17.mirror, np.arange(len(BODY17)))
    factors = scale * torch.exp(variation.bone * normal(count, len(BODY17)))[:, torch.from_numpy(alike)]
    rescaled = points_m.clone()
    for child, parent in BODY17.bones_from_root:
        bone_m = points_m[:, child] - points_m[:, parent]
        rescaled[:, child] = rescaled[:, parent] + factors[:, child, None] * bone_m
    return rescaled


def _bent_arms(points_m: Tensor, variation: BodyVariation, uniform: Any, normal: Any) -> Tensor:
    """Some arms turned at shoulder and elbow: the data has few phone calls and folded arms."""
    points_m = points_m.clone()
    for shoulder, elbow, wrist in _ARMS:
        chosen = uniform(len(points_m), 1) < variation.bent_share
        upper, lower = points_m[:, elbow] - points_m[:, shoulder], points_m[:, wrist] - points_m[:, elbow]
        turned_upper = _toward(upper, normal(len(points_m), 3), 0.6)
        turned_lower = _toward(lower, normal(len(points_m), 3), 0.9)
        elbow_m = points_m[:, shoulder] + turned_upper
        points_m[:, wrist] = torch.where(chosen, elbow_m + turned_lower, points_m[:, wrist])
        points_m[:, elbow] = torch.where(chosen, elbow_m, points_m[:, elbow])
    return points_m


def _toward(vector: Tensor, noise: Tensor, amount: float) -> Tensor:
    length = vector.norm(dim=-1, keepdim=True)
    other = vector + amount * length * noise
    return other * (length / other.norm(dim=-1, keepdim=True).clamp(min=1e-6))


def _directions(count: int, variation: BodyVariation, uniform: Any, normal: Any) -> Tensor:
    """Rotations camera from person: any heading, a tilted camera, some people lying. (B, 3, 3)."""
    heading = 2 * math.pi * uniform(count)
    lying = uniform(count) < variation.lying_share
    pitch = torch.where(lying, 2 * math.pi * uniform(count), variation.tilt_rad * normal(count) - 0.05)
    roll = torch.where(lying, 2 * math.pi * uniform(count), 0.05 * normal(count))
    return _about(2, roll) @ _about(0, pitch) @ _about(1, heading)


def _about(axis: int, angle: Tensor) -> Tensor:
    """Rotations about a coordinate axis, (B,) -> (B, 3, 3)."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    rotation = torch.eye(3).repeat(len(angle), 1, 1)
    rotation[:, first, first] = rotation[:, second, second] = angle.cos()
    rotation[:, second, first] = angle.sin()
    rotation[:, first, second] = -angle.sin()
    return rotation
