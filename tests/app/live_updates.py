"""Updates of a live loop that does not run, for whoever listens to one."""

from __future__ import annotations

import time

import numpy as np
from binopose.app.capture import CameraState, CameraStatus, StereoStatus
from binopose.app.live.update import Health, LiveUpdate, Tracking
from binopose.models.pose import Pose3D
from binopose.models.skeleton import BODY17

LEFT_CAMERA = "left camera as calibrated: x right, y down, z forward, metres"


def standing_person(arms_out: bool = True) -> Pose3D:
    """Somebody 3 m in front of the left camera who looks into it: the person's left is at the camera's right."""
    side_m = {"Shoulder": (0.18, -0.45), "Elbow": (0.46, -0.45), "Wrist": (0.71, -0.45), "Hip": (0.10, 0.0)}
    if not arms_out:
        side_m |= {"Elbow": (0.18, -0.17), "Wrist": (0.18, 0.08)}
    side_m |= {"Knee": (0.10, 0.42), "Ankle": (0.10, 0.84)}
    points_m = np.empty((len(BODY17), 3))
    middle_m = {"Pelvis": (0, 0), "Thorax": (0, -0.25), "Neck": (0, -0.52), "Nose": (0.1, -0.60), "HeadTop": (0, -0.75)}
    for joint, (ahead, y) in middle_m.items():
        points_m[BODY17.index(joint)] = 0, y, -ahead
    for joint, (x, y) in side_m.items():
        points_m[BODY17.index(f"Left{joint}")] = x, y, 0
        points_m[BODY17.index(f"Right{joint}")] = -x, y, 0
    points_m += (0.1, 0.3, 3.0)
    return Pose3D(points_m, np.full(17, 0.9), np.full((17, 3), 0.012), BODY17, time.monotonic())


def camera_status(name: str = "0", state: CameraState = CameraState.RUNNING, reason: str = "") -> CameraStatus:
    """A camera that has run for a while."""
    return CameraStatus(name, state, reason, 900, 4, 1, 0, 0, 29.97, 0.0012, (1280, 720), ())


def make_update(
    number: int = 0,
    pose: Pose3D | None = None,
    *,
    tracking: Tracking | None = None,
    health: Health = Health("green", ""),  # noqa: B008 - frozen
    picture: np.ndarray | None = None,
    z_up: bool = False,
    left: CameraStatus | None = None,
    raw: Pose3D | None = None,
) -> LiveUpdate:
    """An update of a loop that is doing well; unless told otherwise it tracks exactly if there is a pose."""
    now_s = time.monotonic()
    return LiveUpdate(
        number=number,
        result=None,
        pose=pose,
        frame_of_reference=LEFT_CAMERA,
        z_up=z_up,
        timestamp_s=now_s,
        latency_s=0.083 if pose is not None else float("nan"),
        stage_ms={"rectify": 2.1, "detect": 24.83, "triangulate": 0.7, "refine": 0.6},
        rate_hz=26.4,
        capture=StereoStatus(left or camera_status("0"), camera_status("1"), 880, 6, 0.0021, 0.0007, 29.9, (1, 2)),
        tracking=tracking or (Tracking.TRACKING if pose is not None else Tracking.LOST),
        health=health,
        time_offset_s=0.0123,
        raw=raw,
        picture=picture,
    )
