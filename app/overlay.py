"""One picture of everything: both views with what was found in them, the person in space, and the times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np

from ..models.pose import Pose2D, Pose3D
from ..models.skeleton import Skeleton
from . import ink
from .view3d import PANEL, SceneTracker, Viewpoint, draw_plan, draw_turning_view

STRIP: ink.Colour = (24, 20, 17)
STRIP_HEIGHT_PX = 36
GAP_PX = 2
LETTERS_PX = 16
LEGEND_LETTERS_PX = 14
LEGEND_HEIGHT_PX = 28

PORTRAIT_HEIGHT_PX = 764
PORTRAIT_PANEL_WIDTH_PX = 480
LANDSCAPE_VIEW_WIDTH_PX = 640
LANDSCAPE_PANEL_HEIGHT_PX = 360


@dataclass(frozen=True, slots=True)
class ViewOverlay:
    """One view and what belongs on it.

    image: (H, W, 3) uint8 BGR; detected: the joints found in it, or None; refined_px: (J, 2) the pose in space as it
    appears in this picture, NaN where it does not, or None. All in pixels of `image`; lost: why there are no new
    pictures, "" while there are: the view is darkened and says so; note: a few words behind the name of the view.
    """

    image: np.ndarray
    detected: Pose2D | None = None
    refined_px: np.ndarray | None = None
    lost: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class OverlayFrame:
    """Everything one composed picture shows.

    pose: in a frame with x right, y down, z forward, metres, or None; stage_ms: duration of each stage, in the order
    shown; status: a few words, shown as a warning; uncertainty: draw an ellipsoid of one standard deviation around
    every joint.
    """

    left: ViewOverlay
    right: ViewOverlay
    pose: Pose3D | None
    frame: int
    timestamp_s: float
    stage_ms: Mapping[str, float] = field(default_factory=dict)
    status: str = ""
    uncertainty: bool = False


@dataclass(frozen=True, slots=True)
class Box:
    """A part of the composed picture, in pixels."""

    left: int
    top: int
    width: int
    height: int

    def of(self, canvas: np.ndarray) -> np.ndarray:
        """The part of a picture."""
        return canvas[self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True, slots=True)
class _Layout:
    size_px: tuple[int, int]
    views: tuple[Box, Box]
    turning: Box
    plan: Box
    strip: Box


def _even(value: float) -> int:
    return 2 * round(value / 2)


def _layout(view_size_px: tuple[int, int], strip_height_px: int) -> _Layout:
    """Views beside each other; the space beside them if they are tall, below if they are wide."""
    aspect = view_size_px[0] / view_size_px[1]
    if aspect < 1:
        view_height, view_width = PORTRAIT_HEIGHT_PX, _even(PORTRAIT_HEIGHT_PX * aspect)
        panel_left = 2 * (view_width + GAP_PX)
        turning_height = _even(0.62 * view_height)
        turning = Box(panel_left, 0, PORTRAIT_PANEL_WIDTH_PX, turning_height)
        plan_top = turning_height + GAP_PX
        plan = Box(panel_left, plan_top, PORTRAIT_PANEL_WIDTH_PX, view_height - plan_top)
        width, bottom = panel_left + PORTRAIT_PANEL_WIDTH_PX, view_height
    else:
        view_width, view_height = LANDSCAPE_VIEW_WIDTH_PX, _even(LANDSCAPE_VIEW_WIDTH_PX / aspect)
        width, panel_top = 2 * view_width + GAP_PX, view_height + GAP_PX
        turning_width = _even(0.64 * width)
        turning = Box(0, panel_top, turning_width, LANDSCAPE_PANEL_HEIGHT_PX)
        plan_left = turning_width + GAP_PX
        plan = Box(plan_left, panel_top, width - plan_left, LANDSCAPE_PANEL_HEIGHT_PX)
        bottom = panel_top + LANDSCAPE_PANEL_HEIGHT_PX
    views = (Box(0, 0, view_width, view_height), Box(view_width + GAP_PX, 0, view_width, view_height))
    strip = Box(0, bottom + GAP_PX, width, strip_height_px)
    return _Layout((width, bottom + GAP_PX + strip_height_px), views, turning, plan, strip)


class Overlay:
    """Composes the pictures of one run: all of the same, even size; remembers only where the person stands."""

    def __init__(
        self,
        view_size_px: tuple[int, int],
        level_from_pose: np.ndarray | None = None,
        strip_height_px: int = STRIP_HEIGHT_PX,
    ) -> None:
        """view_size_px: (width, height) of the views; a view of another shape gets black margins.

        level_from_pose: (3, 3) rotation that makes y of the pose point straight down, for cameras that are tilted in a
        room whose vertical is known; None takes the pose as it is. strip_height_px: even; where it is not that of the
        usual line of figures the strip is left empty, for the caller.
        """
        self._layout = _layout(view_size_px, strip_height_px)
        self._background = self._draw_background()
        self._tracker = SceneTracker()
        self._level_from_pose = level_from_pose

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the composed picture, both even."""
        return self._layout.size_px

    @property
    def views(self) -> tuple[Box, Box]:
        """Where the views are."""
        return self._layout.views

    @property
    def turning(self) -> Box:
        """Where the view in space is."""
        return self._layout.turning

    @property
    def strip(self) -> Box:
        """Where the line at the bottom is."""
        return self._layout.strip

    def compose(self, content: OverlayFrame, viewpoint: Viewpoint | None = None) -> np.ndarray:
        """Draw one picture, (H, W, 3) uint8 BGR, new every time.

        viewpoint: of the view in space; None lets it sway slowly.
        """
        canvas = self._background.copy()
        for name, view, box in zip(("left", "right"), (content.left, content.right), self._layout.views, strict=True):
            _draw_view(box.of(canvas), view, content.pose)
            ink.tag(box.of(canvas), f"{name} camera  {view.note}".strip(), 10, 10, LETTERS_PX)
        pose = content.pose
        if pose is not None and self._level_from_pose is not None:
            pose = pose.moved(self._level_from_pose)
        scene = self._tracker.update(pose, content.timestamp_s)
        viewpoint = viewpoint or Viewpoint.swaying(content.timestamp_s)
        above_legend = self._layout.turning.of(canvas)[:-LEGEND_HEIGHT_PX]
        draw_turning_view(above_legend, pose, scene, viewpoint, content.uncertainty)
        draw_plan(self._layout.plan.of(canvas), pose, scene, content.uncertainty)
        if self._layout.strip.height == STRIP_HEIGHT_PX:
            _draw_strip(self._layout.strip.of(canvas), content)
        return canvas

    def _draw_background(self) -> np.ndarray:
        """What is the same in every picture."""
        width, height = self.size_px
        canvas = np.zeros((height, width, 3), np.uint8)
        for box, colour in (
            (self._layout.turning, PANEL),
            (self._layout.plan, PANEL),
            (self._layout.strip, STRIP),
        ):
            box.of(canvas)[:] = colour
        for box, title in ((self._layout.turning, "in space"), (self._layout.plan, "from above")):
            ink.write(box.of(canvas), title, 12, 24, LETTERS_PX, ink.FAINT_TEXT)
        _draw_legend(self._layout.turning.of(canvas))
        return canvas


def _draw_view(part: np.ndarray, view: ViewOverlay, pose: Pose3D | None) -> None:
    """Put a view into its part of the canvas, and on top what was found: thin what was detected, solid the pose."""
    height, width = view.image.shape[:2]
    part = _fitting(part, width / height)
    _place(view.image, part)
    if view.lost:
        _draw_lost(part, view.lost)
        return
    scale = np.array([part.shape[1] / width, part.shape[0] / height])
    limb_px = max(2, round(np.sqrt(part.shape[0]) / 7))
    detected, detected_px = view.detected, np.empty((0, 2))
    if detected is not None:
        detected_px = _scaled(np.where(detected.confidence[:, None] > 0, detected.points_px, np.nan), scale)
        ink.draw_bones(part, detected_px, detected.confidence, detected.skeleton, 1)
    if view.refined_px is not None and pose is not None:
        refined_px, certainty = _scaled(view.refined_px, scale), ink.certainty_of(pose.sigma_m)
        ink.draw_bones(part, refined_px, pose.confidence, pose.skeleton, limb_px, certainty)
    if detected is not None:
        _draw_detected_joints(part, detected_px, detected.skeleton, limb_px)


def _draw_lost(part: np.ndarray, reason: str) -> None:
    """Darken the last picture of a camera and say why there is none after it."""
    cv2.convertScaleAbs(part, dst=part, alpha=0.3)
    lines = ink.wrapped(reason, part.shape[1] - 80, LETTERS_PX)
    row = part.shape[0] / 2 - (len(lines) - 1) * 0.7 * LETTERS_PX
    for line in lines:
        left = (part.shape[1] - ink.text_width_px(line, LETTERS_PX, 600)) / 2
        ink.write(part, line, left, row, LETTERS_PX, ink.WARNING, 600)
        row += 1.4 * LETTERS_PX


def _fitting(part: np.ndarray, aspect: float) -> np.ndarray:
    """The middle of a part of the canvas that has this ratio of width to height; all of it to within two pixels."""
    height, width = part.shape[:2]
    fit_width, fit_height = min(width, round(height * aspect)), min(height, round(width / aspect))
    left, top = (width - fit_width) // 2, (height - fit_height) // 2
    if left <= 1 and top <= 1:
        return part
    return part[top : top + fit_height, left : left + fit_width]


def _place(image: np.ndarray, part: np.ndarray) -> None:
    """Fill a part of the canvas with a picture, made smaller or larger.

    Halving by area as often as it goes, then linear: a seventh of the time of a reduction by area in one step
    (0.7 against 5.7 ms for 1080x1920), with hardly more aliasing.
    """
    height, width = part.shape[:2]
    while image.shape[0] >= 2 * height and image.shape[1] >= 2 * width:
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = cv2.resize(image, half, interpolation=cv2.INTER_AREA)
    if image.shape[:2] == (height, width):
        part[:] = image
    else:
        cv2.resize(image, (width, height), dst=part, interpolation=cv2.INTER_LINEAR)


def _scaled(points_px: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Pixels of the picture to pixels of its smaller copy; pixel centres are at integers."""
    return (points_px + 0.5) * scale - 0.5


def _draw_detected_joints(part: np.ndarray, points_px: np.ndarray, skeleton: Skeleton, limb_px: int) -> None:
    """Rings where bones meet; small dots for the rest, such as the eleven points of a face."""
    on_bones = set(skeleton.bone_indices.ravel().tolist())
    for joint in np.flatnonzero(ink.drawable(points_px)).tolist():
        colour = ink.side_colour(int(skeleton.side[joint]))
        if joint in on_bones:
            ink.ring(part, points_px[joint], 0.75 * limb_px + 1.0, colour)
        else:
            ink.dot(part, points_px[joint], 1.2, colour)


def _draw_legend(panel: np.ndarray) -> None:
    """What the colours and line kinds mean, in a row at the bottom."""
    middle, left = panel.shape[0] - LEGEND_HEIGHT_PX / 2, 12
    for text, side, confidence in (("person's left", 1, 1.0), ("person's right", -1, 1.0), ("inferred", 0, 0.0)):
        start, end = np.array([left + 2.0, middle]), np.array([left + 24.0, middle])
        ink.stroke(panel, start, end, ink.side_colour(side), 3, confidence)
        left = ink.write(panel, text, left + 32, middle + 5, LEGEND_LETTERS_PX, ink.FAINT_TEXT) + 14
    ink.ring(panel, np.array([left + 4.0, middle]), 4.0, ink.side_colour(0))
    ink.write(panel, "detected", left + 14, middle + 5, LEGEND_LETTERS_PX, ink.FAINT_TEXT)


def _draw_strip(strip: np.ndarray, content: OverlayFrame) -> None:
    """Frame and time at the left, the stages in columns of fixed width, warnings at the right."""
    baseline = strip.shape[0] * 0.5 + LETTERS_PX * 0.36
    ink.write(strip, "binopose", 12, baseline, LETTERS_PX, ink.TEXT, 700)
    ink.write(strip, f"frame {content.frame}", 106, baseline, LETTERS_PX, ink.FAINT_TEXT)
    ink.write(strip, f"{content.timestamp_s:.2f} s", 214, baseline, LETTERS_PX, ink.FAINT_TEXT)
    left = 306
    status = content.status or ("" if content.pose is not None else "no person")
    status_left = max(left, strip.shape[1] - 12 - ink.text_width_px(status, LETTERS_PX, 600))
    ink.write(strip, status, status_left, baseline, LETTERS_PX, ink.WARNING, 600)
    for name, duration_ms in content.stage_ms.items():
        number_left = left + ink.text_width_px(name + " ", LETTERS_PX)
        after = number_left + ink.text_width_px("000.0 ms", LETTERS_PX)
        if after > status_left - 12:  # no room for more stages
            break
        ink.write(strip, name, left, baseline, LETTERS_PX, ink.FAINT_TEXT)
        ink.write(strip, f"{duration_ms:.1f} ms", number_left, baseline, LETTERS_PX, ink.TEXT)
        left = after + 10
