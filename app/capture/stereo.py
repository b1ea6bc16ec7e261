"""Two cameras, or one with both views side by side, as pairs of frames."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from ..frames import FramePair
from .camera import CameraState, CameraStatus, CameraThread, CapturedFrame
from .errors import CaptureError
from .pairing import PairMatcher

# Pairs over which the skew, and time over which the rate is measured.
SKEW_PAIRS = 300
RATE_S = 3.0


@dataclass(frozen=True, slots=True)
class CapturedPair:
    """Pictures of both cameras taken at nearly the same time.

    pair: its timestamp_s is the middle of both; its index counts all pairs, so that gaps show the unseen ones.
    skew_s: how much later the right picture was taken; both timestamps of time.monotonic().
    """

    pair: FramePair
    skew_s: float
    left_timestamp_s: float
    right_timestamp_s: float


@dataclass(frozen=True, slots=True)
class StereoStatus:
    """How both cameras and their pairs are doing.

    right: None for a side-by-side camera; pairs: made so far, pairs_unseen of them replaced by newer ones before
    anybody looked; skew_mean_s, skew_sd_s: right minus left over the last SKEW_PAIRS pairs, NaN before two; rate_hz:
    pairs per second over the last RATE_S, NaN with fewer than three; unpaired: (left, right) frames without a partner.
    """

    left: CameraStatus
    right: CameraStatus | None
    pairs: int
    pairs_unseen: int
    skew_mean_s: float
    skew_sd_s: float
    rate_hz: float
    unpaired: tuple[int, int]


class StereoCapture:
    """The newest pair of two cameras; right None: the left one delivers both views side by side.

    Owns the cameras: closing it closes them. Use as a context manager.
    """

    def __init__(self, left: CameraThread, right: CameraThread | None) -> None:
        self._cameras = (left,) if right is None else (left, right)
        self._changed = threading.Condition()
        self._matcher = PairMatcher()
        self._pair: CapturedPair | None = None
        self._pairs = self._unseen = 0
        self._recent: deque[tuple[float, float]] = deque(maxlen=SKEW_PAIRS)  # timestamp_s, skew_s
        self._odd_width_px = 0
        self._closed = False
        if right is None:
            left.add_listener(self._split)
        else:
            for side, camera in enumerate(self._cameras):
                camera.add_listener(partial(self._match, side))

    @property
    def cameras(self) -> tuple[CameraThread, ...]:
        """Left and right, or the one that delivers both views."""
        return self._cameras

    def wait_until_running(self, timeout_s: float = 8.0) -> None:
        """Wait for the first frame of each camera; raises CaptureError with the reason when one gives none."""
        for camera in self._cameras:
            frame = camera.wait_until_running(timeout_s)
            if len(self._cameras) == 1 and frame.image.shape[1] % 2:
                raise odd_width(camera.name, frame.image.shape[1])

    def newest(self, timeout_s: float) -> CapturedPair | None:
        """The newest pair not handed out yet, waited for; None when none came in time, or none will come: see `over`.

        Raises CaptureError when a side-by-side picture cannot be halved.
        """
        with self._changed:
            # Cameras tell no condition of ours when they end: look now and then.
            deadline_s = time.monotonic() + timeout_s
            while self._pair is None and not self._odd_width_px and not self._finished():
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    break
                self._changed.wait(min(left_s, 0.1))
            if self._odd_width_px:
                raise odd_width(self._cameras[0].name, self._odd_width_px)
            pair, self._pair = self._pair, None
            return pair

    @property
    def over(self) -> bool:
        """Whether no pair is left and none will come: a file has ended, or the capture was closed."""
        with self._changed:
            return self._pair is None and self._finished()

    def _finished(self) -> bool:
        ends = (CameraState.ENDED, CameraState.CLOSED)
        return self._closed or any(camera.state in ends for camera in self._cameras)

    def status(self) -> StereoStatus:
        """How cameras and pairs are doing now."""
        views = [camera.status() for camera in self._cameras]
        with self._changed:
            times_s, skews_s = np.array(self._recent).reshape(-1, 2).T
            enough = len(times_s) > 1
            lately_s = times_s[times_s > time.monotonic() - RATE_S]
            return StereoStatus(
                left=views[0],
                right=views[1] if len(views) == 2 else None,
                pairs=self._pairs,
                pairs_unseen=self._unseen,
                skew_mean_s=float(skews_s.mean()) if enough else np.nan,
                skew_sd_s=float(skews_s.std()) if enough else np.nan,
                rate_hz=float(1 / np.diff(lately_s).mean()) if len(lately_s) > 2 else np.nan,
                unpaired=self._matcher.unpaired(),
            )

    def close(self) -> None:
        """Stop both cameras; returns within a second."""
        with self._changed:
            self._closed, self._pair = True, None
            self._changed.notify_all()
        closers = [threading.Thread(target=camera.close) for camera in self._cameras]
        for closer in closers:
            closer.start()
        for closer in closers:
            closer.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # From here on in the threads of the cameras.

    def _match(self, side: int, frame: CapturedFrame) -> None:
        with self._changed:
            for left, right in self._matcher.add(side, frame):
                self._offer(left.image, right.image, left.timestamp_s, right.timestamp_s)

    def _split(self, frame: CapturedFrame) -> None:
        width = frame.image.shape[1]
        halves = [np.ascontiguousarray(half) for half in (frame.image[:, : width // 2], frame.image[:, width // 2 :])]
        with self._changed:
            if width % 2:
                self._odd_width_px = width
                self._changed.notify_all()
                return
            self._offer(halves[0], halves[1], frame.timestamp_s, frame.timestamp_s)

    def _offer(self, left: np.ndarray, right: np.ndarray, left_s: float, right_s: float) -> None:
        """Put a pair into the slot; the lock is held."""
        if self._closed:
            return
        if self._pair is not None:
            self._unseen += 1
        pair = FramePair(left, right, (left_s + right_s) / 2, self._pairs, right_s - left_s)
        self._pair = CapturedPair(pair, right_s - left_s, left_s, right_s)
        self._recent.append((pair.timestamp_s, right_s - left_s))
        self._pairs += 1
        self._changed.notify_all()


def odd_width(name: str, width_px: int) -> CaptureError:
    """The error of a side-by-side picture that cannot be halved."""
    return CaptureError(
        f"{name}: pictures {width_px} pixels wide; a side-by-side picture has an even width: is this one camera only?",
        True,
    )
