"""`binopose video`: recorded stereo video to 3D poses."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from ...calibration.errors import UserError
from ...calibration.rectify import Rectifier
from ...calibration.rig_file import load_rig
from ...models.skeleton_file import SkeletonFileError
from ..bone_lengths import LOCK_AFTER_S, add_skeleton_options, check_skeleton_options, save_learnt
from ..console import print_line, print_warning
from ..factory import DenoiserChoice, engine_choice, open_denoiser, open_detector, open_profile
from ..live.raw_streams import RIG, is_recording
from ..live.recorded import RecordedStreams
from ..live.sync import SoftSync
from ..lookahead import DEFAULT_FRAMES
from ..pipeline import Pipeline
from ..processing import RunOptions, check_run, process_recording, report_lines
from ..recording import StereoRecording
from ..smoothing import DEFAULT_CUTOFF_HZ, LONGEST_GAP_S
from .common import add_detection_options, add_output_option, add_processing_options, add_profile_option

# Each frame that waits keeps two pictures in memory.
MAX_LOOKAHEAD = 120

DESCRIPTION = """\
Turn two recorded views of a person into 3D poses.

The views are paired frame by frame (by time stamp when their rates differ). A person detector finds the person, the
joints of both views are triangulated with the rig, refined, and written down together with a picture of everything.
"""

EPILOG = """\
examples:
  binopose video left.mp4 right.mp4 --rig rig.toml -o out
  binopose video both.mp4 --side-by-side --rig rig.toml -o out
  binopose video session1 -o out               a folder that `binopose live --record` wrote
  binopose video left.mp4 right.mp4 --rig rig.toml -o out --detector rtmpose-m.zip --no-overlay

in OUT:
  poses.npz     points_m (N,17,3), confidence, sigma_m, timestamp_s, frame; NaN means "no pose"; and on the way there
                raw_points_m (triangulated) and refined_points_m (before smoothing); marks: 1 left and right were put
                right, 2 joints were left out as outliers, 4 the person is back or another one, 8 gaps were filled
  poses.csv     the same as a table          poses.trc  for OpenSim (y up)
  overlay.mp4   what was found, drawn        summary.json  figures and warnings
  report/report.html   with --report: each step of the way measured, what looks wrong first
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
    parser.add_argument(
        "left", type=Path, metavar="LEFT", help="video of the left camera, or a folder of `binopose live --record`"
    )
    parser.add_argument("right", type=Path, metavar="RIGHT", nargs="?", help="video of the right camera")
    parser.add_argument(
        "--rig", type=Path, metavar="rig.toml", help="the calibrated rig (a live recording has its own)"
    )
    add_output_option(parser)
    parser.add_argument("--side-by-side", action="store_true", help="LEFT shows both views beside each other")
    add_detection_options(parser)
    add_profile_option(parser)
    parser.add_argument(
        "--smooth",
        type=smoothing_hz,
        default=argparse.SUPPRESS,
        metavar="HZ|off",
        help="cut-off of the smoothing over the whole recording, which adds no lag and closes gaps of up to "
        f"{LONGEST_GAP_S:g} s; lower is smoother; off: points_m is the refined pose of each frame by itself "
        f"(default: {DEFAULT_CUTOFF_HZ:g}; off for a live recording)",
    )
    parser.add_argument(
        "--lookahead",
        type=_frames,
        default=argparse.SUPPRESS,
        metavar="FRAMES",
        help="see so many frames ahead before deciding which side of the person is which; 0 decides at once "
        f"(default: {DEFAULT_FRAMES}; 0 for a live recording, so that the poses are those of the live program)",
    )
    parser.add_argument(
        "--report",
        action="store_true",
        help="write OUT/report/report.html as well: the poses before and after each step, measured, and what looks "
        "wrong (keeps 1 kB a frame in memory)",
    )
    add_skeleton_options(parser)
    add_processing_options(parser)
    parser.set_defaults(run=run)


def _frames(text: str) -> int:
    number = int(text)
    if not 0 <= number <= MAX_LOOKAHEAD:
        raise argparse.ArgumentTypeError(f"expected 0 to {MAX_LOOKAHEAD} frames, found {number}")
    return number


def smoothing_hz(text: str) -> float | None:
    """The value of --smooth: a cut-off in Hz, or None for "off"."""
    if text == "off":
        return None
    try:
        cutoff_hz = float(text)
    except ValueError:
        cutoff_hz = math.nan
    if not 0.1 <= cutoff_hz <= 100:
        raise argparse.ArgumentTypeError(f'expected 0.1 to 100 Hz or "off", found "{text}"')
    return cutoff_hz


def _rig_path(options: argparse.Namespace, live: bool) -> Path:
    """The rig to use. Raises UserError when it or a view is missing, or one too many is given."""
    if live:
        if options.side_by_side or options.right is not None:
            raise UserError(f"{options.left} holds both views of a live recording: leave RIGHT and --side-by-side out")
        return options.rig or options.left / RIG
    if options.side_by_side == (options.right is not None):
        raise UserError(
            "with --side-by-side give one video that holds both views"
            if options.side_by_side
            else "two videos are needed, LEFT and RIGHT; for one that holds both views add --side-by-side"
        )
    if options.rig is None:
        raise UserError("--rig is missing: the calibration of the cameras that took these videos")
    return options.rig


def run(options: argparse.Namespace) -> int:
    """Process the recording. Returns the exit code."""
    live = is_recording(options.left)
    rig = load_rig(_rig_path(options, live))
    with RecordedStreams(options.left) if live else StereoRecording(options.left, options.right) as recording:
        rig, notes = rig.adapted_to(recording.sizes_px)
        recording.warnings += notes
        rectifier = Rectifier(rig, None if options.rectify == "auto" else options.rectify)
        run_options = RunOptions(
            options.output,
            options.force,
            not options.no_overlay,
            options.world,
            getattr(options, "smooth", None if live else DEFAULT_CUTOFF_HZ),
            options.report,
            lookahead=getattr(options, "lookahead", 0 if live else DEFAULT_FRAMES),
        )
        check_run(rig, run_options)
        person = check_skeleton_options(options)
        engine = engine_choice(options.device, options.allow_inexact)
        detector = open_detector(options.detector, rectifier, engine)
        try:
            profile, notes = open_profile(options.profile, options.detector, rig)
            recording.warnings += notes
            choice = DenoiserChoice(
                options.denoiser,
                options.steps,
                options.hypotheses,
                person.lengths_m if person is not None else None,
                LOCK_AFTER_S if options.lock_skeleton else None,
            )
            denoiser = open_denoiser(choice, engine)
            if person is not None and person.detector != detector.name:
                recording.warnings.append(
                    f"{options.skeleton}: bone lengths between the joints of {person.detector or 'who knows what'} "
                    f"used with {detector.name}, which may place joints elsewhere"
                )
            pipeline = Pipeline(rectifier, detector, denoiser, SoftSync() if live else None, profile)
            report = process_recording(recording, rig, pipeline, run_options)
        finally:
            detector.close()
    if options.save_skeleton:
        try:
            save_learnt(options.save_skeleton, denoiser, detector.name)
        except SkeletonFileError as error:
            report.summary["warnings"].append(str(error))
            report.exit_code = report.exit_code or 3
    for line in report_lines(report):
        print_line(line)
    for warning in report.summary["warnings"]:
        print_warning(warning)
    return report.exit_code
