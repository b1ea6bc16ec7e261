"""Where the preview goes: a window, or a picture file that is replaced again and again."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from ...calibration.errors import UserError

PROBE_TIMEOUT_S = 30.0
FILE_INTERVAL_S = 0.5
SUFFIXES = (".png", ".jpg", ".jpeg")


class WindowError(UserError):
    """A window or preview that cannot be had."""


def check_display() -> None:
    """Raise WindowError when no window can be opened here.

    Qt ends the whole process when there is no display, so another process tries first.
    """
    advice = "add --headless, with --preview FILE.png to see the picture all the same"
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
    """A window with keys."""

    def __init__(self, title: str) -> None:
        """Raises WindowError where no window can be opened."""
        check_display()
        self._title = title
        self._shown = False
        # Without Qt's tool bar, and scaled with its shape kept.
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)

    def show(self, picture: np.ndarray) -> str:
        """Show a picture (H, W, 3) and return the key pressed since: "" for none, "escape" also for a closed window."""
        if not self._shown:
            cv2.resizeWindow(self._title, picture.shape[1], picture.shape[0])
        cv2.imshow(self._title, picture)
        code = cv2.waitKey(1)
        # The window becomes visible while keys are waited for; asked before, it would count as closed.
        if self._shown and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
            return "escape"
        self._shown = True
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
