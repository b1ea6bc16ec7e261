"""Poses over OSC: a message for every joint, and bones for avatars as the VMC protocol names them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...models.pose import Pose3D
from ..live.update import LiveUpdate
from .addresses import Address
from .datagrams import DatagramSender
from .message import unix_time_s
from .newest import NewestWorker
from .osc_encoding import osc_bundles, osc_message
from .vmc import Stage, avatar_bones

UNKNOWN_SIGMA = -1.0
# /VMC/Ext/OK: an avatar is loaded, calibrated, in the normal mode.
LOADED, CALIBRATED, NORMAL_MODE = 1, 3, 0


class OscStream:
    """Sends every update as OSC bundles. Follows `Listener`. Raises UserError when the host cannot be found."""

    wants_picture = False

    def __init__(self, address: Address) -> None:
        self._sender = DatagramSender(address)
        self._stage = Stage()
        self._started_s: float | None = None
        self._worker = NewestWorker("osc stream", self._send)

    def update(self, update: LiveUpdate) -> None:
        """Send the pose of an update, unless a newer one comes first."""
        if update.picture is None:
            self._worker.put(update)

    def _send(self, update: LiveUpdate) -> None:
        if self._started_s is None:
            self._started_s = update.timestamp_s
        messages = [*state_messages(update)]
        if update.pose is not None:
            messages += joint_messages(update.pose)
        messages += vmc_messages(update, self._stage, update.timestamp_s - self._started_s)
        for datagram in osc_bundles(messages):
            self._sender.send(datagram)

    def close(self) -> None:
        """End the thread and close the socket."""
        self._worker.close()
        self._sender.close()


def state_messages(update: LiveUpdate) -> Iterator[bytes]:
    """What holds for all joints of an update."""
    yield osc_message("/binopose/frame", "ss", [update.frame_of_reference, "z" if update.z_up else "-y"])
    yield osc_message(
        "/binopose/state",
        "iddsss",
        [
            update.number,
            update.timestamp_s,
            unix_time_s(update) or 0.0,
            update.tracking.value,
            update.health.light,
            update.health.reason,
        ],
    )


def joint_messages(pose: Pose3D) -> Iterator[bytes]:
    """Place, confidence and uncertainty of every joint that has a place; unknown uncertainty is -1."""
    for name, point_m, confidence, sigma_m in zip(
        pose.skeleton.joints, pose.points_m, pose.confidence, pose.sigma_m, strict=True
    ):
        if np.isfinite(point_m).all():
            values = [*point_m, confidence, *np.where(np.isfinite(sigma_m), sigma_m, UNKNOWN_SIGMA)]
            yield osc_message(f"/binopose/joint/{name}", "fffffff", values)


def vmc_messages(update: LiveUpdate, stage: Stage, elapsed_s: float) -> Iterator[bytes]:
    """State, clock, root and bones in the words of the VMC protocol (2.7); no bones without a pose."""
    pose = update.pose
    bones = []
    if pose is not None:
        bones = avatar_bones(stage.place(pose.points_m, update.z_up, pose.timestamp_s))
    yield osc_message("/VMC/Ext/OK", "iiii", [LOADED, CALIBRATED, NORMAL_MODE, int(bool(bones))])
    yield osc_message("/VMC/Ext/T", "f", [elapsed_s])
    if bones:
        yield osc_message("/VMC/Ext/Root/Pos", "sfffffff", ["root", 0, 0, 0, 0, 0, 0, 1])
    for bone in bones:
        yield osc_message("/VMC/Ext/Bone/Pos", "sfffffff", [bone.name, *bone.position_m, *bone.rotation_xyzw])
