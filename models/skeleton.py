"""Joint sets, their names and bones, and how a detector's joints become the program's own seventeen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Skeleton:
    """An ordered set of named joints.

    joints: names, "Right..."/"Left..." for the sides of the person; bones: (child, parent) names; root: a joint name.
    rigid_bones: (joint, joint) names of segments whose length does not change with the pose, left and right alike.
    """

    name: str
    joints: tuple[str, ...]
    bones: tuple[tuple[str, str], ...]
    root: str | None = None
    rigid_bones: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.joints)

    def index(self, joint: str) -> int:
        """Position of a joint; raises ValueError naming the joints there are."""
        if joint not in self.joints:
            raise ValueError(f'skeleton {self.name} has no joint "{joint}", only {", ".join(self.joints)}')
        return self.joints.index(joint)

    @cached_property
    def bone_indices(self) -> np.ndarray:
        """(bones, 2) positions, child then parent."""
        return np.array([[self.index(child), self.index(parent)] for child, parent in self.bones])

    @cached_property
    def bones_from_root(self) -> tuple[tuple[int, int], ...]:
        """The bones as positions (child, parent), every parent before its children; needs a root."""
        if self.root is None:
            raise ValueError(f"skeleton {self.name} has no root")
        placed, order, bones = {self.index(self.root)}, [], self.bone_indices.tolist()
        while len(order) < len(bones):
            ready = [(child, parent) for child, parent in bones if parent in placed and child not in placed]
            if not ready:
                raise ValueError(f"skeleton {self.name}: its bones do not form a tree from {self.root}")
            order += ready
            placed.update(child for child, _ in ready)
        return tuple(order)

    @cached_property
    def rigid_bone_indices(self) -> np.ndarray:
        """(rigid bones, 2) positions."""
        return np.array([[self.index(a), self.index(b)] for a, b in self.rigid_bones])

    @cached_property
    def rigid_bone_groups(self) -> np.ndarray:
        """For each rigid bone the number of its length: mirrored bones share one. (rigid bones,)."""
        keys = [
            frozenset(joint.replace("Left", "").replace("Right", "") for joint in bone) for bone in self.rigid_bones
        ]
        order = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        return np.array([order[key] for key in keys])

    @cached_property
    def mirror(self) -> np.ndarray:
        """Permutation that exchanges left and right joints, (J,)."""

        def other(joint: str) -> str:
            if joint.startswith("Left"):
                return "Right" + joint.removeprefix("Left")
            if joint.startswith("Right"):
                return "Left" + joint.removeprefix("Right")
            return joint

        return np.array([self.index(other(joint)) for joint in self.joints])

    @cached_property
    def side(self) -> np.ndarray:
        """-1 for joints of the person's right, +1 for the left, 0 for the middle, (J,)."""
        return np.array([j.startswith("Left") * 1 - j.startswith("Right") * 1 for j in self.joints])


def _both(joint_pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((f"{side}{a}", f"{side}{b}") for side in ("Right", "Left") for a, b in joint_pairs)


BODY17 = Skeleton(
    name="body17",
    joints=(
        "RightAnkle", "RightKnee", "RightHip", "LeftHip", "LeftKnee", "LeftAnkle", "Pelvis", "Thorax", "Neck",
        "HeadTop", "RightWrist", "RightElbow", "RightShoulder", "LeftShoulder", "LeftElbow", "LeftWrist", "Nose",
    ),
    bones=(
        ("RightHip", "Pelvis"), ("LeftHip", "Pelvis"), ("RightKnee", "RightHip"), ("LeftKnee", "LeftHip"),
        ("RightAnkle", "RightKnee"), ("LeftAnkle", "LeftKnee"), ("Thorax", "Pelvis"), ("Neck", "Thorax"),
        ("Nose", "Neck"), ("HeadTop", "Nose"), ("RightShoulder", "Thorax"), ("LeftShoulder", "Thorax"),
        ("RightElbow", "RightShoulder"), ("LeftElbow", "LeftShoulder"), ("RightWrist", "RightElbow"),
        ("LeftWrist", "LeftElbow"),
    ),
    root="Pelvis",
    # Thorax (or neck) to shoulder is no segment: the girdle moves by centimetres with the arm.
    rigid_bones=(
        ("RightHip", "Pelvis"), ("LeftHip", "Pelvis"), ("RightKnee", "RightHip"), ("LeftKnee", "LeftHip"),
        ("RightAnkle", "RightKnee"), ("LeftAnkle", "LeftKnee"), ("Thorax", "Pelvis"), ("Neck", "Thorax"),
        ("Nose", "Neck"), ("HeadTop", "Nose"), ("RightElbow", "RightShoulder"), ("LeftElbow", "LeftShoulder"),
        ("RightWrist", "RightElbow"), ("LeftWrist", "LeftElbow"),
    ),
)  # fmt: skip

COCO17 = Skeleton(
    name="coco17",
    joints=(
        "Nose", "LeftEye", "RightEye", "LeftEar", "RightEar", "LeftShoulder", "RightShoulder", "LeftElbow",
        "RightElbow", "LeftWrist", "RightWrist", "LeftHip", "RightHip", "LeftKnee", "RightKnee", "LeftAnkle",
        "RightAnkle",
    ),
    bones=(
        *_both((("Elbow", "Shoulder"), ("Wrist", "Elbow"), ("Hip", "Shoulder"), ("Knee", "Hip"), ("Ankle", "Knee"))),
        ("RightShoulder", "LeftShoulder"), ("RightHip", "LeftHip"), ("RightEar", "RightEye"), ("LeftEar", "LeftEye"),
        ("RightEye", "Nose"), ("LeftEye", "Nose"),
    ),
)  # fmt: skip

HALPE26 = Skeleton(
    name="halpe26",
    joints=(
        *COCO17.joints, "HeadTop", "Neck", "Pelvis", "LeftBigToe", "RightBigToe", "LeftSmallToe", "RightSmallToe",
        "LeftHeel", "RightHeel",
    ),
    bones=(
        *_both((("Elbow", "Shoulder"), ("Wrist", "Elbow"), ("Knee", "Hip"), ("Ankle", "Knee"), ("Heel", "Ankle"),
                ("BigToe", "Ankle"), ("SmallToe", "Ankle"))),
        ("RightShoulder", "Neck"), ("LeftShoulder", "Neck"), ("Neck", "Pelvis"), ("HeadTop", "Neck"),
        ("RightHip", "Pelvis"), ("LeftHip", "Pelvis"),
    ),
    root="Pelvis",
)  # fmt: skip

# Human3.6M in the order of its own 17-joint set. Its spine, thorax and neck base are body17's thorax, neck and nose.
H36M17 = Skeleton(
    name="h36m17",
    joints=(
        "Pelvis", "RightHip", "RightKnee", "RightAnkle", "LeftHip", "LeftKnee", "LeftAnkle", "Thorax", "Neck", "Nose",
        "HeadTop", "LeftShoulder", "LeftElbow", "LeftWrist", "RightShoulder", "RightElbow", "RightWrist",
    ),
    bones=BODY17.bones,
    root="Pelvis",
)  # fmt: skip

BLAZEPOSE33 = Skeleton(
    name="blazepose33",
    joints=(
        "Nose", "LeftEyeInner", "LeftEye", "LeftEyeOuter", "RightEyeInner", "RightEye", "RightEyeOuter", "LeftEar",
        "RightEar", "LeftMouth", "RightMouth", "LeftShoulder", "RightShoulder", "LeftElbow", "RightElbow", "LeftWrist",
        "RightWrist", "LeftPinky", "RightPinky", "LeftIndex", "RightIndex", "LeftThumb", "RightThumb", "LeftHip",
        "RightHip", "LeftKnee", "RightKnee", "LeftAnkle", "RightAnkle", "LeftHeel", "RightHeel", "LeftToe", "RightToe",
    ),
    bones=(
        *_both((("Elbow", "Shoulder"), ("Wrist", "Elbow"), ("Hip", "Shoulder"), ("Knee", "Hip"), ("Ankle", "Knee"),
                ("Heel", "Ankle"), ("Toe", "Heel"), ("Index", "Wrist"), ("Pinky", "Wrist"), ("Thumb", "Wrist"))),
        ("RightShoulder", "LeftShoulder"), ("RightHip", "LeftHip"),
    ),
)  # fmt: skip

# Joints of body17 that a detector's set does not have under the same name but whose place follows from others: the
# mean of the named joints. Thorax, neck and head top follow from nothing a COCO or BlazePose detector gives.
DERIVED_JOINTS = {"Pelvis": ("LeftHip", "RightHip")}
