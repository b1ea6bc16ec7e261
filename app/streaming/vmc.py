"""A person as the bones of an avatar: the VMC protocol's axes (Unity's), hierarchy and local transforms.

Unity's frame is left-handed: x right, y up, z forward; an avatar at rest stands in a T pose and looks along z, its
right hand along x. Joints tell where a bone points but not how it is turned about itself: that turn is taken to be
the smallest one from the bone it hangs on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from ...models.skeleton import BODY17

# A person who faces the camera is to face the viewer of the avatar; det -1, from right-handed to left-handed.
UNITY_FROM_CAMERA = -np.eye(3)
UNITY_FROM_WORLD = np.array([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]])

ANKLE_HEIGHT_M = 0.08
# The floor of a person whose legs are not in view.
PELVIS_HEIGHT_M = 0.95
FLOOR_SINKS_S = 0.3
FLOOR_RISES_S = 10.0
# Collar bones begin at this share of the way from the middle of the shoulders to the shoulder.
COLLAR_SHARE = 0.2
# Joints nearer to each other than this give no direction.
SHORTEST_M = 1e-3

# Bone -> the bone it hangs on, in an order in which parents come first; names of Unity's HumanBodyBones.
PARENTS: dict[str, str | None] = {
    "Hips": None,
    "Spine": "Hips",
    "Chest": "Spine",
    "UpperChest": "Chest",
    "Neck": "UpperChest",
    "Head": "Neck",
    "LeftShoulder": "UpperChest",
    "LeftUpperArm": "LeftShoulder",
    "LeftLowerArm": "LeftUpperArm",
    "LeftHand": "LeftLowerArm",
    "RightShoulder": "UpperChest",
    "RightUpperArm": "RightShoulder",
    "RightLowerArm": "RightUpperArm",
    "RightHand": "RightLowerArm",
    "LeftUpperLeg": "Hips",
    "LeftLowerLeg": "LeftUpperLeg",
    "LeftFoot": "LeftLowerLeg",
    "RightUpperLeg": "Hips",
    "RightLowerLeg": "RightUpperLeg",
    "RightFoot": "RightLowerLeg",
}
# Bones that begin at a joint and point to another one.
LIMBS = {
    f"{side}{bone}": (f"{side}{start}", f"{side}{end}")
    for side in ("Left", "Right")
    for bone, start, end in (
        ("UpperArm", "Shoulder", "Elbow"),
        ("LowerArm", "Elbow", "Wrist"),
        ("UpperLeg", "Hip", "Knee"),
        ("LowerLeg", "Knee", "Ankle"),
    )
}
# Bones without a joint beyond them; they keep the direction of the bone they hang on.
TIPS = {
    f"{side}{bone}": f"{side}{joint}"
    for side in ("Left", "Right")
    for bone, joint in (("Hand", "Wrist"), ("Foot", "Ankle"))
}


@dataclass(frozen=True, slots=True)
class BoneTransform:
    """A bone relative to the one it hangs on (the hips: to the root): position_m (3,), rotation (x, y, z, w)."""

    name: str
    position_m: np.ndarray
    rotation_xyzw: np.ndarray


@dataclass(frozen=True, slots=True)
class _Placed:
    """A bone in Unity's frame: where it begins, (3,), and how it is turned from its rest, (3, 3)."""

    position_m: np.ndarray
    rotation: np.ndarray


class Stage:
    """Puts the person on the avatar's stage: on its floor, and at its middle where it was first seen."""

    def __init__(self) -> None:
        self._origin_m: np.ndarray | None = None
        self._last_s = 0.0

    def place(self, points_m: np.ndarray, z_up: bool, timestamp_s: float) -> np.ndarray:
        """Joints on the stage, in Unity's frame.

        points_m: (17, 3) of BODY17, NaN where unknown; z_up: in a room whose z points up, else in a camera's frame
        (x right, y down, z forward). Returns (17, 3), all NaN before the pelvis was seen for the first time.
        """
        unity_m = points_m @ (UNITY_FROM_WORLD if z_up else UNITY_FROM_CAMERA).T
        pelvis_m = unity_m[BODY17.index("Pelvis")]
        if self._origin_m is None:
            if not np.isfinite(pelvis_m).all():
                return np.full_like(unity_m, np.nan)
            self._origin_m = np.array([pelvis_m[0], _floor_m(unity_m, pelvis_m[1] - PELVIS_HEIGHT_M), pelvis_m[2]])
        else:
            # A foot that is lifted does not lift the floor unless it lasts.
            floor_m = _floor_m(unity_m, self._origin_m[1])
            settles_s = FLOOR_SINKS_S if floor_m < self._origin_m[1] else FLOOR_RISES_S
            share = 1 - math.exp(-max(timestamp_s - self._last_s, 0.0) / settles_s)
            self._origin_m[1] += share * (floor_m - self._origin_m[1])
        self._last_s = timestamp_s
        return unity_m - self._origin_m


def _floor_m(unity_m: np.ndarray, otherwise_m: float) -> float:
    """Height of the floor under the lower ankle; `otherwise_m` when no ankle has a place."""
    heights_m = unity_m[[BODY17.index("LeftAnkle"), BODY17.index("RightAnkle")], 1]
    known_m = heights_m[np.isfinite(heights_m)]
    return float(known_m.min()) - ANKLE_HEIGHT_M if known_m.size else otherwise_m


def avatar_bones(points_m: np.ndarray) -> list[BoneTransform]:
    """Local transforms of all bones that follow from the joints, parents first.

    points_m: (17, 3) of BODY17 in Unity's frame; a bone that needs a joint without a place (NaN) is left out, and all
    that hang on it. Put together along the hierarchy they give the joints back.
    """
    placed = _trunk(points_m)
    for name, parent in PARENTS.items():
        if parent in placed and name not in placed:
            bone = _limb(points_m, name, placed[parent])
            if bone is not None:
                placed[name] = bone
    names = [name for name in PARENTS if name in placed]
    if not names:
        return []
    root = _Placed(np.zeros(3), np.eye(3))
    bases = [placed.get(PARENTS[name] or "", root) for name in names]
    rotations = np.stack([base.rotation.T @ placed[name].rotation for name, base in zip(names, bases, strict=True)])
    quaternions = Rotation.from_matrix(rotations).as_quat(canonical=True)
    return [
        BoneTransform(name, base.rotation.T @ (placed[name].position_m - base.position_m), quaternion)
        for name, base, quaternion in zip(names, bases, quaternions, strict=True)
    ]


def _trunk(points_m: np.ndarray) -> dict[str, _Placed]:
    """Hips to head, and the collar bones; empty when the joints do not tell how the trunk is turned."""

    def joint(name: str) -> np.ndarray:
        return points_m[BODY17.index(name)]

    shoulders_m = (joint("LeftShoulder") + joint("RightShoulder")) / 2
    pelvis_m, thorax_m = joint("Pelvis"), joint("Thorax")
    if not np.isfinite(thorax_m).all():
        thorax_m = (pelvis_m + shoulders_m) / 2
    hips = _frame(joint("RightHip") - joint("LeftHip"), thorax_m - pelvis_m, exact="right")
    chest = _frame(joint("RightShoulder") - joint("LeftShoulder"), shoulders_m - thorax_m, exact="up")
    if hips is None or chest is None:
        return {}
    placed = {
        "Hips": _Placed(pelvis_m, hips),
        "Spine": _Placed((pelvis_m + thorax_m) / 2, _halfway(hips, chest)),
        "Chest": _Placed(thorax_m, chest),
        # Not every avatar has this bone: it changes nothing, so that what hangs on it is right with it and without.
        "UpperChest": _Placed(thorax_m, chest),
    }
    for side in ("Left", "Right"):
        collar_m = shoulders_m + COLLAR_SHARE * (joint(f"{side}Shoulder") - shoulders_m)
        placed[f"{side}Shoulder"] = _Placed(collar_m, chest)
    up, forward = joint("HeadTop") - joint("Neck"), joint("Nose") - joint("Neck")
    head = _frame(np.cross(up, forward), up, exact="up")
    if head is not None:
        placed["Neck"] = _Placed(shoulders_m, _halfway(chest, head))
        placed["Head"] = _Placed(joint("Neck"), head)
    return placed


def _limb(points_m: np.ndarray, name: str, parent: _Placed) -> _Placed | None:
    """A bone of an arm or a leg, or what is at its end; None where a joint has no place."""
    if name in TIPS:
        start_m = points_m[BODY17.index(TIPS[name])]
        return _Placed(start_m, parent.rotation) if np.isfinite(start_m).all() else None
    if name not in LIMBS:
        return None
    start_m, end_m = (points_m[BODY17.index(joint)] for joint in LIMBS[name])
    length_m = float(np.linalg.norm(end_m - start_m))
    if not length_m > SHORTEST_M:  # NaN too
        return None
    at_rest = parent.rotation @ _rest_direction(name)
    return _Placed(start_m, _swing(at_rest, (end_m - start_m) / length_m) @ parent.rotation)


def _rest_direction(name: str) -> np.ndarray:
    """Where a limb points in the T pose: arms out, legs down."""
    if name.endswith("Leg"):
        return np.array([0.0, -1.0, 0.0])
    return np.array([-1.0 if name.startswith("Left") else 1.0, 0.0, 0.0])


def _frame(right: np.ndarray, up: np.ndarray, exact: str) -> np.ndarray | None:
    """Rotation whose columns are right, up and forward; one axis is kept exactly, the other made perpendicular.

    None where an axis is unknown (NaN) or both are the same.
    """
    first, second = (right, up) if exact == "right" else (up, right)
    first = first / max(float(np.linalg.norm(first)), SHORTEST_M)
    second = second - (second @ first) * first
    length_m = float(np.linalg.norm(second))
    if not length_m > SHORTEST_M:
        return None
    second = second / length_m
    x, y = (first, second) if exact == "right" else (second, first)
    return np.column_stack([x, y, np.cross(x, y)])


def _swing(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The smallest rotation between two unit vectors, (3, 3)."""
    cosine = float(start @ end)
    if cosine < -1 + 1e-9:  # Opposite: half a turn about any axis across.
        axis = np.cross(start, np.eye(3)[np.abs(start).argmin()])
        axis /= np.linalg.norm(axis)
        return 2 * np.outer(axis, axis) - np.eye(3)
    x, y, z = np.cross(start, end)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + cross + cross @ cross / (1 + cosine)


def _halfway(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The rotation in the middle between two."""
    turn = Rotation.from_matrix(first.T @ second).as_rotvec()
    return first @ Rotation.from_rotvec(turn / 2).as_matrix()
