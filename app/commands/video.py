"""`binopose video`: recorded stereo video to 3D poses."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...calibration.errors import UserError
from ...calibration.rectify import Rectifier
from ...calibration.rig_file import load_rig
from ..console import print_line, print_warning
from ..factory import DETECTORS, open_denoiser, open_detector
from ..pipeline import Pipeline
from ..processing import RunOptions, check_run, process_recording, report_lines
from ..recording import StereoRecording
from .common import add_output_option, add_processing_options

DESCRIPTION = """\
Turn two recorded views of a person into 3D poses.

The views are paired frame by frame (by time stamp when their rates differ). A person detector finds the person, the
joints of both views are triangulated with the rig, refined, and written down together with a picture of everything.
"""

EPILOG = """\
examples:
  binopose video left.mp4 right.mp4 --rig rig.toml -o out
  binopose video both.mp4 --side-by-side --rig rig.toml -o out
  binopose video left.mp4 right.mp4 --rig rig.toml -o out --detector rtmpose-m.zip --no-overlay

in OUT:
  poses.npz     points_m (N,17,3), raw_points_m, confidence, sigma_m, timestamp_s, frame; NaN means "no pose"
  poses.csv     the same as a table          poses.trc  for OpenSim (y up)
  overlay.mp4   what was found, drawn        summary.json  figures and warnings
Joints with confidence 0 were observed by nobody; their place is inferred from the rest of the body.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "video",
        help="recorded stereo video to 3D poses",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("left", type=Path, metavar="LEFT", help="video of the left camera")
    parser.add_argument("right", type=Path, metavar="RIGHT", nargs="?", help="video of the right camera")
    parser.add_argument("--rig", type=Path, required=True, metavar="rig.toml", help="the calibrated rig")
    add_output_option(parser)
    parser.add_argument("--side-by-side", action="store_true", help="LEFT shows both views beside each other")
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
    add_processing_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Process the recording. Returns the exit code."""
    if options.side_by_side == (options.right is not None):
        raise UserError(
            "with --side-by-side give one video that holds both views"
            if options.side_by_side
            else "two videos are needed, LEFT and RIGHT; for one that holds both views add --side-by-side"
        )
    rig = load_rig(options.rig)
    with StereoRecording(options.left, options.right) as recording:
        rig, notes = rig.adapted_to(recording.sizes_px)
        recording.warnings += notes
        rectifier = Rectifier(rig, None if options.rectify == "auto" else options.rectify)
        run_options = RunOptions(options.output, options.force, not options.no_overlay, options.world)
        check_run(rig, run_options)
        detector = open_detector(options.detector, rectifier)
        try:
            pipeline = Pipeline(rectifier, detector, open_denoiser(options.denoiser))
            report = process_recording(recording, rig, pipeline, run_options)
        finally:
            detector.close()
    for line in report_lines(report):
        print_line(line)
    for warning in report.summary["warnings"]:
        print_warning(warning)
    return report.exit_code
