"""Line charts over time as SVG that follows the colours of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from ...calibration.page_parts import svg

WIDTH, HEIGHT = 540, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 12, 24
# More points than this across a chart are drawn as the least and the greatest of each bin: spikes must not vanish.
MOST_POINTS = 500


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart. key: its class on the page; time_s, values: (N,), NaN leaves a gap."""

    key: str
    time_s: np.ndarray
    values: np.ndarray


@dataclass(frozen=True, slots=True)
class Axis:
    """The upright axis. low, high: its ends; what goes beyond is cut off; logarithmic: in powers of ten."""

    low: float
    high: float
    logarithmic: bool = False

    def height(self, values: np.ndarray) -> np.ndarray:
        """Where values lie between the ends, 0 to 1."""
        if self.logarithmic:
            low, high = np.log10(self.low), np.log10(self.high)
            return (np.log10(np.maximum(values, self.low / 10)) - low) / (high - low)
        return (values - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """A few round values."""
        if self.logarithmic:
            first, last = int(np.ceil(np.log10(self.low))), int(np.floor(np.log10(self.high)))
            return [10.0**power for power in range(first, last + 1)]
        return round_values(self.low, self.high, 5)


def round_values(low: float, high: float, most: int) -> list[float]:
    """Round values from low to high, at most so many."""
    rough = (high - low) / most
    unit = 10.0 ** np.floor(np.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
    return [float(step * k) for k in range(int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9)) + 1)]


def axis_around(values: Sequence[np.ndarray], least_span: float, floor: float | None = None) -> Axis:
    """An axis that shows nearly all of some values: single spikes, up to 2 %, may go beyond it.

    least_span: the axis is never shorter; floor: where it starts, else below the least.
    """
    known = np.concatenate([each[np.isfinite(each)] for each in values]) if values else np.empty(0)
    if not len(known):
        return Axis(floor or 0.0, (floor or 0.0) + least_span)
    low, high = np.percentile(known, [1, 99])
    margin = 0.08 * (high - low)
    low, high = low - margin, high + margin
    if high - low < least_span:
        low, high = (low + high - least_span) / 2, (low + high + least_span) / 2
    return Axis(float(low), float(high)) if floor is None else Axis(floor, max(float(high), floor + least_span))


def power_axis(values: Sequence[np.ndarray]) -> Axis:
    """A logarithmic axis of whole powers of ten that shows nearly all of some values."""
    known = np.concatenate([each[np.isfinite(each) & (each > 0)] for each in values]) if values else np.empty(0)
    if not len(known):
        return Axis(1.0, 10.0, True)
    low, high = np.log10(np.percentile(known, [2, 99.5]))
    return Axis(10.0 ** np.floor(low), 10.0 ** max(np.ceil(high), np.floor(low) + 1), True)


def chart(title: str, unit: str, lines: Sequence[Line], axis: Axis, scale: float = 1.0) -> str:
    """A figure with a caption. title: unlike all others of the page; scale: turns values and axis into `unit`."""
    time_s = np.concatenate([line.time_s for line in lines]) if lines else np.empty(0)
    begin_s, end_s = (float(time_s.min()), float(time_s.max())) if len(time_s) else (0.0, 1.0)
    end_s = max(end_s, begin_s + 1e-3)
    axis = Axis(axis.low * scale, axis.high * scale, axis.logarithmic)
    content = _grid(axis, begin_s, end_s)
    clip = "clip-" + "".join(letter for letter in title if letter.isalnum())
    content += (
        f'<clipPath id="{clip}"><rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" '
        f'height="{HEIGHT - TOP - BOTTOM}"/></clipPath><g clip-path="url(#{clip})">'
    )
    for line in lines:
        content += f'<path class="line {line.key}" d="{_path(line, axis, begin_s, end_s, scale)}"/>'
    caption = f"<figcaption><b>{escape(title)}</b>, {escape(unit)}</figcaption>"
    return f'<figure class="chart">{caption}{svg(WIDTH, HEIGHT, content + "</g>", f"{title} over time")}</figure>'


def strip(rows: Sequence[tuple[str, str, np.ndarray]], time_s: np.ndarray) -> str:
    """When something happened: one row each of (what, class, (N,) flags)."""
    row_height, label = 22, 190
    height = row_height * len(rows) + BOTTOM
    begin_s, end_s = float(time_s[0]), max(float(time_s[-1]), float(time_s[0]) + 1e-3)
    across = (2 * WIDTH - label - RIGHT) / (end_s - begin_s)
    step_s = float(np.median(np.diff(time_s))) if len(time_s) > 1 else 1.0
    content = ""
    for number, (what, key, flags) in enumerate(rows):
        y = number * row_height
        content += f'<text x="0" y="{y + 15}">{escape(what)}</text><rect class="track" x="{label}" y="{y + 3}" '
        content += f'width="{2 * WIDTH - label - RIGHT}" height="{row_height - 7}"/>'
        edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
        for first, end in edges.reshape(-1, 2):
            x = label + (float(time_s[first]) - begin_s) * across
            width = min((float(time_s[end - 1]) + step_s - float(time_s[first])) * across, 2 * WIDTH - RIGHT - x)
            content += f'<rect class="fill {key}" x="{x:.1f}" y="{y + 3}" width="{max(width, 1.5):.1f}" '
            content += f'height="{row_height - 7}"/>'
    for tick_s in round_values(begin_s, end_s, 10):
        x = label + (tick_s - begin_s) * across
        content += f'<text class="tick" x="{x:.1f}" y="{height - 8}" text-anchor="middle">{tick_s:g} s</text>'
    return f'<div class="wide strip">{svg(2 * WIDTH, height, content, "what happened when")}</div>'


def _x(time_s: np.ndarray, begin_s: float, end_s: float) -> np.ndarray:
    return LEFT + (time_s - begin_s) / (end_s - begin_s) * (WIDTH - LEFT - RIGHT)


def _y(axis: Axis, values: np.ndarray) -> np.ndarray:
    return HEIGHT - BOTTOM - axis.height(values) * (HEIGHT - TOP - BOTTOM)


def _grid(axis: Axis, begin_s: float, end_s: float) -> str:
    parts = []
    for value in axis.ticks():
        y = float(_y(axis, np.array(value)))
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_spoken(value)}</text>')
    for tick_s in round_values(begin_s, end_s, 6):
        x = float(_x(np.array(tick_s), begin_s, end_s))
        parts.append(f'<text class="tick" x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{tick_s:g} s</text>')
    return "".join(parts)


def _spoken(value: float) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 1000 else f"{value:g}"


def _path(line: Line, axis: Axis, begin_s: float, end_s: float, scale: float) -> str:
    time_s, values = _thinned(line.time_s, line.values * scale)
    x, y = _x(time_s, begin_s, end_s), _y(axis, values)
    # Far beyond the frame is beyond the frame.
    y = np.clip(y, -HEIGHT, 2 * HEIGHT)
    parts, pen_down = [], False
    for px, py in zip(x.tolist(), y.tolist(), strict=True):
        if py != py:
            pen_down = False
            continue
        parts.append(f"{'L' if pen_down else 'M'}{px:.1f} {py:.1f}")
        pen_down = True
    return "".join(parts)


def _thinned(time_s: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most about MOST_POINTS points: of each bin the least and the greatest value, in their order."""
    if len(values) <= MOST_POINTS:
        return time_s, values
    kept: list[int] = []
    for part in np.array_split(np.arange(len(values)), MOST_POINTS // 2):
        known = part[np.isfinite(values[part])]
        ends = (
            {int(known[values[known].argmin()]), int(known[values[known].argmax()])} if len(known) else {int(part[0])}
        )
        kept += sorted(ends)
    return time_s[kept], values[kept]
