"""The frame in which poses leave the program: the left camera's, or the room's."""

from __future__ import annotations

import numpy as np

from ..calibration.errors import UserError
from ..calibration.rectify import Rectifier
from ..calibration.rig import StereoRig
from ..models.pose import Pose3D
from ..models.skeleton import BODY17
from .outputs.record import Mark, PoseRecord
from .pipeline import FrameResult


def check_world(rig: StereoRig, world: bool) -> None:
    """Raise UserError when poses are wanted in the room and the rig does not know it."""
    if world and rig.world_from_left is None:
        raise UserError(
            "--world: the rig file has no world_from_left; leave the option out to get poses in the left camera's frame"
        )


class ReferenceFrame:
    """Brings poses from the rectified left frame to the one of the results.

    words: for the reader of a file; z_up: the frame is a room whose z points up, else a camera's (x right, y down, z
    forward).
    """

    def __init__(self, rig: StereoRig, rectifier: Rectifier, world: bool = False) -> None:
        """Raises UserError when `world` is asked for and the rig has no world frame."""
        check_world(rig, world)
        self.z_up = world
        self._rotation = self.left_from_rectified = rectifier.rig.left_from_rectified
        self._translation_m: np.ndarray | float = 0.0
        self.words = "left camera as calibrated: x right, y down, z forward, metres"
        if world and rig.world_from_left is not None:
            self._rotation = rig.world_from_left.rotation @ self._rotation
            self._translation_m = rig.world_from_left.translation_m
            self.words = "world frame of the rig file, metres"

    def moved(self, pose: Pose3D) -> Pose3D:
        """A pose of the rectified left frame in the frame of the results."""
        return pose.moved(self._rotation, self._translation_m)

    def record(self, result: FrameResult) -> PoseRecord:
        """What is written down of a frame."""
        index, timestamp_s = result.pair.index, result.pair.timestamp_s
        if result.person is None:
            return PoseRecord.without_pose(index, timestamp_s, len(BODY17))
        raw, pose = self.moved(result.person.raw), self.moved(result.person.pose)
        return PoseRecord(
            index, timestamp_s, pose.points_m, raw.points_m, pose.confidence, pose.sigma_m, marks=_marks(result)
        )


def _marks(result: FrameResult) -> int:
    outliers = result.person is not None and result.person.outliers.any()
    return (
        Mark.SIDES_PUT_RIGHT * bool(result.exchange)
        | Mark.OUTLIERS * bool(outliers)
        | Mark.REACQUIRED * result.reacquired
    )
