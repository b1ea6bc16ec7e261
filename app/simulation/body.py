"""The simulated person's visible shape: tapered capsules on a figure, each with what it is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...models.skeleton import BODY17
from .motion import Figure

# Linear reflectances, red green blue. The person's left is a little lighter than the right.
MATERIALS = {
    "skin": (0.56, 0.335, 0.235),
    "hair": (0.055, 0.036, 0.026),
    "shirt": (0.52, 0.155, 0.075),
    "right sleeve": (0.47, 0.125, 0.06),
    "left sleeve": (0.58, 0.20, 0.095),
    "trousers": (0.082, 0.105, 0.175),
    "right trouser leg": (0.072, 0.09, 0.15),
    "left trouser leg": (0.105, 0.135, 0.22),
    "shoe": (0.62, 0.60, 0.56),
}
COLOURS = np.array(list(MATERIALS.values()), dtype=np.float32)
_NUMBER = {name: number for number, name in enumerate(MATERIALS)}
# Radii below are those of a person of this height.
REFERENCE_HEIGHT_M = 1.75


@dataclass(frozen=True, slots=True)
class Capsules:
    """N round-ended cones: ends (N, 2, 3) m, radii (N, 2) m, material (N,) rows of COLOURS."""

    ends_m: np.ndarray
    radii_m: np.ndarray
    material: np.ndarray


def capsules_of(figure: Figure, height_m: float) -> Capsules:
    """The body around a single figure (not a sequence), in the figure's frame."""
    scale = height_m / REFERENCE_HEIGHT_M
    parts = [*_trunk(figure, scale), *_head(figure, scale)]
    for number, side in enumerate(("Right", "Left")):
        parts += _limbs(figure, number, side, scale)
    return Capsules(
        np.array([(start, end) for _, start, end, _, _ in parts]),
        np.array([(first, last) for _, _, _, first, last in parts]) * scale,
        np.array([_NUMBER[material] for material, *_ in parts]),
    )


_Part = tuple[str, np.ndarray, np.ndarray, float, float]  # material, start, end, radius at start and end


def _joint(figure: Figure, joint: str) -> np.ndarray:
    return figure.joints_m[BODY17.index(joint)]


def _between(start: np.ndarray, end: np.ndarray, share: float) -> np.ndarray:
    return start + share * (end - start)


def _trunk(figure: Figure, scale: float) -> list[_Part]:
    pelvis, thorax, neck = (_joint(figure, name) for name in ("Pelvis", "Thorax", "Neck"))
    hips = [_joint(figure, f"{side}Hip") for side in ("Right", "Left")]
    shoulders = [_joint(figure, f"{side}Shoulder") for side in ("Right", "Left")]
    hip_across = (hips[1] - hips[0]) / np.linalg.norm(hips[1] - hips[0]) * scale
    chest_across = (shoulders[1] - shoulders[0]) / np.linalg.norm(shoulders[1] - shoulders[0]) * scale
    spine = (thorax - pelvis) / np.linalg.norm(thorax - pelvis) * scale
    seat, band, hem = pelvis - 0.005 * spine, pelvis + 0.06 * spine, pelvis + 0.115 * spine
    parts: list[_Part] = [
        ("trousers", seat - 0.068 * hip_across, seat + 0.068 * hip_across, 0.098, 0.098),
        ("trousers", band - 0.064 * hip_across, band + 0.064 * hip_across, 0.094, 0.094),
        ("shirt", hem - 0.06 * hip_across, hem + 0.06 * hip_across, 0.097, 0.097),
        ("shirt", _between(shoulders[0], shoulders[1], 0.04), _between(shoulders[0], shoulders[1], 0.96), 0.052, 0.052),
        ("skin", neck - 0.03 * scale * figure.head_up, neck + 0.095 * scale * figure.head_up, 0.056, 0.05),
    ]
    # The trunk is flat: columns side by side, close enough to pass for one surface.
    chest = _between(thorax, neck, 0.55)
    for outward, breadth, at_chest, at_middle, at_waist in (
        (1.0, 0.082, 0.078, 0.076, 0.08),
        (0.33, 0.09, 0.1, 0.095, 0.09),
    ):
        for side in (-1.0, 1.0):
            top = chest + side * outward * breadth * chest_across
            middle = thorax - 0.05 * spine + side * outward * 0.066 * chest_across
            low = hem + side * outward * 0.06 * hip_across
            parts.append(("shirt", top, middle, at_chest, at_middle))
            parts.append(("shirt", middle, low, at_middle, at_waist))
    for side, shoulder in zip((-1.0, 1.0), shoulders, strict=True):
        # From the neck down to the shoulder, and over the armpit.
        root = neck - 0.03 * spine + side * 0.035 * chest_across
        parts.append(("shirt", root, shoulder - side * 0.012 * chest_across, 0.052, 0.053))
        parts.append(("shirt", shoulder - side * 0.03 * chest_across, chest + side * 0.05 * chest_across, 0.055, 0.085))
    return parts


def _head(figure: Figure, scale: float) -> list[_Part]:
    neck, top = _joint(figure, "Neck"), _joint(figure, "HeadTop")
    up, forward = figure.head_up, figure.head_forward
    left = np.cross(up, forward)
    skull = top - 0.1 * scale * up + 0.012 * scale * forward
    chin = neck + scale * (0.062 * up + 0.042 * forward)
    crown = skull + scale * (0.014 * up - 0.016 * forward)
    nose = skull + scale * (-0.035 * up + 0.082 * forward)
    parts: list[_Part] = [
        ("skin", skull, chin, 0.088, 0.05),
        ("hair", crown, crown, 0.09, 0.09),
        (
            "hair",
            crown - scale * (0.01 * up + 0.01 * forward),
            crown - scale * (0.07 * up + 0.022 * forward),
            0.086,
            0.06,
        ),
        ("skin", nose, nose + scale * (-0.012 * up + 0.008 * forward), 0.011, 0.015),
    ]
    for side in (-1.0, 1.0):
        ear = skull + scale * (-0.03 * up + side * 0.083 * left - 0.01 * forward)
        parts.append(("skin", ear, ear - 0.02 * scale * up, 0.017, 0.013))
        eye = skull + scale * (-0.018 * up + side * 0.032 * left + 0.078 * forward)
        parts.append(("hair", eye, eye, 0.0085, 0.0085))
    return parts


def _limbs(figure: Figure, number: int, side: str, scale: float) -> list[_Part]:
    hip, knee, ankle, shoulder, elbow, wrist = (
        _joint(figure, f"{side}{name}") for name in ("Hip", "Knee", "Ankle", "Shoulder", "Elbow", "Wrist")
    )
    leg, sleeve = f"{side.lower()} trouser leg", f"{side.lower()} sleeve"
    toe, heel = figure.toes_m[number], figure.heels_m[number]
    hand = _between(wrist, figure.fingers_m[number], 0.42)
    return [
        (leg, hip, knee, 0.079, 0.06),
        (leg, knee, _between(knee, ankle, 0.32), 0.06, 0.06),
        (leg, _between(knee, ankle, 0.32), _between(knee, ankle, 0.94), 0.06, 0.047),
        ("skin", _between(knee, ankle, 0.9), ankle, 0.036, 0.036),
        ("shoe", heel, toe, 0.036, 0.031),
        ("shoe", _between(ankle, heel, 0.2), _between(heel, toe, 0.55), 0.038, 0.036),
        (sleeve, shoulder, _between(shoulder, elbow, 0.62), 0.058, 0.051),
        ("skin", _between(shoulder, elbow, 0.5), elbow, 0.043, 0.037),
        ("skin", elbow, wrist, 0.038, 0.027),
        ("skin", wrist, hand, 0.03, 0.034),
        ("skin", hand, figure.fingers_m[number], 0.032, 0.016),
    ]
