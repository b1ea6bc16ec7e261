"""`binopose models list` and `binopose models fetch`: the detectors' weights."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...models.weights import REGISTRY, WeightsEntry, entry_named, status
from ..console import print_line
from ..weights_cache import fetch_with_progress, user_cache_dir


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `models` with the program's command line."""
    parser = subparsers.add_parser("models", help="detector weights: list them, fetch them")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="what there is and where it lies")
    fetch_parser = actions.add_parser("fetch", help="put weights into the cache")
    fetch_parser.add_argument("name", metavar="NAME", help=f"one of: {', '.join(REGISTRY)}")
    fetch_parser.add_argument(
        "--from", dest="from_path", metavar="FILE", type=Path, help="a wheel, archive, network or folder you have"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry the command out; returns the exit code."""
    cache_dir = user_cache_dir()
    if args.action == "list":
        for entry in REGISTRY.values():
            print_line(describe(entry, cache_dir))
        return 0
    fetch_with_progress(entry_named(args.name), cache_dir, args.from_path)
    return 0


def describe(entry: WeightsEntry, cache_dir: Path) -> str:
    """One line about an entry: joints, licence, and where it lies or what is wrong with it."""
    found = status(entry, cache_dir)
    place = str(found.folder) if found.state == "present" else found.state
    if found.state == "damaged":
        place += f" ({found.problem}); fetch it again"
    unpinned = " (no published checksum)" if any(file.sha256 is None for file in entry.files) else ""
    return f"{entry.name:18} {len(entry.skeleton):2} joints  {entry.licence}  {place}  - {entry.summary}{unpinned}"
