"""The pen of all drawings: colours, outlined strokes and letters that can be read on any picture."""

from __future__ import annotations

import math
from functools import cache, lru_cache

import cv2
import numpy as np

from ..models.skeleton import Skeleton

Colour = tuple[int, int, int]  # blue, green, red

# Sky blue and orange of the palette of Okabe and Ito (Color Universal Design, 2008), which stay apart for every kind of
# colour vision; by side of the person: -1 right, 0 middle, +1 left.
SIDE_COLOURS: dict[int, Colour] = {-1: (0, 159, 230), 0: (240, 240, 240), 1: (233, 180, 86)}
OUTLINE: Colour = (18, 16, 14)
TEXT: Colour = (235, 232, 230)
FAINT_TEXT: Colour = (160, 152, 146)
WARNING: Colour = (60, 190, 250)
# Bluish green and a light vermilion of the same palette.
GOOD: Colour = (138, 186, 48)
BAD: Colour = (80, 120, 255)

# cv2 draws at fractions of a pixel when coordinates come as integers with this many binary places.
SUBPIXEL_BITS = 4
# Beyond this the drawing functions overflow; no picture is that large.
FARTHEST_PX = 8000.0
FULL_CONFIDENCE = 0.6
INFERRED_OPACITY = 0.85
SOLID_OPACITY = 0.97  # from here on a stroke is drawn directly, without mixing
DASH_PX = 6.0
# A joint known to this (standard deviation, all axes together) is drawn as it is, to the second as faint as can be;
# the poses of a good rig lie at 3 to 6 cm.
SURE_SIGMA_M, VAGUE_SIGMA_M = 0.06, 0.20
FAINTEST = 0.25


def side_colour(side: int) -> Colour:
    """Colour of a joint: `Skeleton.side`."""
    return SIDE_COLOURS[side]


def bone_side(skeleton: Skeleton, child: int, parent: int) -> int:
    """The side a bone belongs to: that of its ends, or of the one end that has a side; 0 from left to right."""
    ends = {int(skeleton.side[child]), int(skeleton.side[parent])}
    sides = ends - {0}
    return sides.pop() if len(sides) == 1 else 0


def opacity_of(confidence: float, certainty: float = 1.0) -> float:
    """How solid a joint is drawn: 1 from FULL_CONFIDENCE on, less below; joints inferred (0) are dashed instead.

    certainty: of its place, as `certainty_of` has it.
    """
    seen = 0.3 + 0.7 * min(1.0, confidence / FULL_CONFIDENCE) if confidence > 0 else INFERRED_OPACITY
    return seen * (FAINTEST + (1 - FAINTEST) * certainty)


def certainty_of(sigma_m: np.ndarray) -> np.ndarray:
    """How well the places of joints are known, 0 to 1. sigma_m: (J, 3), NaN where unknown, which counts as 1."""
    away_m = np.nan_to_num(np.linalg.norm(sigma_m, axis=1), nan=0.0)
    return np.clip((VAGUE_SIGMA_M - away_m) / (VAGUE_SIGMA_M - SURE_SIGMA_M), 0.0, 1.0)


def drawable(points_px: np.ndarray) -> np.ndarray:
    """Which points have a place that can be drawn. (J, 2) -> (J,) bool."""
    with np.errstate(invalid="ignore"):
        return np.asarray((np.abs(points_px) < FARTHEST_PX).all(axis=1))


def _fixed(point_px: np.ndarray) -> tuple[int, int]:
    scale = 1 << SUBPIXEL_BITS
    return round(float(point_px[0]) * scale), round(float(point_px[1]) * scale)


def _line(image: np.ndarray, start_px: np.ndarray, end_px: np.ndarray, colour: Colour, width_px: int) -> None:
    cv2.line(image, _fixed(start_px), _fixed(end_px), colour, width_px, cv2.LINE_AA, SUBPIXEL_BITS)


def _outline_width_px(width_px: int) -> int:
    return width_px + (2 if width_px < 3 else 4)


def _dashes(start_px: np.ndarray, end_px: np.ndarray, dash_px: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """A line cut into dashes and equal gaps, a dash at either end."""
    length_px = float(np.hypot(*(end_px - start_px)))
    count = max(1, round((length_px / dash_px + 1) / 2))
    cuts = start_px + np.linspace(0, 1, 2 * count)[:, None] * (end_px - start_px)
    return [(cuts[2 * number], cuts[2 * number + 1]) for number in range(count)]


def stroke(
    image: np.ndarray,
    start_px: np.ndarray,
    end_px: np.ndarray,
    colour: Colour,
    width_px: int,
    confidence: float = 1.0,
    certainty: float = 1.0,
) -> None:
    """Draw an outlined line, paler for less confidence or certainty, dashed for no confidence. In place.

    start_px, end_px: (2,), finite.
    """
    pieces = [(start_px, end_px)] if confidence > 0 else _dashes(start_px, end_px, max(DASH_PX, 2.5 * width_px))
    opacity = opacity_of(confidence, certainty)
    if opacity >= SOLID_OPACITY:
        _outlined(image, pieces, colour, width_px)
        return
    # Mixed with what lies under it.
    part, corner_px = _around(image, np.stack([start_px, end_px]), width_px + 4)
    if part.size:
        drawn = part.copy()
        _outlined(drawn, [(start - corner_px, end - corner_px) for start, end in pieces], colour, width_px)
        cv2.addWeighted(drawn, opacity, part, 1 - opacity, 0, dst=part)


def _around(image: np.ndarray, points_px: np.ndarray, margin_px: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of a picture around some points, (N, 2), empty where they are outside; and its first pixel, (2,)."""
    height, width = image.shape[:2]
    x_px, y_px = points_px.T.tolist()
    left, top = (max(math.floor(min(values)) - margin_px, 0) for values in (x_px, y_px))
    right, bottom = min(math.ceil(max(x_px)) + margin_px, width), min(math.ceil(max(y_px)) + margin_px, height)
    return image[top : max(top, bottom), left : max(left, right)], np.array([left, top])


def _outlined(image: np.ndarray, pieces: list[tuple[np.ndarray, np.ndarray]], colour: Colour, width_px: int) -> None:
    for start_px, end_px in pieces:
        _line(image, start_px, end_px, OUTLINE, _outline_width_px(width_px))
    for start_px, end_px in pieces:
        _line(image, start_px, end_px, colour, width_px)


def draw_bones(
    image: np.ndarray,
    points_px: np.ndarray,
    confidence: np.ndarray,
    skeleton: Skeleton,
    width_px: int,
    certainty: np.ndarray | None = None,
) -> None:
    """Draw all bones whose ends have a place, uncertain ones under the others. Drawn in place.

    points_px: (J, 2); confidence: (J,); certainty: (J,) of `certainty_of`, None where nothing is known of it.
    """
    known = drawable(points_px)
    certainty = np.ones(len(points_px)) if certainty is None else certainty
    solid = []
    for child, parent in skeleton.bone_indices:
        if not (known[child] and known[parent]):
            continue
        colour = side_colour(bone_side(skeleton, child, parent))
        trust, sure = (float(min(values[child], values[parent])) for values in (confidence, certainty))
        if trust > 0 and opacity_of(trust, sure) >= SOLID_OPACITY:
            solid.append((points_px[parent], points_px[child], colour))
        else:
            stroke(image, points_px[parent], points_px[child], colour, width_px, trust, sure)
    # All outlines first, so that none cuts into the next bone at a joint.
    for start_px, end_px, _ in solid:
        _line(image, start_px, end_px, OUTLINE, _outline_width_px(width_px))
    for start_px, end_px, colour in solid:
        _line(image, start_px, end_px, colour, width_px)


def ring(image: np.ndarray, centre_px: np.ndarray, radius_px: float, colour: Colour) -> None:
    """Draw a small hollow circle with a dark outline on both its edges. Drawn in place."""
    radius = round(radius_px * (1 << SUBPIXEL_BITS))
    cv2.circle(image, _fixed(centre_px), radius, OUTLINE, 3, cv2.LINE_AA, SUBPIXEL_BITS)
    cv2.circle(image, _fixed(centre_px), radius, colour, 1, cv2.LINE_AA, SUBPIXEL_BITS)


def dot(image: np.ndarray, centre_px: np.ndarray, radius_px: float, colour: Colour, certainty: float = 1.0) -> None:
    """Draw a filled circle with a dark outline, paler for less certainty. Drawn in place."""
    opacity = opacity_of(1.0, certainty)
    if opacity < SOLID_OPACITY:
        part, corner_px = _around(image, centre_px[None], math.ceil(radius_px) + 2)
        if part.size:
            drawn = part.copy()
            dot(drawn, centre_px - corner_px, radius_px, colour)
            cv2.addWeighted(drawn, opacity, part, 1 - opacity, 0, dst=part)
        return
    step = 1 << SUBPIXEL_BITS
    cv2.circle(image, _fixed(centre_px), round((radius_px + 1) * step), OUTLINE, -1, cv2.LINE_AA, SUBPIXEL_BITS)
    cv2.circle(image, _fixed(centre_px), round(radius_px * step), colour, -1, cv2.LINE_AA, SUBPIXEL_BITS)


@cache
def _font() -> cv2.FontFace:
    return cv2.FontFace("sans")


def write(
    image: np.ndarray, text: str, left_px: float, baseline_px: float, size_px: int, colour: Colour, weight: int = 400
) -> int:
    """Draw a line of text; digits all have the same width. Returns the column after it. Drawn in place."""
    after, _ = cv2.putText(image, text, (round(left_px), round(baseline_px)), colour, _font(), size_px, weight)
    return after[0]


@lru_cache(maxsize=256)
def text_width_px(text: str, size_px: int, weight: int = 400) -> int:
    """Columns a line of text takes."""
    rehearsal = np.zeros((size_px * 2, 1, 3), np.uint8)
    after, _ = cv2.putText(rehearsal, text, (0, size_px), TEXT, _font(), size_px, weight)
    return after[0]


def wrapped(text: str, width_px: int, size_px: int) -> list[str]:
    """Words in lines no wider than that; at least one line."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and text_width_px(longer, size_px) > width_px:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def frame(part: np.ndarray, colour: Colour, width_px: int) -> None:
    """Draw a border just inside a part of a picture. Drawn in place."""
    part[:width_px] = part[-width_px:] = colour
    part[:, :width_px] = part[:, -width_px:] = colour


def tag(image: np.ndarray, text: str, left_px: int, top_px: int, size_px: int) -> None:
    """Write text on a darkened patch, readable on any picture. Drawn in place."""
    pad = size_px // 2
    width, height = text_width_px(text, size_px, 500) + 2 * pad, round(size_px * 1.6)
    part = image[top_px : top_px + height, left_px : left_px + width]
    cv2.convertScaleAbs(part, dst=part, alpha=0.35)
    write(image, text, left_px + pad, top_px + round(size_px * 1.18), size_px, TEXT, 500)
