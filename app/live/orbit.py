"""Turning the view in space with the mouse."""

from __future__ import annotations

import math
from dataclasses import replace

from ..overlay import Box
from ..view3d import Viewpoint
from ..window import MouseEvent

RADIANS_PER_PIXEL = math.radians(0.5)
STEEPEST_RAD = math.radians(85.0)
LOWEST_RAD = math.radians(-10.0)
ZOOM_STEP, LEAST_ZOOM, MOST_ZOOM = 1.15, 0.4, 4.0


class Orbit:
    """Drag turns, the wheel comes nearer, a double click goes back to the slow swaying of the start."""

    def __init__(self, box: Box) -> None:
        """box: where in the window the view in space is."""
        self._box = box
        self._viewpoint: Viewpoint | None = None
        self._held_px: tuple[int, int] | None = None

    def viewpoint(self, timestamp_s: float) -> Viewpoint:
        """Where to look from now."""
        return self._viewpoint or Viewpoint.swaying(timestamp_s)

    def handle(self, event: MouseEvent, timestamp_s: float) -> None:
        """Follow the mouse. timestamp_s: of what is shown, from where the swaying stops."""
        inside = (
            self._box.left <= event.x_px < self._box.left + self._box.width
            and self._box.top <= event.y_px < self._box.top + self._box.height
        )
        if event.kind == "release":
            self._held_px = None
        elif event.kind == "drag" and self._held_px is not None:
            self._turn(event, self.viewpoint(timestamp_s))
        elif not inside:
            return
        elif event.kind == "press":
            self._held_px = (event.x_px, event.y_px)
        elif event.kind == "double":
            self._viewpoint = self._held_px = None
        elif event.kind == "wheel":
            view = self.viewpoint(timestamp_s)
            zoom = min(max(view.zoom * ZOOM_STEP**event.steps, LEAST_ZOOM), MOST_ZOOM)
            self._viewpoint = replace(view, zoom=zoom)

    def _turn(self, event: MouseEvent, view: Viewpoint) -> None:
        assert self._held_px is not None
        # The person follows the hand, so the eye goes the other way.
        yaw_rad = view.yaw_rad - (event.x_px - self._held_px[0]) * RADIANS_PER_PIXEL
        elevation_rad = view.elevation_rad + (event.y_px - self._held_px[1]) * RADIANS_PER_PIXEL
        self._viewpoint = replace(
            view, yaw_rad=yaw_rad, elevation_rad=min(max(elevation_rad, LOWEST_RAD), STEEPEST_RAD)
        )
        self._held_px = (event.x_px, event.y_px)
