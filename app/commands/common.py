"""What several commands have in common."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...calibration.errors import UserError
from ...calibration.rig import Camera, RigError, StereoRig
from ..factory import DENOISERS
from ..settings import add_config_option


def add_processing_options(parser: argparse.ArgumentParser) -> None:
    """What `video` and `demo` have in common."""
    parser.add_argument(
        "--denoiser",
        choices=tuple(DENOISERS),
        default="skeleton",
        help="skeleton: pull the pose toward the person's own bone lengths; off: triangulation alone "
        "(default: %(default)s)",
    )
    parser.add_argument("--no-overlay", action="store_true", help="do not write overlay.mp4 (faster)")
    parser.add_argument("--world", action="store_true", help="poses in the rig's world frame, not the left camera's")
    parser.add_argument("--force", action="store_true", help="replace the results of an earlier run in the folder")
    parser.add_argument("--headless", action="store_true", help="open no window (this command opens none anyway)")
    add_config_option(parser)


def add_output_option(parser: argparse.ArgumentParser, default: Path | None = None) -> None:
    """The folder for the results."""
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=default is None,
        default=default,
        metavar="OUT",
        help="new or empty folder for poses.npz, poses.csv, poses.trc, overlay.mp4 and summary.json"
        + (f" (default: {default})" if default else ""),
    )


def adapted_rig(rig: StereoRig, sizes_px: tuple[tuple[int, int], tuple[int, int]]) -> tuple[StereoRig, list[str]]:
    """The rig for pictures of the sizes that the videos have, and what had to be assumed."""
    cameras: list[Camera] = []
    notes: list[str] = []
    for name, camera, size_px in zip(("left", "right"), (rig.left, rig.right), sizes_px, strict=True):
        try:
            adapted, note = camera.adapted_to(size_px)
        except RigError as error:
            raise UserError(f"the {name} view does not belong to this rig: {error}") from None
        cameras.append(adapted)
        notes += [f"{name} view: {note}"] * bool(note)
    left, right = cameras
    return StereoRig(left, right, rig.right_from_left, rig.world_from_left, rig.provenance), notes
