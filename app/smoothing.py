"""The pose files of a whole run, smoothed after its end."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..models.bone_lengths import rigid_lengths_m, with_lengths
from ..models.motion import body_changes, jitter_m_s3, lag_s
from ..models.skeleton import BODY17
from ..models.zero_phase import PASS_ORDER, Smoothed, smooth
from .outputs.files import SMOOTHED_FOLDER, errors_naming
from .outputs.record import Mark, PoseRecord, Recording
from .outputs.writers import WRITERS, OutputWriters

DEFAULT_CUTOFF_HZ = 6.0
LONGEST_GAP_S = 0.2
# How far limbs leave the straight way in a gap: a typical acceleration, 10 m/s^2, for half of t (T - t).
GAP_ACCELERATION_M_S2 = 10.0


@dataclass(frozen=True, slots=True)
class SmoothedRun:
    """What smoothing did. figures: for summary.json; warnings: what the user should know."""

    figures: dict[str, Any]
    warnings: list[str]


def smooth_files(folder: Path, recording: Recording, cutoff_hz: float, held_m: np.ndarray | None = None) -> SmoothedRun:
    """Smooth the poses in the finished pose files of a run.

    `points_m` of all files becomes the smoothed pose; poses.npz keeps the one before as `refined_points_m`. Places that
    come from the frames around, in gaps and instead of spikes, have confidence 0, and their frames Mark.FILLED. Nothing
    is smoothed or filled across frames with Mark.REACQUIRED, nor where the poses jump to another body. held_m: as for
    `smooth_poses`. Every file is whole at any moment: the new ones are written beside and then take the place of the
    old ones. Raises OutputError, leaving the files as they were, when there is no room.
    """
    with np.load(folder / "poses.npz", allow_pickle=False) as poses:
        columns = {field.name: poses[field.name] for field in fields(PoseRecord)}
    time_s, refined_m = columns["timestamp_s"], columns["refined_points_m"].astype(np.float64)
    changes = body_changes(refined_m, time_s) | ((columns["marks"] & Mark.REACQUIRED) > 0)
    smoothed = smooth_poses(refined_m, time_s, changes, cutoff_hz, held_m)
    columns["points_m"] = smoothed.points_m
    columns["confidence"] = np.where(smoothed.filled, 0.0, columns["confidence"])
    columns["marks"] = columns["marks"] | np.where(smoothed.filled.sum(axis=1) > 0, np.uint8(Mark.FILLED), np.uint8(0))
    columns["sigma_m"] = _with_filled_sigma(columns["sigma_m"].astype(np.float64), time_s, smoothed.filled)
    _rewrite(folder, recording, columns)
    warnings = []
    if smoothed.cutoff_hz is None:
        warnings.append(
            f"not smoothed: {smoothed.rate_hz:.3g} frames per second are too few for a cut-off of {cutoff_hz:g} Hz; "
            "choose a lower one (--smooth) or none (--smooth off)"
        )
    return SmoothedRun(_figures(columns, smoothed, int(changes.sum())), warnings)


def smooth_poses(
    refined_m: np.ndarray, time_s: np.ndarray, changes: np.ndarray, cutoff_hz: float, held_m: np.ndarray | None
) -> Smoothed:
    """Smooth a recording of one person at a time, body17, and give rigid bones their lengths back.

    Smoothing each joint by itself shortens bones where a joint goes to and fro, so they get the smoothed course of the
    lengths that refinement gave them. refined_m: (N, 17, 3), NaN where unknown; changes: (N,) where another person
    starts; held_m: (G,) lengths of the last person that are to stay the same, as of `LearntLengths`, NaN for the
    others; None when nothing is known about bones, which are then left alone.
    """
    smoothed = smooth(refined_m, time_s, cutoff_hz, LONGEST_GAP_S, changes)
    if held_m is None:
        return smoothed
    refined_lengths_m = rigid_lengths_m(refined_m, BODY17)[..., None]
    lengths_m = smooth(refined_lengths_m, time_s, cutoff_hz, LONGEST_GAP_S, changes).points_m[..., 0]
    last = int(np.flatnonzero(changes)[-1]) if changes.any() else 0
    bones_m = held_m[BODY17.rigid_bone_groups]
    lengths_m[last:] = np.where(np.isnan(bones_m), lengths_m[last:], bones_m)
    return replace(smoothed, points_m=with_lengths(smoothed.points_m, lengths_m, BODY17))


def _figures(columns: dict[str, np.ndarray], smoothed: Smoothed, changes: int) -> dict[str, Any]:
    time_s, observed = columns["timestamp_s"], np.isfinite(columns["refined_points_m"][..., 0])
    without_spikes_m = np.where(smoothed.spikes[..., None], np.nan, columns["refined_points_m"])
    stages = {"triangulated": "raw_points_m", "refined": "refined_points_m", "smoothed": "points_m"}
    return {
        "cutoff_hz": smoothed.cutoff_hz,
        "order": 2 * PASS_ORDER,
        "frame_rate_hz": round(smoothed.rate_hz, 3),
        "longest_gap_s": LONGEST_GAP_S,
        "filled_frames": int(((smoothed.filled.sum(axis=1) > 0) & (observed.sum(axis=1) == 0)).sum()),
        "filled_joints": int((smoothed.filled & ~smoothed.spikes).sum()),
        "spikes": int(smoothed.spikes.sum()),
        "person_changes": changes,
        "jitter_m_s3": {stage: round(jitter_m_s3(columns[name], time_s), 1) for stage, name in stages.items()},
        "lag_ms": round(lag_s(without_spikes_m, columns["points_m"], time_s) * 1e3, 2),
    }


def _with_filled_sigma(sigma_m: np.ndarray, time_s: np.ndarray, filled: np.ndarray) -> np.ndarray:
    """Uncertainty with that of closed gaps: that of both ends, and how far a limb may have gone in between."""
    sigma_m = sigma_m.copy()
    for joint in np.flatnonzero(filled.any(axis=0)):
        known = np.flatnonzero(np.isfinite(sigma_m[:, joint, 0]) & ~filled[:, joint])
        for frame in np.flatnonzero(filled[:, joint]):
            after = np.searchsorted(known, frame)
            if not 0 < after < len(known):
                continue  # whoever knows no sigma anywhere near gets none
            a, b = known[after - 1], known[after]
            away_m = GAP_ACCELERATION_M_S2 * (time_s[frame] - time_s[a]) * (time_s[b] - time_s[frame]) / 2
            sigma_m[frame, joint] = np.hypot(np.maximum(sigma_m[a, joint], sigma_m[b, joint]), away_m)
    return sigma_m


def _rewrite(folder: Path, recording: Recording, columns: dict[str, np.ndarray]) -> None:
    beside = folder / SMOOTHED_FOLDER
    shutil.rmtree(beside, ignore_errors=True)
    try:
        with errors_naming(beside, "the poses before smoothing are whole in the files"):
            beside.mkdir()
        with OutputWriters(beside, recording) as writers:
            for row in zip(*columns.values(), strict=True):
                writers.write(PoseRecord(**dict(zip(columns, row, strict=True))))
        with errors_naming(folder, "the pose files are whole, but maybe not all of them smoothed"):
            for name in WRITERS:
                (beside / name).replace(folder / name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
