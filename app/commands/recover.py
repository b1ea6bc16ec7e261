"""`binopose recover`: the poses of a run that was killed."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..console import print_line
from ..outputs.npz_writer import recover_poses
from ..outputs.trc_writer import recover_trc


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "recover",
        help="finish poses.npz of a run that was killed",
        description="A run that ends by itself or by Ctrl-C leaves finished files. After a crash of the machine, or "
        "kill -9, poses.csv and overlay.mp4 can be read as they are; this finishes poses.npz and the header of "
        "poses.trc.",
    )
    parser.add_argument("output", type=Path, metavar="OUT", help="output folder of that run")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Recover the poses. Returns the exit code."""
    frames = recover_poses(options.output)
    print_line(f"{options.output / 'poses.npz'}: {frames} frames")
    print_line(f"{options.output / 'poses.trc'}: {recover_trc(options.output)} frames")
    return 0
