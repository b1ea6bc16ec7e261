"""The log of a training run as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

PANEL_PX = (420, 300)
MARGIN_PX = 46
INK, GRID = (40, 40, 40), (225, 225, 225)
# Okabe and Ito's colours (BGR), which colour-blind people can tell apart.
COLOURS = ((178, 114, 0), (0, 94, 213), (115, 158, 0), (167, 121, 204), (66, 228, 240))
PANELS = (("mpjpe_mm", "MPJPE, mm"), ("root_relative_mm", "relative to the pelvis, mm"), ("coverage_90", "inside 90 %"))


def draw_curves(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw every score over the steps. rows: the lines of the log."""
    names = [key.removesuffix(" mpjpe_mm") for key in rows[-1] if key.endswith(" mpjpe_mm")]
    panels = [_panel(rows, [f"{name} {score}" for name in names], title) for score, title in PANELS]
    legend = np.full((26 * len(names) + 12, PANEL_PX[0] * len(PANELS), 3), 255, np.uint8)
    for row, name in enumerate(names):
        y = 24 + 26 * row
        cv2.line(legend, (MARGIN_PX, y - 5), (MARGIN_PX + 30, y - 5), COLOURS[row % len(COLOURS)], 2, cv2.LINE_AA)
        _write(legend, name, (MARGIN_PX + 40, y))
    cv2.imwrite(str(path), np.vstack([np.hstack(panels), legend]))


def _panel(rows: list[dict[str, Any]], columns: list[str], title: str) -> np.ndarray:
    width, height = PANEL_PX
    panel = np.full((height, width, 3), 255, np.uint8)
    _write(panel, title, (MARGIN_PX, 22))
    steps = np.array([float(row["step"]) for row in rows])
    series = [np.array([float(row.get(column) or "nan") for row in rows]) for column in columns]
    values = np.concatenate(series)
    low, high = float(np.nanmin(values)), float(np.nanquantile(values, 0.9))
    pad = 0.08 * max(high - low, 1e-6)
    low, high = low - pad, high + 3 * pad

    def place(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        right = MARGIN_PX + (width - MARGIN_PX - 12) * x / max(steps.max(), 1)
        down = height - 30 - (height - 64) * (np.clip(y, low, high) - low) / (high - low)
        return np.stack([right, down], axis=-1).round().astype(np.int32)

    for level in np.linspace(low, high, 5):
        start, end = place(np.array([0.0, steps.max()]), np.array([level, level])).tolist()
        cv2.line(panel, start, end, GRID, 1)
        _write(panel, f"{level:.3g}", (4, start[1] + 4), 0.38)
    _write(panel, f"step {steps.max():.0f}", (width - 110, height - 8), 0.38)
    for number, line in enumerate(series):
        known = np.isfinite(line)
        cv2.polylines(panel, [place(steps[known], line[known])], False, COLOURS[number % len(COLOURS)], 2, cv2.LINE_AA)
    return panel


def _write(picture: np.ndarray, text: str, place: tuple[int, int], size: float = 0.48) -> None:
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, INK, 1, cv2.LINE_AA)
