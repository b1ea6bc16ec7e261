"""What the user sees in the terminal: lines, and progress of long work."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

QUIET_INTERVAL_S = 10.0


def print_line(text: str = "") -> None:
    """One line of the program's answer, to standard output."""
    print(text, flush=True)


def print_warning(text: str) -> None:
    """Something to worry about, to standard error."""
    sys.stderr.write(f"warning: {text}\n")


def print_error(text: str) -> None:
    """Why the program stops, to standard error."""
    sys.stderr.write(f"error: {text}\n")


class Progress:
    """Progress of long work, on standard error: a bar with rate and remaining time on a terminal, now and then a
    quiet line when piped."""

    def __init__(self, total: int | None, label: str, unit: str = "") -> None:
        self._total, self._label, self._unit = total, label, f" {unit}" if unit else ""
        self._done = 0
        self._started_s = self._spoken_s = time.monotonic()
        self._bar = tqdm(total=total, desc=label, unit=self._unit, dynamic_ncols=True) if sys.stderr.isatty() else None

    def update(self, steps: int = 1) -> None:
        """Count finished steps."""
        self._done += steps
        if self._bar is not None:
            self._bar.update(steps)
        elif time.monotonic() - self._spoken_s >= QUIET_INTERVAL_S:
            self._spoken_s = time.monotonic()
            sys.stderr.write(f"{self._label}: {self._report()}\n")

    def _report(self) -> str:
        elapsed_s = max(time.monotonic() - self._started_s, 1e-6)
        rate = self._done / elapsed_s
        text = f"{self._done}" + (f" of {self._total}" if self._total else "") + f"{self._unit}, {rate:.1f}/s"
        if self._total and self._done and self._done < self._total:
            text += f", {(self._total - self._done) / rate:.0f} s left"
        return text

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def progress(total: int | None, label: str, unit: str = "") -> Progress:
    """Open a progress display: `with progress(len(images), "corners", "images") as bar: bar.update()`.

    total: number of steps, None when it cannot be known.
    """
    return Progress(total, label, unit)
