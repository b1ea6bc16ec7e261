"""What looks wrong in a run, in sentences, the gravest first."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...models.skeleton import BODY17
from .measures import BONE_NAMES, BONES, Step

# After refinement a bone of a well seen person varies by one to five per cent.
UNSTEADY_BONE = 0.08
# Left and right of a person differ by a few per cent at most.
LOPSIDED = 0.10
# No joint of somebody on foot is faster; a throwing hand gets there.
IMPOSSIBLE_M_S = 15.0
# Half the jitter of an untreated detector at 30 frames/s, several times what people do.
TREMBLING_M_S3 = 1500.0
# Lengths of the bones of grown-ups and of children from about four years on.
POSSIBLE_M = {"thigh": (0.22, 0.58), "shin": (0.20, 0.56), "upper arm": (0.15, 0.42), "forearm": (0.12, 0.37)}


def findings(steps: list[Step], time_s: np.ndarray, summary: dict[str, Any]) -> list[str]:
    """Sentences (plain text) about what the user should look at; empty when nothing looks wrong."""
    found = [str(warning) for warning in summary.get("warnings", ())]
    if not len(time_s) or not np.isfinite(steps[-1].points_m).any():
        return found or ["there is no pose in this run"]
    last = steps[-1]
    found += _impossible_bones(last) + _unsteady_bones(last) + _lopsided_bones(last)
    found += _jumps(last, time_s)
    if last.jitter_m_s3 > TREMBLING_M_S3:
        advice = "" if last.name == "smoothed" else "; smoothing (--smooth) would take that away"
        found.append(
            f"the poses still tremble: jitter {last.jitter_m_s3:,.0f} m/s\N{SUPERSCRIPT THREE}, people stay below a "
            f"few hundred{advice}"
        )
    return found


def _unsteady_bones(step: Step) -> list[str]:
    variation = step.bone_variation
    found = np.flatnonzero(variation > UNSTEADY_BONE)
    if not len(found):
        return []
    named = _listed([f"{BONE_NAMES[bone]} {variation[bone]:.0%}" for bone in found[np.argsort(-variation[found])]])
    return [
        f"bones that change their length by more than {UNSTEADY_BONE:.0%} (standard deviation): {named}; the joints at "
        "their ends are not where they seem to be, for instance hidden in one view"
    ]


def _lopsided_bones(step: Step) -> list[str]:
    right_m, left_m = step.bone_mean_m.reshape(len(BONES), 2).T
    found = []
    for bone, right, left in zip(BONES, right_m, left_m, strict=True):
        if abs(left / right - 1) > LOPSIDED:
            shorter, by = ("left", 1 - left / right) if left < right else ("right", 1 - right / left)
            found.append(
                f"the {shorter} {bone} comes out {by:.0%} shorter than the other one: one of them is badly seen, or "
                "sides are mixed up"
            )
    return found


def _impossible_bones(step: Step) -> list[str]:
    lengths_m = step.bone_mean_m.reshape(len(BONES), 2)
    found = []
    for bone, pair_m in zip(BONES, lengths_m, strict=True):
        low_m, high_m = POSSIBLE_M[bone]
        for side, length_m in zip(("right", "left"), pair_m, strict=True):
            if length_m < low_m or length_m > high_m:
                found.append(
                    f"a {side} {bone} of {length_m * 100:.0f} cm, expected {low_m * 100:.0f} to {high_m * 100:.0f} cm: "
                    "the calibration's unit of length or the distance is wrong, or this limb is not seen"
                )
    return found


def _jumps(step: Step, time_s: np.ndarray) -> list[str]:
    with np.errstate(invalid="ignore"):
        jumps = np.argwhere(step.speed_m_s > IMPOSSIBLE_M_S)
    if not len(jumps):
        return []
    joints = _listed([BODY17.joints[joint] for joint in dict.fromkeys(jumps[:, 1].tolist())])
    first_s = time_s[jumps[0, 0]]
    return [
        f"{len(jumps)} times a joint jumps faster than {IMPOSSIBLE_M_S:g} m/s ({joints}; first at {first_s:.2f} s): "
        "these frames are wrong"
    ]


def _listed(names: list[str], most: int = 4) -> str:
    shown = ", ".join(names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
