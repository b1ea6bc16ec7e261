"""The loop that turns pairs into poses: a straight line in a thread of its own, with nothing in it that waits."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...models.filters import OneEuro
from ...models.pose import Pose3D
from ..capture import StereoStatus
from ..frames import FramePair
from ..pipeline import FrameResult, Pipeline, timed
from ..reference import ReferenceFrame
from .feed import Feed
from .figures import Figures
from .health import HealthWatch
from .sync import SoftSync
from .update import Health, Listener, LiveUpdate, Tracking

# Without pairs the state is told this often; and after so long the last pair no longer counts as now.
IDLE_S = 0.5
STALE_S = 1.0
PAUSED_S = 0.1
# How often the capture is asked for its figures.
STATUS_S = 0.1
WAIT_S = 0.05


@dataclass(slots=True)
class Switches:
    """What the user turns on and off while it runs; single values, set by one thread and read by the others."""

    refined: bool = True
    filtered: bool = True
    uncertainty: bool = False
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What the drawing gets. shown: the pose of the update in the rectified left frame, or None."""

    update: LiveUpdate
    shown: Pose3D | None


@dataclass(frozen=True, slots=True)
class Outlets:
    """Where results go; every call comes back at once.

    record: every result with what it took in milliseconds; draw: every step; complaints: of other parts, each reason
    enough for amber; recording: whether a recording runs.
    """

    record: Callable[[FrameResult, float], None]
    draw: Callable[[Step], None]
    complaints: Callable[[], tuple[str, ...]]
    recording: Callable[[], bool]


class PoseLoop:
    """Detects, triangulates, refines and filters the pairs of a feed until it is over or `stop` is called."""

    def __init__(
        self,
        feed: Feed,
        pipeline: Pipeline,
        sync: SoftSync,
        reference: ReferenceFrame,
        switches: Switches,
        listeners: Sequence[Listener],
        outlets: Outlets,
    ) -> None:
        self._feed, self._pipeline, self._sync, self._reference = feed, pipeline, sync, reference
        self._switches, self._listeners, self._outlets = switches, listeners, outlets
        self._filter = OneEuro()
        self._health = HealthWatch(pipeline.rectifier)
        self._stop, self._forget = threading.Event(), threading.Event()
        self.figures = Figures()
        self._number = -1
        self._last: LiveUpdate | None = None
        self._last_shown: Pose3D | None = None
        self._last_pair_s = self._told_s = -math.inf
        self._status: StereoStatus | None = None
        self._status_s = -math.inf

    @property
    def last(self) -> LiveUpdate | None:
        """The newest update, None before the first."""
        return self._last

    def stop(self) -> None:
        """End `run` soon."""
        self._stop.set()

    def reset_person(self) -> None:
        """Forget the person followed, before the next pair."""
        self._forget.set()

    def run(self) -> None:
        """Work until the end. Raises CaptureError for pictures that can never be used."""
        while not self._stop.is_set() and not self._feed.over:
            if self._forget.is_set():
                self._forget.clear()
                self._pipeline.reset()
                self._filter.reset()
            if self._switches.paused:
                self._stop.wait(WAIT_S)
                pair = None
            else:
                pair = self._feed.next(WAIT_S)
            if pair is None:
                self._tell_state()
            else:
                self._process(pair)

    def _process(self, pair: FramePair) -> None:
        began_s = time.monotonic()
        stage_ms: dict[str, float] = {}
        if self._feed.on_our_clock:
            stage_ms["wait"] = (began_s - pair.timestamp_s) * 1e3
        with timed(stage_ms, "rectify"):
            left, right = self._pipeline.rectifier.images(pair.left, pair.right)
        result = self._pipeline.process(replace(pair, left=left, right=right), stage_ms)
        self._health.observe(result)
        shown = self._last_shown = self._shown(result)
        now_s = time.monotonic()
        self._outlets.record(result, (now_s - began_s) * 1e3)
        self._number += 1
        self._last_pair_s = now_s
        latency_s = now_s - pair.timestamp_s if self._feed.on_our_clock else math.nan
        self.figures.add(latency_s)
        raw = self._reference.moved(result.person.raw) if result.person is not None else None
        self._tell(
            LiveUpdate(
                number=self._number,
                result=result,
                pose=self._reference.moved(shown) if shown is not None else None,
                frame_of_reference=self._reference.words,
                z_up=self._reference.z_up,
                timestamp_s=pair.timestamp_s,
                latency_s=latency_s,
                stage_ms=result.stage_ms,
                rate_hz=self.figures.recent()[0],
                capture=self._capture_status(now_s),
                tracking=_tracking(result),
                health=self._judge(now_s),
                time_offset_s=self._sync.offset_s,
                refined=self._switches.refined,
                filtered=self._switches.filtered,
                recording=self._outlets.recording(),
                raw=raw,
            ),
            shown,
        )

    def _shown(self, result: FrameResult) -> Pose3D | None:
        """The pose as the switches would have it, in the rectified left frame."""
        person = result.person
        if person is None:
            return None
        pose = person.pose if self._switches.refined else person.raw
        # The filter follows also while it is off, so that switching it on does not bring back an old place.
        filtered_m = self._filter.filter(pose.points_m, pose.timestamp_s, pose.sigma_m)
        return replace(pose, points_m=filtered_m) if self._switches.filtered else pose

    def _tell(self, update: LiveUpdate, shown: Pose3D | None) -> None:
        self._last, self._told_s = update, time.monotonic()
        for listener in self._listeners:
            listener.update(update)
        self._outlets.draw(Step(update, shown))

    def _tell_state(self) -> None:
        """While no pair comes: how things stand."""
        now_s = time.monotonic()
        last = self._last
        paused = self._switches.paused
        # While paused the view in space can still be turned.
        if now_s - self._told_s < (PAUSED_S if paused else IDLE_S):
            return
        stale = now_s - self._last_pair_s > STALE_S and not paused
        tracking = Tracking.NO_PICTURES if stale or last is None else last.tracking
        self._tell(
            LiveUpdate(
                number=self._number,
                result=None if last is None else last.result,
                pose=None,
                frame_of_reference=self._reference.words,
                z_up=self._reference.z_up,
                timestamp_s=now_s if last is None else last.timestamp_s,
                latency_s=math.nan,
                stage_ms={},
                rate_hz=self.figures.recent()[0],
                capture=self._capture_status(now_s),
                tracking=tracking,
                health=self._judge(now_s, stale),
                time_offset_s=self._sync.offset_s,
                refined=self._switches.refined,
                filtered=self._switches.filtered,
                recording=self._outlets.recording(),
                paused=paused,
            ),
            self._last_shown if paused else None,
        )

    def _capture_status(self, now_s: float) -> StereoStatus | None:
        if now_s - self._status_s > STATUS_S:
            self._status, self._status_s = self._feed.status(), now_s
        return self._status

    def _judge(self, now_s: float, stale: bool = False) -> Health:
        health = self._health.judge(self._capture_status(now_s), now_s, self._outlets.complaints())
        if stale and health.light != "red":
            return Health("red", "no pictures of the same time from both cameras")
        return health


def _tracking(result: FrameResult) -> Tracking:
    if result.person is not None and np.isfinite(result.person.pose.points_m).any():
        return Tracking.TRACKING
    seen = sum(pose is not None for pose in result.detections)
    return (Tracking.LOST, Tracking.ONE_VIEW, Tracking.NO_POSE)[seen]
