"""Draws the newest step in a thread of its own, as often as there is time for it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..capture import CameraStatus
from ..pipeline import timed
from .figures import Figures
from .health import camera_troubles
from .loop import Step, Switches
from .mailbox import Mailbox
from .orbit import Orbit
from .panel import LiveFrame, LivePanel
from .recorder import LiveRecorder
from .update import Listener, LiveUpdate

TAKE_S = 0.2
TOAST_S = 2.5


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture ready to be shown. fresh: of a new pair, so that its latency counts; on_our_clock: see `Feed`."""

    picture: np.ndarray
    timestamp_s: float
    fresh: bool


@dataclass(slots=True)
class Announcements:
    """What is drawn over the picture for its user alone; set by the window's thread."""

    help: bool = False
    toast: str = ""
    toast_until_s: float = -math.inf

    def say(self, text: str) -> None:
        """Show a line for a moment."""
        self.toast, self.toast_until_s = text, time.monotonic() + TOAST_S

    @property
    def line(self) -> str:
        """What is to be seen now."""
        return self.toast if time.monotonic() < self.toast_until_s else ""


class Drawer:
    """Composes pictures for the window, the overlay video and listeners that want them."""

    def __init__(
        self,
        panel: LivePanel,
        orbit: Orbit,
        switches: Switches,
        announcements: Announcements,
        listeners: Sequence[Listener],
        recorder: Callable[[], LiveRecorder | None],
        shown: Mailbox[Drawn] | None,
    ) -> None:
        """recorder: the one in use, or None; shown: where the window takes its pictures, None without a window."""
        self._panel, self._orbit, self._switches, self._announcements = panel, orbit, switches, announcements
        self._listeners, self._recorder, self._shown = listeners, recorder, shown
        self._steps: Mailbox[Step] = Mailbox()
        self._last_number = -1
        self._draw_ms = math.nan
        self.screen = Figures()  # of the window, which counts what it has shown

    def put(self, step: Step) -> None:
        """Have a step drawn unless a newer one comes first; returns at once."""
        self._steps.put(step)

    def close(self) -> None:
        """Let `run` end."""
        self._steps.close()

    def run(self) -> None:
        """Draw until closed."""
        while not self._steps.closed:
            step = self._steps.take(TAKE_S)
            if step is not None and self._wanted():
                self._draw(step)

    def _wanted(self) -> bool:
        recorder = self._recorder()
        recording = recorder is not None and recorder.wants_pictures
        return self._shown is not None or recording or any(listener.wants_picture for listener in self._listeners)

    def _draw(self, step: Step) -> None:
        update = step.update
        stage_ms = dict(update.stage_ms)
        drawing_ms: dict[str, float] = {}
        with timed(drawing_ms, "draw"):
            content = self._content(step, {**stage_ms, "draw": self._draw_ms})
            picture = self._panel.compose(content, self._orbit.viewpoint(update.timestamp_s))
        self._draw_ms = stage_ms["draw"] = drawing_ms["draw"]
        fresh = update.number > self._last_number
        self._last_number = update.number
        recorder = self._recorder()
        if recorder is not None and fresh:
            recorder.add_picture(picture, update.timestamp_s)
            recorder.add_draw_ms(self._draw_ms)
        annotated = picture
        if content.help or content.toast:
            annotated = picture.copy()
            self._panel.annotate(annotated, content)
        if self._shown is not None:
            self._shown.put(Drawn(annotated, update.timestamp_s, fresh and math.isfinite(update.latency_s)))
        self._tell(replace(update, picture=picture, stage_ms=stage_ms))

    def _tell(self, update: LiveUpdate) -> None:
        if math.isfinite(update.latency_s):
            update = replace(update, latency_s=time.monotonic() - update.timestamp_s)
        for listener in self._listeners:
            if listener.wants_picture:
                listener.update(update)

    def _content(self, step: Step, stage_ms: dict[str, float]) -> LiveFrame:
        update, switches, recorder = step.update, self._switches, self._recorder()
        words = [
            name
            for name, on in (
                ("refinement off", not switches.refined),
                ("filter off", not switches.filtered),
                ("uncertainty", switches.uncertainty),
                ("paused", switches.paused),
            )
            if on
        ]
        return LiveFrame(
            result=update.result,
            pose=step.shown,
            timestamp_s=update.timestamp_s,
            lost=camera_troubles(update.capture),
            tracking=update.tracking,
            health=update.health,
            figures=self._figures(update),
            stage_ms=stage_ms,
            switches=tuple(words),
            recording=_elapsed(recorder.state.elapsed_s) if recorder is not None else "",
            uncertainty=switches.uncertainty,
            help=self._announcements.help,
            keys=self._shown is not None,
            toast=self._announcements.line,
            notes=_notes(update),
        )

    def _figures(self, update: LiveUpdate) -> tuple[tuple[str, str], ...]:
        rate_hz, latency_ms, _ = self.screen.recent() if self._shown is not None else (math.nan,) * 3
        if not math.isfinite(rate_hz):
            rate_hz = update.rate_hz
        if not math.isfinite(latency_ms):
            latency_ms = update.latency_s * 1e3
        figures = [("", "-" if math.isnan(rate_hz) else f"{rate_hz:.0f} pairs/s")]
        if math.isfinite(latency_ms):
            figures.append(("latency", f"{latency_ms:.0f} ms"))
        status = update.capture
        if status is not None and status.right is not None and math.isfinite(status.skew_mean_s):
            figures.append(("skew", f"{status.skew_mean_s * 1e3:+.0f} \u00b1 {status.skew_sd_s * 1e3:.0f} ms"))
        if update.time_offset_s is not None:
            figures.append(("offset", f"{update.time_offset_s * 1e3:+.0f} ms"))
        if status is not None:
            figures.append(("dropped", f"{_dropped(update)}"))
        return tuple(figures)


def _notes(update: LiveUpdate) -> tuple[str, str]:
    """Rate, jitter and losses of each camera."""
    status = update.capture
    if status is None:
        return "", ""
    if status.right is None:
        return _note(status.left, 0), _note(status.left, 0)
    return _note(status.left, status.unpaired[0]), _note(status.right, status.unpaired[1])


def _note(camera: CameraStatus, alone: int) -> str:
    if not math.isfinite(camera.rate_hz):
        return ""
    lost = camera.decode_failures + camera.wrong_size_frames + alone
    return f"{camera.rate_hz:.0f}/s \u00b1 {camera.jitter_s * 1e3:.0f} ms" + (f", {lost} unused" if lost else "")


def _dropped(update: LiveUpdate) -> int:
    """Pictures that came and were not used: damaged, without partner, or overtaken by newer ones."""
    status = update.capture
    assert status is not None
    views = [status.left] if status.right is None else [status.left, status.right]
    damaged = sum(view.decode_failures + view.wrong_size_frames for view in views)
    return damaged + sum(status.unpaired) + status.pairs_unseen * len(views)


def _elapsed(elapsed_s: float) -> str:
    minutes, seconds = divmod(int(elapsed_s), 60)
    return f"{minutes}:{seconds:02d}"
