"""The message that UDP, WebSocket and the browser view carry; docs/streaming.md describes every key."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import numpy as np

from ...models.pose import Pose3D
from ...models.skeleton import BODY17
from ..capture import CameraStatus
from ..live.update import LiveUpdate

MESSAGE_TYPE = "binopose.pose"
# Counts up when a key changes its meaning or goes away; new keys alone do not count.
MESSAGE_VERSION = 1

# A tenth of a millimetre is far below what two cameras can see; sigma is known far less well.
PLACE_DIGITS = 4
SIGMA_DIGITS = 3


def pose_message(update: LiveUpdate, *, full: bool) -> dict[str, Any]:
    """One update as plain values that JSON can hold; NaN has become None.

    full: with the raw points and the figures of the run; without them a message fits into one Ethernet packet.
    """
    message: dict[str, Any] = {
        "type": MESSAGE_TYPE,
        "version": MESSAGE_VERSION,
        "number": update.number,
        "timestamp_s": round(update.timestamp_s, 6),
        "unix_time_s": unix_time_s(update),
        "frame_of_reference": update.frame_of_reference,
        "up": "z" if update.z_up else "-y",
        "tracking": update.tracking.value,
        "health": {"light": update.health.light, "reason": update.health.reason},
        **_pose(update.pose),
    }
    if full:
        message["raw_points_m"] = _rows(update.raw.points_m if update.raw is not None else None, PLACE_DIGITS)
        message["figures"] = _figures(update)
    return message


def encode(message: dict[str, Any]) -> str:
    """As JSON without spaces. Raises ValueError for a NaN that is left, which JSON cannot hold."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False)


def unix_time_s(update: LiveUpdate) -> float | None:
    """When the pictures of an update were taken, in seconds since 1970; None in a replay, whose clock was another."""
    if update.capture is None:
        return None
    return round(time.time() - time.monotonic() + update.timestamp_s, 6)


def _pose(pose: Pose3D | None) -> dict[str, Any]:
    """Always a row for every joint, so that readers need not ask first."""
    skeleton = pose.skeleton if pose is not None else BODY17
    confidence = pose.confidence if pose is not None else np.zeros(len(skeleton))
    return {
        "joint_names": list(skeleton.joints),
        "points_m": _rows(pose.points_m if pose is not None else None, PLACE_DIGITS),
        "confidence": np.round(confidence, 2).tolist(),
        "sigma_m": _rows(pose.sigma_m if pose is not None else None, SIGMA_DIGITS),
    }


def _rows(values: np.ndarray | None, digits: int) -> list[list[float] | None]:
    """(J, 3) as rows; None for a row that is not wholly known."""
    if values is None:
        return [None] * len(BODY17)
    rows = np.round(values, digits).tolist()
    return [row if all(map(math.isfinite, row)) else None for row in rows]


def _figures(update: LiveUpdate) -> dict[str, Any]:
    capture = update.capture
    figures = {
        "rate_hz": _number(update.rate_hz, 1),
        "latency_ms": _milliseconds(update.latency_s),
        "stage_ms": {stage: _number(duration_ms, 2) for stage, duration_ms in update.stage_ms.items()},
        "time_offset_ms": None if update.time_offset_s is None else _milliseconds(update.time_offset_s),
        "refined": update.refined,
        "filtered": update.filtered,
        "recording": update.recording,
        "paused": update.paused,
        "cameras": [],
    }
    if capture is not None:
        figures |= {
            "skew_ms": _milliseconds(capture.skew_mean_s),
            "skew_sd_ms": _milliseconds(capture.skew_sd_s),
            "pairs": capture.pairs,
            "pairs_unseen": capture.pairs_unseen,
            "unpaired": list(capture.unpaired),
            "cameras": [_camera(status) for status in (capture.left, capture.right) if status is not None],
        }
    return figures


def _camera(status: CameraStatus) -> dict[str, Any]:
    return {
        "name": status.name,
        "state": status.state.value,
        "reason": status.reason,
        "rate_hz": _number(status.rate_hz, 1),
        "jitter_ms": _milliseconds(status.jitter_s),
        "frames_received": status.frames_received,
        "frames_unseen": status.frames_unseen,
        "frames_damaged": status.decode_failures,
        "losses": status.losses,
    }


def _milliseconds(seconds: float) -> float | None:
    return _number(seconds * 1e3, 2)


def _number(value: float, digits: int) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None
