"""A small motion file of a made-up person, with the fields of the real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from binopose.models.skeleton import BODY17

from ..models.test_skeleton_fit import person_m

CLIPS, FRAMES = 20, 12


def motion_fields(clips: int = CLIPS, frames: int = FRAMES) -> dict[str, Any]:
    """Arrays by name. World frame, z up, relative to the pelvis; the second definition differs by some centimetres."""
    points_m = np.concatenate([person_m(frames * 10, seed)[::10] for seed in range(clips)])
    points_m = points_m - points_m[:, BODY17.index("Pelvis"), None]
    world_m = np.stack([points_m[..., 0], points_m[..., 2], -points_m[..., 1]], axis=-1)
    offsets_m = np.random.default_rng(0).normal(0, 0.03, (len(BODY17), 3))
    offsets_m[BODY17.index("Pelvis")] = 0
    about = [{"id": f"clip{number}", "group": f"group{number % 3}", "frames": frames} for number in range(clips)]
    return {
        "pose_tenth_mm": np.round(world_m * 1e4).astype(np.int16),
        "pose_mhad_tenth_mm": np.round((world_m + offsets_m) * 1e4).astype(np.int16),
        "root_m": np.zeros((clips * frames, 3), np.float32),
        "clip_id": np.repeat(np.arange(clips, dtype=np.int32), frames),
        "clips": np.array(json.dumps(about)),
    }


def write_motion(path: Path, **changes: Any) -> Path:
    """Write a motion file. changes: fields that are different; None leaves a field out."""
    fields = motion_fields() | changes
    np.savez(path, **{name: value for name, value in fields.items() if value is not None})
    return path
