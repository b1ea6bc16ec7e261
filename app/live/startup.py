"""Until both cameras deliver: who is waited for, and why."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from .. import ink
from ..capture import CameraState, CameraThread, CapturedFrame, CaptureError, StereoCapture
from ..capture.stereo import odd_width
from ..window import Window

PATIENCE_S = 8.0
LOOK_S = 0.05
NO_TROUBLE = (CameraState.OPENING, CameraState.RUNNING)
WAITING_SIZE_PX = (960, 300)
BACKGROUND: ink.Colour = (34, 29, 25)
Sizes = tuple[tuple[int, int], tuple[int, int]]


def picture_sizes(
    capture: StereoCapture, wait: bool, window: Window | None, say: Callable[[str], None]
) -> Sizes | None:
    """(width, height) of the left and right view, once both cameras have sent a picture; None when the user gives up.

    wait: for cameras that are not there yet, however long it takes; else CaptureError is raised with the reason when
    one cannot work or has sent nothing after PATIENCE_S.
    """
    deadline_s = math.inf if wait else time.monotonic() + PATIENCE_S
    said: set[str] = set()
    while True:
        frames = [_first_frame(camera, wait, deadline_s) for camera in capture.cameras]
        if all(frames):
            return _sizes(capture, [frame for frame in frames if frame is not None])
        troubles = {camera.status().reason for camera in capture.cameras if camera.state not in NO_TROUBLE}
        for trouble in sorted(troubles - said):
            said.add(trouble)
            say(trouble)
        if window is not None:
            picture = waiting_picture(sorted(troubles) or ["waiting for the first pictures"])
            if window.show(picture) in ("q", "escape"):
                return None


def _first_frame(camera: CameraThread, wait: bool, deadline_s: float) -> CapturedFrame | None:
    try:
        return camera.wait_until_running(LOOK_S)
    except CaptureError as error:
        if not wait and (error.lasting or camera.over):
            raise
        if time.monotonic() > deadline_s:
            raise CaptureError(f"{error} (--wait goes on waiting)") from error
        return None


def _sizes(capture: StereoCapture, frames: list[CapturedFrame]) -> Sizes:
    sizes = [(frame.image.shape[1], frame.image.shape[0]) for frame in frames]
    if len(sizes) == 2:
        return sizes[0], sizes[1]
    width, height = sizes[0]
    if width % 2:
        raise odd_width(capture.cameras[0].name, width)
    return (width // 2, height), (width // 2, height)


def waiting_picture(lines: list[str]) -> np.ndarray:
    """What the window shows before there is anything else."""
    width, height = WAITING_SIZE_PX
    canvas = np.full((height, width, 3), BACKGROUND, np.uint8)
    ink.write(canvas, "binopose live", 32, 56, 24, ink.TEXT, 700)
    row = 108
    for line in lines:
        for part in ink.wrapped(line, width - 64, 18):
            ink.write(canvas, part, 32, row, 18, ink.WARNING)
            row += 28
    ink.write(canvas, "q quit", 32, height - 28, 16, ink.FAINT_TEXT)
    return canvas
