"""The picture of a guided calibration: both views, what is still missing, and the verdict so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from ...calibration.boards import Board
from .. import ink
from .guide import DISTANCE_RATIO, TILTED_DEG, TILTS, Attitude, Task, distance_ratio, tilts_done
from .selection import KeptPair
from .verdict import Finding

BACKGROUND: ink.Colour = (24, 20, 17)
PANEL: ink.Colour = (34, 29, 25)
WELL: ink.Colour = (46, 40, 35)
LINES: ink.Colour = (70, 62, 55)
COVERED: ink.Colour = (126, 96, 44)
BLUE = ink.SIDE_COLOURS[1]

WIDTH_PX, GAP_PX = 1282, 2
VIEW_WIDTH_PX = 640
VIEW_HEIGHT_PX = (320, 480)
BANNER_PX, PANEL_PX, STRIP_PX = 60, 228, 36
TITLE_PX, TEXT_PX, SMALL_PX, BANNER_TEXT_PX = 16, 16, 14, 26
MAP_TOP_PX, MAP_SIZE_PX, NARROWEST_MAP_PX = 40, (228, 150), 110
DIAL_DEG = 50.0

Mood = Literal["plain", "good", "warning"]
MOODS: dict[Mood, ink.Colour] = {"plain": ink.TEXT, "good": ink.GOOD, "warning": ink.WARNING}
VERDICTS: dict[str, ink.Colour] = {"good": ink.GOOD, "usable": ink.WARNING, "refused": ink.BAD}
KEYS = "space keep   u undo   q finish   h help"
HELP = (
    ("space", "keep this pair now, still and new or not"),
    ("u", "undo: drop the pair kept last and its pictures"),
    ("q, Esc", "finish: the calibration of all pairs follows"),
    ("h", "this help"),
)
HELP_TEXT = (
    "Show the board to both cameras, follow the line on top, and rest for a moment in every position.",
    "Pairs are taken by themselves. A chair or stand is stiller than a hand.",
)


@dataclass(frozen=True, slots=True)
class GuideFrame:
    """Everything one picture shows.

    images: (H, W, 3) uint8 BGR, left and right; corners_px: (N, 2) of the board in them or None; task: asked for, None
    when nothing is missing; state: a few words on the newest pair; flash: a pair was kept a moment ago;
    reachable_thirds: where the other
    camera can see the board too; finding: the newest verdict, working: another is on its way; facts: for the line at
    the bottom; lost: what is the matter with the left and the right camera, "" for nothing.
    """

    images: tuple[np.ndarray, np.ndarray]
    corners_px: tuple[np.ndarray | None, np.ndarray | None]
    kept: tuple[KeptPair, ...]
    attitudes: tuple[Attitude, ...]
    current: Attitude | None
    missing_thirds: tuple[np.ndarray, np.ndarray]
    reachable_thirds: tuple[np.ndarray, np.ndarray]
    task: Task | None
    instruction: str
    state: str
    mood: Mood
    flash: bool = False
    finding: Finding | None = None
    working: bool = False
    pairs_to_first_verdict: int = 0
    facts: tuple[str, ...] = ()
    keys: bool = True
    help: bool = False
    lost: tuple[str, str] = ("", "")


class GuidePanel:
    """Composes the pictures of one session, all of one size."""

    def __init__(self, board: Board, sizes_px: tuple[tuple[int, int], tuple[int, int]]) -> None:
        """sizes_px: (width, height) of the left and the right view."""
        self._board, self._sizes_px = board, sizes_px
        tallest = max(VIEW_WIDTH_PX * height / width for width, height in sizes_px)
        self._view_height = 2 * round(min(max(tallest, VIEW_HEIGHT_PX[0]), VIEW_HEIGHT_PX[1]) / 2)
        self._panel_top = BANNER_PX + self._view_height + GAP_PX
        self._height = self._panel_top + PANEL_PX + GAP_PX + STRIP_PX
        self._background = np.full((self._height, WIDTH_PX, 3), BACKGROUND, np.uint8)
        self._background[BANNER_PX : BANNER_PX + self._view_height] = 0
        self._background[self._panel_top : self._panel_top + PANEL_PX] = PANEL

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the pictures, both even."""
        return WIDTH_PX, self._height

    def compose(self, content: GuideFrame) -> np.ndarray:
        """Draw one picture, (H, W, 3) uint8 BGR."""
        canvas = self._background.copy()
        _draw_banner(canvas[:BANNER_PX], content)
        for camera, name in enumerate(("left", "right")):
            left = camera * (VIEW_WIDTH_PX + GAP_PX)
            box = canvas[BANNER_PX : BANNER_PX + self._view_height, left : left + VIEW_WIDTH_PX]
            self._draw_view(box, content, camera)
            ink.tag(box, f"{name} camera", 10, 10, TEXT_PX)
        panel = canvas[self._panel_top : self._panel_top + PANEL_PX]
        self._draw_panel(panel, content)
        _draw_strip(canvas[-STRIP_PX:], content)
        if content.help:
            _draw_help(canvas[BANNER_PX : BANNER_PX + self._view_height])
        return canvas

    def _draw_view(self, box: np.ndarray, content: GuideFrame, camera: int) -> None:
        image = content.images[camera]
        part = _fitting(box, image.shape[1] / image.shape[0])
        # Nearest by area at half size, linear else: cheap, and moving pictures hide the difference.
        kind = cv2.INTER_AREA if image.shape[1] == 2 * part.shape[1] else cv2.INTER_LINEAR
        cv2.resize(image, (part.shape[1], part.shape[0]), dst=part, interpolation=kind)
        if content.lost[camera]:
            cv2.convertScaleAbs(part, dst=part, alpha=0.3)
            left = (part.shape[1] - ink.text_width_px(content.lost[camera], TITLE_PX, 600)) / 2
            ink.write(part, content.lost[camera], left, part.shape[0] / 2, TITLE_PX, ink.WARNING, 600)
            return
        if content.task is not None and content.task.place is not None and content.task.place[0] == camera:
            _, row, column = content.task.place
            _tint(_third(part, row, column), ink.WARNING, 0.22)
            ink.frame(_third(part, row, column), ink.WARNING, 2)
        corners = content.corners_px[camera]
        if corners is not None:
            scale = part.shape[1] / image.shape[1]
            self._draw_board(part, (corners + 0.5) * scale - 0.5, MOODS[content.mood])
        if content.flash:
            ink.frame(part, ink.GOOD, 4)

    def _draw_board(self, part: np.ndarray, corners_px: np.ndarray, colour: ink.Colour) -> None:
        outline = _outline(corners_px, self._board)
        if outline is not None:
            for start, end in zip(outline, np.roll(outline, -1, axis=0), strict=True):
                ink.stroke(part, start, end, colour, 2)
        for corner in corners_px[ink.drawable(corners_px)]:
            ink.dot(part, corner, 1.6, colour)

    def _draw_panel(self, panel: np.ndarray, content: GuideFrame) -> None:
        left = 14
        for camera, name in enumerate(("left", "right")):
            left = self._draw_map(panel, left, content, camera, f"{name} picture") + 18
        left = _draw_dial(panel, left, content) + 18
        left = _draw_distance(panel, left, content) + 18
        cv2.line(panel, (left - 4, 14), (left - 4, PANEL_PX - 14), LINES, 1)
        _draw_verdict(panel[:, left + 12 : WIDTH_PX - 14], content)

    def _draw_map(self, panel: np.ndarray, left: int, content: GuideFrame, camera: int, title: str) -> int:
        """Which thirds have corners, with every kept board drawn in. Returns the column after it."""
        width, height = self._sizes_px[camera]
        scale = min(MAP_SIZE_PX[0] / width, MAP_SIZE_PX[1] / height)
        well = panel[MAP_TOP_PX : MAP_TOP_PX + round(height * scale), left : left + round(width * scale)]
        well[:] = WELL
        missing, reachable = content.missing_thirds[camera], content.reachable_thirds[camera]
        for row, column in np.argwhere(~missing):
            _third(well, row, column)[:] = COVERED
        for row, column in np.argwhere(missing & ~reachable):
            _hatch(_third(well, row, column))
        for cut in (1, 2):
            x, y = cut * well.shape[1] // 3, cut * well.shape[0] // 3
            cv2.line(well, (x, 0), (x, well.shape[0]), PANEL, 2)
            cv2.line(well, (0, y), (well.shape[1], y), PANEL, 2)
        boards = [pair.seen.left_px if camera == 0 else pair.seen.right_px for pair in content.kept]
        for corners, colour in (*((c, BLUE) for c in boards), (content.corners_px[camera], ink.TEXT)):
            outline = None if corners is None else _outline((corners + 0.5) * scale - 0.5, self._board)
            if outline is not None:
                cv2.polylines(well, [np.round(outline * 16).astype(np.int32)], True, colour, 1, cv2.LINE_AA, 4)
        if content.task is not None and content.task.place is not None and content.task.place[0] == camera:
            ink.frame(_third(well, *content.task.place[1:]), ink.WARNING, 2)
        ink.write(panel, title, left, 26, TITLE_PX, ink.FAINT_TEXT)
        done = f"{int((~missing).sum())} of {int((~missing | reachable).sum())} parts"
        ink.write(panel, done, left, MAP_TOP_PX + well.shape[0] + 22, SMALL_PX, ink.FAINT_TEXT)
        return left + max(well.shape[1], NARROWEST_MAP_PX)


def _draw_banner(banner: np.ndarray, content: GuideFrame) -> None:
    """What to do at the left, how the newest pair was taken at the right."""
    right = WIDTH_PX - 16
    if content.state:
        colour = MOODS[content.mood]
        width = ink.text_width_px(content.state, TEXT_PX, 600) + 24
        chip = banner[14 : BANNER_PX - 14, right - width : right]
        chip[:] = WELL
        chip[:, :4] = colour
        ink.write(chip, content.state, 14, 22, TEXT_PX, colour, 600)
        right -= width + 16
    size = BANNER_TEXT_PX
    while ink.text_width_px(content.instruction, size, 600) > right - 16 and size > TEXT_PX:
        size -= 1
    ink.write(banner, content.instruction, 16, BANNER_PX / 2 + size * 0.36, size, ink.TEXT, 600)


def _draw_dial(panel: np.ndarray, left: int, content: GuideFrame) -> int:
    """Tilts of the kept boards as points, seen as a joystick; an arc for each direction that is done."""
    radius = 66
    centre = np.array([left + radius + 8, MAP_TOP_PX + radius + 8], dtype=float)
    ink.write(panel, "tilt", left, 26, TITLE_PX, ink.FAINT_TEXT)
    whole = (round(centre[0]), round(centre[1]))
    cv2.circle(panel, whole, radius, WELL, -1, cv2.LINE_AA)
    inner = round(radius * TILTED_DEG / DIAL_DEG)
    cv2.circle(panel, whole, inner, LINES, 1, cv2.LINE_AA)
    done = tilts_done(content.attitudes)
    for name, (x, y) in TILTS.items():
        colour = ink.GOOD if done[name] else LINES
        if content.task is not None and content.task.tilt == name:
            colour = ink.WARNING
        middle = math.degrees(math.atan2(y, x))
        cv2.ellipse(panel, whole, (radius + 4, radius + 4), 0, middle - 36, middle + 36, colour, 4, cv2.LINE_AA)
    for attitude, colour, size in (
        *((a, BLUE, 2.6) for a in content.attitudes),
        *((a, ink.TEXT, 4.0) for a in (content.current,) if a is not None),
    ):
        offset = attitude.tilt_deg / DIAL_DEG * radius
        offset *= min(1.0, radius / max(float(np.linalg.norm(offset)), 1e-6))
        ink.dot(panel, centre + offset, size, colour)
    words = f"{sum(done.values())} of 4 sides"
    ink.write(panel, words, left, MAP_TOP_PX + 2 * radius + 40, SMALL_PX, ink.FAINT_TEXT)
    return left + 2 * radius + 16


def _draw_distance(panel: np.ndarray, left: int, content: GuideFrame) -> int:
    """Kept boards from near to far on a logarithmic scale around their middle."""
    width, top, height = 86, MAP_TOP_PX + 4, 148
    ink.write(panel, "distance", left, 26, TITLE_PX, ink.FAINT_TEXT)
    bar = panel[top : top + height, left : left + 26]
    bar[:] = WELL
    ratio = distance_ratio(content.attitudes)
    distances = [a.distance for a in content.attitudes]
    middle = math.sqrt(min(distances) * max(distances)) if distances else 1.0
    if content.current is not None and not distances:
        middle = content.current.distance
    reach = max(2.0, ratio * 1.1)

    def row(distance: float) -> int:
        return round(height * (0.5 - 0.5 * float(np.clip(math.log(distance / middle) / math.log(reach), -0.97, 0.97))))

    colour = ink.GOOD if ratio >= DISTANCE_RATIO else LINES
    if content.task is not None and content.task.key == "distance":
        colour = ink.WARNING
    if distances:
        bar[row(max(distances)) : row(min(distances)) + 1, 10:16] = colour
    for distance in distances:
        y = row(distance)
        cv2.line(bar, (3, y), (22, y), BLUE, 2)
    if content.current is not None:
        y = row(content.current.distance)
        cv2.line(bar, (0, y), (25, y), ink.TEXT, 3)
    ink.write(panel, "far", left + 34, top + 12, SMALL_PX, ink.FAINT_TEXT)
    ink.write(panel, "near", left + 34, top + height - 2, SMALL_PX, ink.FAINT_TEXT)
    ink.write(panel, f"{ratio:.2f} : 1", left, top + height + 20, SMALL_PX, ink.FAINT_TEXT)
    return left + width


def _draw_verdict(panel: np.ndarray, content: GuideFrame) -> None:
    """Number of pairs, verdict, baseline, and the first thing that keeps it from being good."""
    count = len(content.kept)
    after = ink.write(panel, str(count), 0, 46, 38, ink.TEXT, 600)
    ink.write(panel, "pair kept" if count == 1 else "pairs kept", after + 10, 46, TITLE_PX, ink.FAINT_TEXT)
    finding = content.finding
    if finding is None:
        words = "working out the first verdict ..." if content.working else ""
        if content.pairs_to_first_verdict > 0:
            words = f"first verdict after {content.pairs_to_first_verdict} more"
        ink.write(panel, words, 0, 82, TEXT_PX, ink.FAINT_TEXT)
        return
    verdict = finding.judgement.verdict
    colour = VERDICTS[verdict]
    chip = panel[60:86]
    label = {"good": "good", "usable": "usable", "refused": "not usable yet"}[verdict]
    width = ink.text_width_px(label, TEXT_PX, 600) + 24
    chip[:, :width] = WELL
    chip[:, :4] = colour
    ink.write(chip, label, 14, 19, TEXT_PX, colour, 600)
    of = f"of {len(finding.numbers)} pairs" + (", working ..." if content.working else "")
    ink.write(chip, of, width + 10, 19, SMALL_PX, ink.FAINT_TEXT)
    row = 112
    if finding.baseline_m is not None and finding.baseline_sd_m is not None and finding.rms_px is not None:
        sd_mm = finding.baseline_sd_m * 1e3
        after = ink.write(panel, "baseline ", 0, row, TEXT_PX, ink.FAINT_TEXT)
        text = f"{finding.baseline_m * 1e3:.{1 if sd_mm > 0.1 else 2}f} \u00b1 {sd_mm:.2g} mm"
        after = ink.write(panel, text, after, row, TEXT_PX, ink.TEXT, 500)
        ink.write(panel, f"   {finding.rms_px:.2f} px off", after, row, TEXT_PX, ink.FAINT_TEXT)
        row += 28
    reason = finding.judgement.reasons[0]
    lines = ink.wrapped(reason.sentence(), panel.shape[1], SMALL_PX)
    shown = lines[:4] if len(lines) <= 4 else [*lines[:3], f"{lines[3]} ..."]
    for line in shown:
        ink.write(panel, line, 0, row, SMALL_PX, ink.FAINT_TEXT)
        row += 20


def _draw_strip(strip: np.ndarray, content: GuideFrame) -> None:
    """The name, facts and keys."""
    baseline = STRIP_PX * 0.5 + TEXT_PX * 0.36
    left = ink.write(strip, "binopose calibrate", 12, baseline, TEXT_PX, ink.TEXT, 700) + 20
    for fact in content.facts:
        left = ink.write(strip, fact, left, baseline, TEXT_PX, ink.FAINT_TEXT) + 20
    if content.keys:
        left = WIDTH_PX - 14 - ink.text_width_px(KEYS, TEXT_PX)
        ink.write(strip, KEYS, left, baseline, TEXT_PX, ink.FAINT_TEXT)


def _draw_help(views: np.ndarray) -> None:
    width, height = 776, 216
    top, left = (views.shape[0] - height) // 2, (views.shape[1] - width) // 2
    box = views[top : top + height, left : left + width]
    box[:] = PANEL
    ink.frame(box, LINES, 1)
    row = 40
    for text in HELP_TEXT:
        ink.write(box, text, 24, row, TEXT_PX, ink.TEXT)
        row += 26
    row += 12
    for key, text in HELP:
        ink.write(box, key, 24, row, TEXT_PX, BLUE, 600)
        ink.write(box, text, 120, row, TEXT_PX, ink.TEXT)
        row += 28


def _fitting(box: np.ndarray, aspect: float) -> np.ndarray:
    """The middle of a box that has this ratio of width to height."""
    height, width = box.shape[:2]
    fit_width, fit_height = min(width, round(height * aspect)), min(height, round(width / aspect))
    left, top = (width - fit_width) // 2, (height - fit_height) // 2
    return box[top : top + fit_height, left : left + fit_width]


def _third(part: np.ndarray, row: int, column: int) -> np.ndarray:
    height, width = part.shape[:2]
    return part[row * height // 3 : (row + 1) * height // 3, column * width // 3 : (column + 1) * width // 3]


def _hatch(part: np.ndarray) -> None:
    """A place that the other camera cannot see."""
    height, width = part.shape[:2]
    for start in range(-height, width, 10):
        cv2.line(part, (start, height), (start + height, 0), LINES, 1, cv2.LINE_AA)


def _tint(part: np.ndarray, colour: Sequence[int], opacity: float) -> None:
    cv2.addWeighted(part, 1 - opacity, np.full_like(part, colour), opacity, 0, dst=part)


def _outline(corners_px: np.ndarray, board: Board) -> np.ndarray | None:
    """The quadrangle around the corners, (4, 2); around those seen when some are hidden; None for too few."""
    grid = corners_px.reshape(board.rows, board.columns, 2)
    outline = np.array([grid[0, 0], grid[0, -1], grid[-1, -1], grid[-1, 0]])
    if np.isfinite(outline).all():
        return outline
    known = corners_px[np.isfinite(corners_px[:, 0])].astype(np.float32)
    return None if len(known) < 3 else cv2.boxPoints(cv2.minAreaRect(known)).astype(float)
