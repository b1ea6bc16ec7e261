"""What the live loop tells whoever listens: window, recorder, streams, web view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

import numpy as np

from ...models.pose import Pose3D
from ..capture import StereoStatus
from ..pipeline import FrameResult

Light = Literal["green", "amber", "red"]


class Tracking(Enum):
    """What is known of the person; the value is what users read."""

    TRACKING = "tracking"
    ONE_VIEW = "person in one view only"
    NO_POSE = "no 3D pose"
    LOST = "no person"
    NO_PICTURES = "no pictures"  # a camera is lost or stalls, or nothing has come yet


@dataclass(frozen=True, slots=True)
class Health:
    """Whether to believe the poses. reason: one clause for the user, "" for green."""

    light: Light
    reason: str


@dataclass(frozen=True, slots=True)
class LiveUpdate:
    """One step of the loop.

    Made once for every processed pair with `picture` None, as soon as the pose is known; again, with the same `number`
    and `picture` set, for the pairs that are drawn (a slow screen skips some). While no pairs come an update without
    pose follows twice a second, so that listeners see the state: its `number` is that of the pair before.

    number: of the processed pair, from 0 without gaps (-1 before the first one); result: all of the pair, in the
    rectified left frame, None before the first pair; pose: what is to be shown, filtered when `filtered`, in metres in
    `frame_of_reference`, or None; z_up: that frame is a room whose z points up, else a camera's (x right, y down, z
    forward); timestamp_s: when the pair was taken, on the clock of time.monotonic() (a replay keeps the recorded
    times); latency_s: from then until this update was made, NaN when that says nothing (replay, no new pair); stage_ms:
    duration of each stage in milliseconds; rate_hz: processed pairs per second lately, NaN before two; capture:
    cameras, rates, skew and drops, None in a replay; time_offset_s: how much later the right camera's pictures are than
    their timestamps say, as estimated from the motion and compensated for, None while unknown; refined, filtered,
    recording, paused: what is switched on.
    raw: the pose before refinement and filter, in `frame_of_reference`; None without one or when it was not kept.
    picture: (H, W, 3) uint8 BGR as shown in the window, not to be written to.
    """

    number: int
    result: FrameResult | None
    pose: Pose3D | None
    frame_of_reference: str
    z_up: bool
    timestamp_s: float
    latency_s: float
    stage_ms: Mapping[str, float]
    rate_hz: float
    capture: StereoStatus | None
    tracking: Tracking
    health: Health
    time_offset_s: float | None
    refined: bool = True
    filtered: bool = True
    recording: bool = False
    paused: bool = False
    raw: Pose3D | None = None
    picture: np.ndarray | None = None


class Listener(Protocol):
    """Receives the updates of the loop. `update` must come back at once, whatever its network or disk does."""

    @property
    def wants_picture(self) -> bool:
        """Whether somebody looks at the pictures right now; when no listener has a use for them none need be drawn."""
        ...

    def update(self, update: LiveUpdate) -> None:
        """Take an update; called from the thread of the loop, and with `picture` set from that of the drawing."""
        ...

    def close(self) -> None:
        """Let go of everything. Called once, after the last update."""
        ...
