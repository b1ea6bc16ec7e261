"""The picture in the window: both views, the person in space, and how everything is doing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from ...calibration.rectify import Rectifier
from ...models.pose import Pose3D
from .. import ink
from ..overlay import GAP_PX, Overlay, OverlayFrame, ViewOverlay
from ..pipeline import FrameResult
from ..view3d import PANEL, Viewpoint
from .update import Health, Light, Tracking

STATUS_PX, FIGURES_PX = 44, 34
TEXT_PX, TITLE_PX, SMALL_PX = 16, 18, 14
BACKGROUND: ink.Colour = (24, 20, 17)
LINES: ink.Colour = (70, 62, 55)
LIGHTS: dict[Light, tuple[ink.Colour, str]] = {
    "green": (ink.GOOD, "good"),
    "amber": (ink.WARNING, "check"),
    "red": (ink.BAD, "bad"),
}
# Stages as they are called on the screen, in the order of the work.
STAGES = {
    "wait": "wait",
    "rectify": "rectify",
    "detect": "detect",
    "triangulate": "3D",
    "refine": "refine",
    "draw": "draw",
}
HINT = "h help"
HELP = (
    ("r", "record, and stop recording"),
    ("space", "pause, and go on"),
    ("m", "refinement off and on (A-B)"),
    ("f", "filter off and on"),
    ("u", "uncertainty of every joint"),
    ("s", "snapshot of this window"),
    ("n", "new person: forget the one followed"),
    ("h", "this help"),
    ("q, Esc", "quit"),
)
HELP_TEXT = "Drag the view in space to turn it, the wheel comes nearer, a double click lets it sway."


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """Everything one picture shows.

    result: of the newest pair, None before the first; pose: to be shown, in the rectified left frame; lost: what is the
    matter with each view, "" for nothing; notes: a few words on each camera; figures: for the line at the bottom, name
    and value; switches: what differs from the usual ("refinement off"); recording: "" or how long, such as "0:12";
    help, toast: drawn over the views.
    """

    result: FrameResult | None
    pose: Pose3D | None
    timestamp_s: float
    lost: tuple[str, str]
    tracking: Tracking
    health: Health
    figures: tuple[tuple[str, str], ...]
    stage_ms: Mapping[str, float]
    switches: tuple[str, ...] = ()
    recording: str = ""
    uncertainty: bool = False
    help: bool = False
    keys: bool = True
    toast: str = ""
    notes: tuple[str, str] = ("", "")


class LivePanel:
    """Composes the pictures of one session, all of one size."""

    def __init__(self, rectifier: Rectifier, level_from_left: np.ndarray | None) -> None:
        """level_from_left: see `Overlay`."""
        self._rectifier = rectifier
        self._left_from_rectified = rectifier.rig.left_from_rectified
        self._overlay = Overlay(rectifier.size_px, level_from_left, STATUS_PX + FIGURES_PX)
        self._no_picture = np.zeros((rectifier.size_px[1], rectifier.size_px[0], 3), np.uint8)
        self.turning = self._overlay.turning
        self.size_px = self._overlay.size_px

    def compose(self, content: LiveFrame, viewpoint: Viewpoint) -> np.ndarray:
        """Draw one picture, (H, W, 3) uint8 BGR, new every time; help and toast are `annotate`'s."""
        pose = content.pose.moved(self._left_from_rectified) if content.pose is not None else None
        views = [self._view(content, view) for view in (0, 1)]
        frame = OverlayFrame(views[0], views[1], pose, 0, content.timestamp_s, uncertainty=content.uncertainty)
        canvas = self._overlay.compose(frame, viewpoint)
        strip = self._overlay.strip.of(canvas)
        strip[:] = BACKGROUND
        _draw_status(strip[:STATUS_PX], content)
        _draw_figures(strip[STATUS_PX:], content)
        return canvas

    def annotate(self, canvas: np.ndarray, content: LiveFrame) -> None:
        """Draw help and toast over a composed picture, in place: what is not for recordings."""
        height = max(box.height for box in self._overlay.views)
        views = canvas[:height, : sum(box.width for box in self._overlay.views) + GAP_PX]
        if content.help:
            _draw_help(views)
        if content.toast:
            width = min(ink.text_width_px(content.toast, TEXT_PX, 500) + TEXT_PX, views.shape[1] - 20)
            ink.tag(views, content.toast, (views.shape[1] - width) // 2, height - 40, TEXT_PX)

    def _view(self, content: LiveFrame, view: int) -> ViewOverlay:
        if content.result is None:
            return ViewOverlay(self._no_picture, lost=content.lost[view] or "waiting for pictures")
        pair = content.result.pair
        shown_px = None if content.pose is None else self._rectifier.picture_px(view, content.pose.points_m)
        image = (pair.left, pair.right)[view]
        note = content.notes[view]
        return ViewOverlay(image, content.result.detections[view], shown_px, content.lost[view], note)


def _draw_light(part: np.ndarray, centre_px: tuple[int, int], light: Light) -> None:
    """A disc, a triangle or a cross: the shape says it too, for those who do not tell the colours apart."""
    colour, _ = LIGHTS[light]
    x, y = centre_px
    if light == "green":
        ink.dot(part, np.array([x, y], float), 8.0, colour)
    elif light == "amber":
        corners = np.array([[x, y - 9], [x + 10, y + 8], [x - 10, y + 8]])
        cv2.fillPoly(part, [corners], colour, cv2.LINE_AA)
        cv2.line(part, (x, y - 3), (x, y + 2), BACKGROUND, 2, cv2.LINE_AA)
        cv2.circle(part, (x, y + 5), 1, BACKGROUND, -1, cv2.LINE_AA)
    else:
        for step in (-1, 1):
            cv2.line(part, (x - 7, y - 7 * step), (x + 7, y + 7 * step), colour, 4, cv2.LINE_AA)


def _draw_status(strip: np.ndarray, content: LiveFrame) -> None:
    """Health and its reason at the left, tracking in the middle, switches and recording at the right."""
    baseline = STATUS_PX * 0.5 + TITLE_PX * 0.36
    colour, word = LIGHTS[content.health.light]
    _draw_light(strip, (22, STATUS_PX // 2), content.health.light)
    left = ink.write(strip, word, 42, baseline, TITLE_PX, colour, 650) + 16
    right = strip.shape[1] - 14
    if content.recording:
        text = f"REC {content.recording}"
        right -= ink.text_width_px(text, TITLE_PX, 650)
        ink.write(strip, text, right, baseline, TITLE_PX, ink.BAD, 650)
        right -= 16
        ink.dot(strip, np.array([right, STATUS_PX / 2]), 6.0, ink.BAD)
        right -= 22
    for text in reversed(content.switches):
        right -= ink.text_width_px(text, TEXT_PX, 600) + 20
        chip = strip[10 : STATUS_PX - 10, right : right + ink.text_width_px(text, TEXT_PX, 600) + 16]
        chip[:] = LINES
        ink.write(chip, text, 8, chip.shape[0] / 2 + TEXT_PX * 0.36, TEXT_PX, ink.TEXT, 600)
        right -= 4
    tracking = content.tracking.value
    left = ink.write(
        strip,
        tracking,
        left,
        baseline,
        TITLE_PX,
        ink.TEXT if content.tracking is Tracking.TRACKING else ink.WARNING,
        600,
    )
    reason = content.health.reason
    if reason:
        reason = ink.wrapped(reason, max(right - left - 48, 40), TEXT_PX)
        ink.write(strip, reason[0] + (" ..." if len(reason) > 1 else ""), left + 20, baseline, TEXT_PX, ink.FAINT_TEXT)


def _draw_figures(strip: np.ndarray, content: LiveFrame) -> None:
    """The name, figures in columns that do not move, and how to get help."""
    baseline = FIGURES_PX * 0.5 + TEXT_PX * 0.30
    right = strip.shape[1] - 14
    if content.keys:
        right -= ink.text_width_px(HINT, TEXT_PX)
        ink.write(strip, HINT, right, baseline, TEXT_PX, ink.FAINT_TEXT)
    left = ink.write(strip, "binopose live", 12, baseline, TEXT_PX, ink.TEXT, 700) + 22
    columns = [(f"{name} " if name else "", value, "") for name, value in content.figures]
    columns += [(f"{STAGES[name]} ", _whole(content.stage_ms.get(name, math.nan)), "00") for name in STAGES]
    for name, value, widest in (*columns, ("", "ms", "")):
        width = ink.text_width_px(name, TEXT_PX) + max(ink.text_width_px(each, TEXT_PX) for each in (value, widest))
        if left + width > right - 12:
            return
        after = ink.write(strip, name, left, baseline, TEXT_PX, ink.FAINT_TEXT)
        ink.write(strip, value, after, baseline, TEXT_PX, ink.TEXT)
        left += width + 13


def _whole(number: float) -> str:
    return f"{number:.0f}" if math.isfinite(number) else "-"


def _draw_help(views: np.ndarray) -> None:
    width, height = 700, 86 + 26 * len(HELP)
    top, left = max((views.shape[0] - height) // 2, 0), max((views.shape[1] - width) // 2, 0)
    box = views[top : top + height, left : left + width]
    box[:] = PANEL
    ink.frame(box, LINES, 1)
    row = 38
    for key, text in HELP:
        ink.write(box, key, 28, row, TEXT_PX, ink.SIDE_COLOURS[1], 650)
        ink.write(box, text, 130, row, TEXT_PX, ink.TEXT)
        row += 26
    for line in ink.wrapped(HELP_TEXT, width - 56, SMALL_PX):
        ink.write(box, line, 28, row + 8, SMALL_PX, ink.FAINT_TEXT)
        row += 20
