"""Where the picture of a running command goes: a window, or a file that is replaced again and again."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import cv2
import numpy as np

from ..calibration.errors import UserError

PROBE_TIMEOUT_S = 30.0
FILE_INTERVAL_S = 0.5
SUFFIXES = (".png", ".jpg", ".jpeg")


_MOUSE_EVENTS: dict[int, Literal["press", "drag", "release", "double", "wheel"]] = {
    cv2.EVENT_LBUTTONDOWN: "press",
    cv2.EVENT_MOUSEMOVE: "drag",
    cv2.EVENT_LBUTTONUP: "release",
    cv2.EVENT_LBUTTONDBLCLK: "double",
    cv2.EVENT_MOUSEWHEEL: "wheel",
}


class WindowError(UserError):
    """A window or preview that cannot be had."""


@dataclass(frozen=True, slots=True)
class MouseEvent:
    """What the mouse did, in pixels of the picture shown. steps: of the wheel, forward positive."""

    kind: Literal["press", "drag", "release", "double", "wheel"]
    x_px: int
    y_px: int
    steps: int = 0


def check_display(advice: str) -> None:
    """Raise WindowError when no window can be opened here. advice: what to do then, for the message.

    Qt ends the whole process when there is no display, so another process tries first.
    """
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise WindowError(f"no display to open a window on (neither DISPLAY nor WAYLAND_DISPLAY is set); {advice}")
    program = "import cv2; cv2.namedWindow('binopose'); cv2.waitKey(1)"
    try:
        probe = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, timeout=PROBE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise WindowError(f"no window could be opened within {PROBE_TIMEOUT_S:g} s; {advice}") from None
    if probe.returncode != 0:
        said = probe.stderr.decode(errors="replace").strip().splitlines()
        raise WindowError(f"no window can be opened here ({said[-1] if said else 'no reason given'}); {advice}")


class Window:
    """A window with keys and mouse; everything in one thread. on_mouse: called from `show`, to be set at any time."""

    def __init__(self, title: str, advice: str) -> None:
        """Raises WindowError, with the advice, where no window can be opened."""
        check_display(advice)
        self._title = title
        self._shape: tuple[int, ...] = ()  # of the picture shown
        self.on_mouse: Callable[[MouseEvent], None] | None = None
        # Without Qt's tool bar, and scaled with its shape kept.
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        cv2.setMouseCallback(title, self._mouse)

    def _mouse(self, event: int, x_px: int, y_px: int, flags: int, _: object) -> None:
        kind = _MOUSE_EVENTS.get(event)
        if self.on_mouse is None or kind is None:
            return
        if kind == "drag" and not flags & cv2.EVENT_FLAG_LBUTTON:
            return
        self.on_mouse(MouseEvent(kind, x_px, y_px, (1 if flags > 0 else -1) if kind == "wheel" else 0))

    def show(self, picture: np.ndarray | None) -> str:
        """Show a picture (H, W, 3), or with None leave the one shown, and return the key pressed since.

        "" stands for no key, "escape" also for a closed window.
        """
        was_shown = bool(self._shape)
        if picture is not None:
            # A picture of another size would be squeezed into the window as it is; what the user chose stays else.
            if picture.shape != self._shape:
                cv2.resizeWindow(self._title, picture.shape[1], picture.shape[0])
            self._shape = picture.shape
            cv2.imshow(self._title, picture)
        code = cv2.waitKey(1)
        # The window becomes visible while keys are waited for; asked before, it would count as closed.
        if was_shown and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
            return "escape"
        if code < 0:
            return ""
        return "escape" if code & 0xFF == 27 else chr(code & 0xFF).lower()

    def close(self) -> None:
        """Take the window away."""
        if cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 0:
            cv2.destroyWindow(self._title)
        cv2.waitKey(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class PreviewFile:
    """A picture file with the newest preview, always whole: other programs may read it at any time."""

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() not in SUFFIXES:
            raise WindowError(f"--preview {path}: expected a picture file ({', '.join(SUFFIXES)})")
        if not path.parent.is_dir():
            raise WindowError(f"--preview {path}: no such folder {path.parent}; make it first")
        self._path = path
        self._due_s = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time for another picture."""
        return time.monotonic() >= self._due_s

    def write(self, picture: np.ndarray) -> None:
        """Replace the file's picture."""
        self._due_s = time.monotonic() + FILE_INTERVAL_S
        _, data = cv2.imencode(self._path.suffix, picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        handle, name = tempfile.mkstemp(suffix=".part", prefix=f".{self._path.stem}-", dir=self._path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data.tobytes())
            os.chmod(name, 0o644)
            os.replace(name, self._path)
        except OSError as error:
            Path(name).unlink(missing_ok=True)
            raise WindowError(f"--preview {self._path}: cannot be written: {error.strerror}") from None
