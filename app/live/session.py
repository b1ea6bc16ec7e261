"""A live session: the threads, the window with its keys, recordings, and what is said in the terminal."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2

from ...calibration.rig import StereoRig
from ..capture import CameraState
from ..outputs.files import OutputError
from ..pipeline import FrameResult, Pipeline
from ..processing import StopRequest, level_from_left
from ..reference import ReferenceFrame
from ..window import MouseEvent, Window
from .drawing import Announcements, Drawer, Drawn
from .feed import CameraFeed, Feed
from .figures import Figures
from .loop import Outlets, PoseLoop, Switches
from .mailbox import Mailbox
from .orbit import Orbit
from .panel import LivePanel
from .recorder import LiveRecorder
from .sync import SoftSync
from .update import Listener

SAY_EVERY_S = 5.0
LOOK_S = 0.02
SWITCH_KEYS = {"m": "refined", "f": "filtered", "u": "uncertainty", " ": "paused"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What a session does by itself.

    record: start recording into this folder at once; duration_s: end after so long; overlay: recordings get an
    overlay.mp4; help_seen: a file that tells that the help need not be shown at the start; None shows none.
    """

    record: Path | None = None
    duration_s: float = math.inf
    overlay: bool = True
    help_seen: Path | None = None


class LiveSession:
    """Everything between running cameras and the end of the program. The feed belongs to the caller."""

    def __init__(
        self,
        feed: Feed,
        rig: StereoRig,
        pipeline: Pipeline,
        sync: SoftSync,
        reference: ReferenceFrame,
        options: SessionOptions,
        say: Callable[[str], None],
        listeners: Sequence[Listener] = (),
        window: Window | None = None,
    ) -> None:
        """sync: the aligner of the pipeline; say: called with a line for the terminal."""
        self._feed, self._rig, self._pipeline, self._reference = feed, rig, pipeline, reference
        self._options, self._say, self._listeners, self._window = options, say, listeners, window
        self._switches, self._announcements = Switches(), Announcements()
        self._recorder: LiveRecorder | None = None
        self._troubles: dict[str, str] = {}
        self._complaint = ""
        self._quit = False
        self._newest: Drawn | None = None
        self._shown: Mailbox[Drawn] | None = Mailbox() if window is not None else None
        panel = LivePanel(pipeline.rectifier, level_from_left(rig))
        self._orbit = Orbit(panel.turning)
        self._drawer = Drawer(
            panel,
            self._orbit,
            self._switches,
            self._announcements,
            listeners,
            lambda: self._recorder,
            self._shown,
        )
        outlets = Outlets(self._record_result, self._drawer.put, self._complaints, lambda: self._recorder is not None)
        self._loop = PoseLoop(feed, pipeline, sync, reference, self._switches, listeners, outlets)

    @property
    def figures(self) -> Figures:
        """Rate and latency of what the user sees: of pictures in the window, or of poses without one."""
        return self._loop.figures if self._window is None else self._drawer.screen

    def run(self) -> None:
        """Until the user, the duration or the source ends it. Raises what went wrong in any thread."""
        if self._window is not None:
            self._window.on_mouse = self._mouse
            seen = self._options.help_seen
            self._announcements.help = seen is not None and not seen.exists()
        threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="live")
        with StopRequest() as stop:
            # A recording has the very first pair too.
            if self._options.record is not None:
                self._start_recording(self._options.record)
            drawing, looping = threads.submit(self._drawer.run), threads.submit(self._loop.run)
            try:
                self._watch(stop, (looping, drawing))
            finally:
                stop.finishing = True
                self._loop.stop()
                self._drawer.close()
                threads.shutdown()
                self._stop_recording()
        looping.result()
        drawing.result()
        self._conclude()

    def _watch(self, stop: StopRequest, work: tuple[Future[None], ...]) -> None:
        """What the main thread does while the others work."""
        end_s = time.monotonic() + self._options.duration_s
        say_s = time.monotonic() + SAY_EVERY_S
        while not (stop.requested or self._quit or any(each.done() for each in work)):
            now_s = time.monotonic()
            if now_s >= end_s:
                return
            if self._window is not None and self._shown is not None:
                self._show(self._window, self._shown)
            else:
                time.sleep(LOOK_S)
            self._watch_cameras()
            self._watch_recording()
            if now_s >= say_s:
                say_s = now_s + SAY_EVERY_S
                self._say_figures()

    # The window.

    def _show(self, window: Window, shown: Mailbox[Drawn]) -> None:
        drawn = shown.take(LOOK_S)
        key = window.show(drawn.picture if drawn is not None else None)
        if drawn is not None:
            self._newest = drawn
            if drawn.fresh:
                self._drawer.screen.add(time.monotonic() - drawn.timestamp_s)
        if key:
            self._obey(key)

    def _mouse(self, event: MouseEvent) -> None:
        self._orbit.handle(event, self._newest.timestamp_s if self._newest is not None else 0.0)

    def _obey(self, key: str) -> None:
        if self._announcements.help:
            self._announcements.help = False
            self._remember_help()
            if key in ("h", "escape"):
                return
        if key in ("q", "escape"):
            self._quit = True
        elif key in SWITCH_KEYS:
            name = SWITCH_KEYS[key]
            setattr(self._switches, name, not getattr(self._switches, name))
        elif key == "h":
            self._announcements.help = True
        elif key == "n":
            self._loop.reset_person()
            self._announcements.say("looking for a person anew")
        elif key == "s":
            self._snapshot()
        elif key == "r":
            if self._recorder is None:
                self._start_recording(self._next_folder())
            else:
                self._stop_recording()

    def _remember_help(self) -> None:
        if self._options.help_seen is not None:
            try:
                self._options.help_seen.parent.mkdir(parents=True, exist_ok=True)
                self._options.help_seen.touch()
            except OSError as error:  # then it is shown again next time
                _log.info("%s: %s", self._options.help_seen, error)

    def _snapshot(self) -> None:
        if self._newest is None:
            return
        folder = self._recorder.folder if self._recorder is not None else Path.cwd()
        path = _unused(folder / f"binopose-{time.strftime('%Y%m%d-%H%M%S')}.png")
        data = cv2.imencode(".png", self._newest.picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
        try:
            path.write_bytes(data.tobytes())
        except OSError as error:
            self._tell(f"no snapshot: {path}: {error.strerror}")
        else:
            self._tell(f"snapshot {path.name}")

    def _tell(self, text: str) -> None:
        """To the terminal and, if there is one, in the window."""
        self._say(text)
        self._announcements.say(text)

    # Recordings.

    def _next_folder(self) -> Path:
        if self._options.record is not None:
            return _unused(self._options.record)
        return _unused(Path.cwd() / f"binopose-{time.strftime('%Y%m%d-%H%M%S')}")

    def _start_recording(self, folder: Path) -> None:
        cameras = self._feed.capture.cameras if isinstance(self._feed, CameraFeed) else ()
        try:
            self._recorder = LiveRecorder(
                folder, self._rig, self._pipeline, self._reference, cameras, self._options.overlay
            )
        except OutputError as error:
            if folder == self._options.record:
                raise
            self._tell(str(error))
        else:
            self._tell(f"recording to {folder}")

    def _stop_recording(self) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        elapsed_s = recorder.state.elapsed_s
        warnings = recorder.close()
        self._tell(f"recorded {elapsed_s:.0f} s to {recorder.folder}")
        for warning in warnings:
            self._say(f"warning: {warning}")

    def _record_result(self, result: FrameResult, latency_ms: float) -> None:
        recorder = self._recorder
        if recorder is not None:
            recorder.add_result(result, latency_ms)

    def _complaints(self) -> tuple[str, ...]:
        recorder = self._recorder
        return (recorder.state.complaint,) if recorder is not None else ()

    def _watch_recording(self) -> None:
        """Say once when a recording gets into trouble."""
        complaint = self._recorder.state.complaint if self._recorder is not None else ""
        if complaint and not self._complaint:
            self._say(f"warning: {complaint}")
        self._complaint = complaint

    # The terminal.

    def _watch_cameras(self) -> None:
        """Say when a camera is lost or back."""
        if not isinstance(self._feed, CameraFeed):
            return
        cameras = self._feed.capture.cameras
        names = ("camera",) if len(cameras) == 1 else ("left camera", "right camera")
        for name, camera in zip(names, cameras, strict=True):
            status = camera.status()
            lost = status.state not in (CameraState.RUNNING, CameraState.ENDED)
            reason = (status.reason or "lost") if lost else ""
            if lost and name not in self._troubles:
                self._say(f"{name}: {reason}")
                self._troubles[name] = reason
            elif not lost and self._troubles.pop(name, ""):
                self._say(f"{name}: back")

    def _say_figures(self) -> None:
        """Rate, latency and state: to the terminal when there is no window to show them, with the stages to the log."""
        line, update = self._rate_line(), self._loop.last
        if self._window is None:
            self._say(line)
        stages = update.stage_ms if update is not None else {}
        _log.info("%s; %s", line, ", ".join(f"{name} {duration_ms:.1f} ms" for name, duration_ms in stages.items()))

    def _rate_line(self) -> str:
        rate_hz, latency_ms, p95_ms = self.figures.recent()
        words = [f"{rate_hz:.1f} pairs/s" if math.isfinite(rate_hz) else "no pairs"]
        if math.isfinite(latency_ms):
            words.append(f"latency {latency_ms:.0f} ms (p95 {p95_ms:.0f})")
        status = self._feed.status()
        if status is not None and math.isfinite(status.skew_mean_s):
            words.append(f"skew {status.skew_mean_s * 1e3:+.0f} ms")
        update = self._loop.last
        if update is not None:
            if update.time_offset_s is not None:
                words.append(f"offset {update.time_offset_s * 1e3:+.0f} ms")
            words += [update.tracking.value, f"{update.health.light} {update.health.reason}".strip()]
        return ", ".join(words)

    def _conclude(self) -> None:
        figures = self.figures
        overall = figures.overall_ms()
        line = f"{self._loop.figures.count} pairs"
        if self._window is not None:
            line += f", {figures.count} shown"
        if math.isfinite(overall["median"]):
            where = "on the screen" if self._window is not None else "to the pose"
            line += f", latency {where} {overall['median']:.0f} ms (p95 {overall['p95']:.0f})"
        self._say(line)


def _unused(path: Path) -> Path:
    """The path, or with a number when it is taken already (an empty folder is not)."""
    number = 1
    candidate = path
    while candidate.is_file() or (candidate.is_dir() and any(candidate.iterdir())):
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate
