"""The ways in which a detector can exchange left and right: which limbs, from where on, in which view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .pose import Pose2D
from .skeleton import Skeleton

VIEWS = ("left", "right")
# From the trunk to the end.
LIMBS: Mapping[str, tuple[str, str, str]] = {
    "arms": ("Shoulder", "Elbow", "Wrist"),
    "legs": ("Hip", "Knee", "Ankle"),
}
# Joints of larger joint sets that go with one of the above.
COMPANIONS: Mapping[str, tuple[str, ...]] = {
    "Wrist": ("Pinky", "Index", "Thumb"),
    "Ankle": ("Heel", "Toe", "BigToe", "SmallToe"),
}
WHOLE_LIMB = 3


@dataclass(frozen=True, slots=True)
class SideExchange:
    """What of one frame has left and right exchanged.

    joints: [view][limb] how many joints of that pair of limbs are exchanged, counted from the end: 0 none, 1 the
    wrists or ankles, 2 elbows or knees as well, 3 the whole limb. Views and limbs in the order of VIEWS and LIMBS.
    """

    joints: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))

    def __bool__(self) -> bool:
        return self != NO_EXCHANGE

    def of(self, view: int, limb: str) -> int:
        """How many joints of `limb` are exchanged in one view, 0 to 3."""
        return self.joints[view][list(LIMBS).index(limb)]

    def corrected(self, view: int, pose: Pose2D) -> Pose2D:
        """The detection of one view, with any skeleton, with the exchange undone."""
        if not any(self.joints[view]):
            return pose
        order = _order(pose.skeleton, self.joints[view])
        return Pose2D(pose.points_px[order], pose.confidence[order], pose.skeleton)


NO_EXCHANGE = SideExchange()


@lru_cache(maxsize=256)
def _order(skeleton: Skeleton, joints: tuple[int, ...]) -> np.ndarray:
    """Permutation of the joints of a skeleton that undoes an exchange in one view, (J,)."""
    if all(count == WHOLE_LIMB for count in joints):
        return skeleton.mirror  # the face too
    exchanged: set[str] = set()
    for limb, count in zip(LIMBS.values(), joints, strict=True):
        for joint in limb[len(limb) - count :]:
            exchanged.update((joint, *COMPANIONS.get(joint, ())))
    positions = np.arange(len(skeleton))
    bare = [joint.removeprefix("Left").removeprefix("Right") for joint in skeleton.joints]
    return np.where([name in exchanged for name in bare], skeleton.mirror, positions)
