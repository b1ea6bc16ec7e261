"""One camera, read by a thread of its own: the newest frame, and how the camera is doing."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Self

import numpy as np

from .errors import CaptureError, SourceEnded
from .options import size_text
from .source import Source

# Silence of a camera that counts as a fault, and the pause before the next attempt to open it.
STALL_S = 2.0
RETRY_PAUSE_S = 0.5
# How long `close` waits for a thread that is stuck inside cv2; after that the thread is left to end by itself.
CLOSE_WAIT_S = 0.7
# How long the end of the program waits for such a thread: longer than any timeout of cv2 (ten seconds for devices).
EXIT_WAIT_S = 11.0
# Timestamps may be this much in the future: threads wake up a little early.
CLOCK_SLACK_S = 0.005
# Frames over which rate and jitter are measured.
RATE_FRAMES = 90

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """One picture. image: (H, W, 3) uint8 BGR, not to be written to; timestamp_s: of time.monotonic(), when it was
    taken or arrived, later than that of the frame before; number: counted from 0, without gaps over reconnections;
    jpeg: the picture as the camera sent it, where it sends JPEG."""

    image: np.ndarray
    timestamp_s: float
    number: int
    jpeg: bytes | None = None


class CameraState(Enum):
    """What a camera is doing."""

    OPENING = "opening"
    RUNNING = "running"
    STALLED = "stalled"  # open, but silent for longer than STALL_S
    RETRYING = "retrying"  # lost or not there; opened again soon
    ENDED = "ended"  # a file at its end
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """How a camera is doing.

    reason: why it does not run, in words ("" while it runs); frames_received: decoded and of the right size;
    frames_unseen: received or arrived, but replaced by a newer one before anybody looked; decode_failures: damaged
    frames; wrong_size_frames: frames of another size than the first, never handed on; losses: times the source was
    lost after it had run; rate_hz and jitter_s: over the last RATE_FRAMES frames, NaN when it is not running or too few
    (jitter: standard deviation of the intervals); size_px: None before the first frame.
    """

    name: str
    state: CameraState
    reason: str
    frames_received: int
    frames_unseen: int
    decode_failures: int
    wrong_size_frames: int
    losses: int
    rate_hz: float
    jitter_s: float
    size_px: tuple[int, int] | None
    notes: tuple[str, ...]


class CameraThread:
    """Reads a source until it is closed; opens it again when it is lost.

    Frames are handed out by `newest`, from a slot that holds one, or pushed to listeners. required_size_px: refuse a
    source of another picture size.
    """

    def __init__(self, source: Source, required_size_px: tuple[int, int] | None = None) -> None:
        self.name = source.name
        self._source = source
        self._size_px = required_size_px
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._listeners: tuple[Callable[[CapturedFrame], None], ...] = ()
        self._frame: CapturedFrame | None = None
        self._taken = True
        self._state, self._error = CameraState.OPENING, CaptureError(f"{self.name}: being opened")
        self._received = self._unseen = self._failures = self._wrong_size = self._losses = 0
        self._times_s: deque[float] = deque(maxlen=RATE_FRAMES)
        self._newest_s = -np.inf  # timestamp of the newest frame
        self._last_good_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"capture {self.name}", daemon=True)
        self._thread.start()
        # A thread that comes back from cv2 while Python is being torn down aborts the whole process.
        atexit.register(self._let_go)

    def newest(self, timeout_s: float, after: int = -1) -> CapturedFrame | None:
        """The newest frame with a number above `after`, waited for; None after timeout_s or when there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._has(after) or self.over, timeout_s)
            if not self._has(after):
                return None
            self._taken = True
            return self._frame

    def _has(self, after: int) -> bool:
        return self._frame is not None and self._frame.number > after

    @property
    def over(self) -> bool:
        """Whether no frame will come any more."""
        return self._state in (CameraState.ENDED, CameraState.CLOSED)

    def add_listener(self, listener: Callable[[CapturedFrame], None]) -> None:
        """Have every frame from now on handed to a function, called in the camera's thread: it must be quick."""
        with self._changed:
            self._listeners = (*self._listeners, listener)

    def remove_listener(self, listener: Callable[[CapturedFrame], None]) -> None:
        """End what `add_listener` began; a call that is under way may still come."""
        with self._changed:
            self._listeners = tuple(each for each in self._listeners if each != listener)

    def wait_until_running(self, timeout_s: float = 8.0) -> CapturedFrame:
        """The first frame. Raises CaptureError, with the reason, when the source cannot work or takes too long."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._hopeless(), timeout_s)
            if self._frame is not None:
                return self._frame
            if self._state is CameraState.OPENING:
                raise CaptureError(f"{self.name}: no picture within {timeout_s:g} s; is the camera in use or blocked?")
            raise CaptureError(str(self._error), self._error.lasting) from self._error

    def _hopeless(self) -> bool:
        return self.over or (self._state is CameraState.RETRYING and self._error.lasting)

    @property
    def state(self) -> CameraState:
        """What the camera is doing, a stall left out: see `status`."""
        return self._state

    def status(self) -> CameraStatus:
        """How the camera is doing now."""
        with self._changed:
            state, reason = self._state, "" if self._state is CameraState.RUNNING else str(self._error)
            silent_s = time.monotonic() - self._last_good_s
            if state is CameraState.RUNNING and silent_s > STALL_S:
                state, reason = CameraState.STALLED, f"{self.name}: no picture for {silent_s:.0f} s"
            rate_hz = jitter_s = np.nan
            if state is CameraState.RUNNING and len(self._times_s) > 2:
                intervals_s = np.diff(self._times_s)
                rate_hz, jitter_s = float(1 / intervals_s.mean()), float(intervals_s.std())
            return CameraStatus(
                name=self.name,
                state=state,
                reason=reason,
                frames_received=self._received,
                frames_unseen=self._unseen + self._source.skipped_frames,
                decode_failures=self._failures,
                wrong_size_frames=self._wrong_size,
                losses=self._losses,
                rate_hz=rate_hz,
                jitter_s=jitter_s,
                size_px=self._size_px if self._received else None,
                notes=self._source.notes,
            )

    def close(self) -> None:
        """Stop reading. Returns within a second, even when cv2 is stuck: its thread then ends when cv2 lets go."""
        self._stop.set()
        self._source.interrupt()
        self._thread.join(CLOSE_WAIT_S)
        self._set_state(CameraState.CLOSED, CaptureError(f"{self.name}: closed"))
        if self._thread.is_alive():
            _log.info("%s: still waiting for cv2; left to end by itself", self.name)
        else:
            atexit.unregister(self._let_go)

    def _let_go(self) -> None:
        """At the end of the program."""
        self._stop.set()
        self._source.interrupt()
        self._thread.join(EXIT_WAIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # From here on in the camera's thread.

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    self._source.open()
                    self._read()
                except SourceEnded as error:
                    self._set_state(CameraState.ENDED, error)
                    return
                except CaptureError as error:
                    self._set_state(CameraState.RETRYING, error)
                finally:
                    self._source.close()
                self._stop.wait(RETRY_PAUSE_S)
        finally:
            # Also after an error nobody foresaw, so that nobody waits for frames that will not come.
            if not self.over:
                self._set_state(CameraState.CLOSED, CaptureError(f"{self.name}: the capture thread has stopped"))

    def _set_state(self, state: CameraState, error: CaptureError) -> None:
        with self._changed:
            if self._state is CameraState.CLOSED:
                return
            if state is CameraState.RETRYING and self._state is CameraState.RUNNING:
                self._losses += 1
            if str(error) != str(self._error) and not self._stop.is_set():
                _log.info("%s", error)
            self._state, self._error = state, error
            # Intervals across an interruption say nothing about the camera.
            self._times_s.clear()
            self._changed.notify_all()

    def _read(self) -> None:
        self._last_good_s = time.monotonic()
        complaint = "no picture that can be decoded"
        while not self._stop.is_set():
            timestamp_s = self._on_our_clock(self._source.grab())
            image = self._source.retrieve()
            if self._stop.is_set():
                return
            if image is None:
                self._failures += 1
            elif (size := (image.shape[1], image.shape[0])) != (self._size_px or size):
                complaint = self._size_complaint(size)
                self._wrong_size += 1
            else:
                self._publish(CapturedFrame(image, timestamp_s, self._received, self._source.jpeg()))
                continue
            if time.monotonic() - self._last_good_s > STALL_S:
                raise CaptureError(f"{self.name}: {complaint} for {STALL_S:g} s")

    def _on_our_clock(self, timestamp_s: float) -> float:
        """The time of a frame, or now when it cannot be: a driver's clock that jumps must not bring disorder."""
        now_s = time.monotonic()
        return timestamp_s if self._newest_s < timestamp_s <= now_s + CLOCK_SLACK_S else now_s

    def _size_complaint(self, size_px: tuple[int, int]) -> str:
        """Words for pictures of a wrong size; raises CaptureError when a certain size was asked for from the start."""
        assert self._size_px is not None
        if not self._received:
            raise CaptureError(
                f"{self.name}: asked for {size_text(self._size_px)}, delivers {size_text(size_px)}; ask for that, or "
                "change it at the camera",
                True,
            )
        return f"pictures of {size_text(size_px)} instead of {size_text(self._size_px)} as before"

    def _publish(self, frame: CapturedFrame) -> None:
        with self._changed:
            if self._stop.is_set():
                return
            listeners = self._listeners
        # Before anybody can act on the frame: what comes of it must not be recorded earlier than the frame itself.
        for listener in listeners:
            listener(frame)
        with self._changed:
            if self._stop.is_set():
                return
            if not self._taken and not listeners:
                self._unseen += 1
            self._frame, self._taken = frame, False
            self._size_px = (frame.image.shape[1], frame.image.shape[0])
            self._received += 1
            self._last_good_s = time.monotonic()
            self._times_s.append(frame.timestamp_s)
            self._newest_s = frame.timestamp_s
            self._state = CameraState.RUNNING
            self._changed.notify_all()
