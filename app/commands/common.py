"""What several commands have in common."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...engines.session import DEVICE_CHOICES
from ..factory import DENOISERS, DETECTORS
from ..settings import add_config_option

# A calibration that was made or checked and is not to be used.
EXIT_REFUSED = 4


def add_processing_options(parser: argparse.ArgumentParser) -> None:
    """What `video` and `demo` have in common."""
    add_denoiser_option(parser)
    add_engine_options(parser)
    parser.add_argument("--no-overlay", action="store_true", help="do not write overlay.mp4 (faster)")
    parser.add_argument("--world", action="store_true", help="poses in the rig's world frame, not the left camera's")
    parser.add_argument("--force", action="store_true", help="replace the results of an earlier run in the folder")
    parser.add_argument("--headless", action="store_true", help="open no window (this command opens none anyway)")
    add_config_option(parser)


def add_detection_options(parser: argparse.ArgumentParser) -> None:
    """How people are found in pictures."""
    parser.add_argument(
        "--detector",
        default="blazepose",
        metavar="NAME|FILE",
        help=f"{', '.join(DETECTORS)}, or an RTMPose model: an .onnx file or an OpenMMLab SDK .zip "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--rectify",
        choices=("auto", "images", "points"),
        default="auto",
        help="rectify the pictures before, or the joints after detection; auto decides by the rig (default: auto)",
    )


def add_denoiser_option(parser: argparse.ArgumentParser) -> None:
    """What refines the triangulated pose."""
    parser.add_argument(
        "--denoiser",
        choices=tuple(DENOISERS),
        default="skeleton",
        help="skeleton: pull the pose toward the person's own bone lengths; off: triangulation alone "
        "(default: %(default)s)",
    )


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Where networks run."""
    parser.add_argument(
        "--device",
        choices=DEVICE_CHOICES,
        default="auto",
        help="where ONNX networks run; auto takes the first of tensorrt, cuda and cpu that really works, any other is "
        "used or refused with the reason; see `binopose engines` (default: %(default)s)",
    )
    parser.add_argument(
        "--allow-inexact",
        action="store_true",
        help="use a device even when its answers differ from those stored in the model file by more than 1 mm or 1 px",
    )


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
