"""What several commands have in common."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...engines.denoiser import Denoiser
from ...engines.session import DEVICE_CHOICES
from ...models.trained import denoiser_files
from ..factory import AUTO, DETECTORS, OFF, DenoiserChoice, engine_choice, open_denoiser
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


def add_profile_option(parser: argparse.ArgumentParser) -> None:
    """What is known of the detector's errors."""
    parser.add_argument(
        "--profile",
        default=AUTO,
        metavar=f"FILE|{AUTO}|{OFF}",
        help="the detector's errors on this rig as `python -m binopose.tools.profile` has learnt them; "
        f"{AUTO}: the file beside the detector's weights if there is one (default: %(default)s)",
    )


def add_denoiser_option(parser: argparse.ArgumentParser) -> None:
    """What refines the triangulated pose."""
    parser.add_argument(
        "--denoiser",
        default=DenoiserChoice.name,
        metavar="NAME|FILE",
        help="dual-diffusion: the trained network on top of the person's own bone lengths; skeleton: these lengths "
        "alone; off: triangulation alone; or a denoiser of your own: .onnx, .engine, or .npz weights on torch "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--steps",
        type=int,
        choices=tuple(denoiser_files()),
        default=DenoiserChoice.steps,
        help="denoising steps of the network; each costs as much as the first (default: %(default)s)",
    )
    parser.add_argument(
        "--hypotheses",
        type=int,
        default=DenoiserChoice.hypotheses,
        metavar="N",
        help="run the network from N slightly different starts and take mean and spread, 1 to 32; costs nearly N times "
        "as much (default: %(default)s)",
    )


def denoiser_of(options: argparse.Namespace) -> Denoiser:
    """The denoiser that the options of a command ask for."""
    choice = DenoiserChoice(options.denoiser, options.steps, options.hypotheses)
    return open_denoiser(choice, engine_choice(options.device, options.allow_inexact))


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
