"""`binopose rig`: look at a rig file, make one from another program's calibration, check one against people."""

from __future__ import annotations

import argparse
import re
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from ...calibration.errors import UserError
from ...calibration.people import MAX_BEHIND, PeopleTrack, check_rig, refine_rig
from ...calibration.preview import rectified_preview
from ...calibration.rectify import Rectifier
from ...calibration.rig import StereoRig
from ...calibration.rig_file import load_rig, save_rig
from ...calibration.rig_import import METRES_PER_UNIT, import_rig
from ...calibration.summary import rig_summary
from ...models.skeleton import BODY17
from ..console import print_line, print_warning, progress
from ..factory import open_detector
from ..outputs.files import replacing, write_json
from ..recording import StereoRecording
from .common import EXIT_REFUSED

# Joints less sure than this in either view say nothing about a rig.
MIN_CONFIDENCE = 0.5
# A refinement that takes off less than this share of the row difference is not worth a new rig.
MIN_REFINE_GAIN = 0.1

IMPORT_EPILOG = """\
reads:
  OpenCV .yml .yaml .xml (one file, or intrinsics and extrinsics: name both; add --unit, and --size if it asks)
  Qualisys .qca.txt, cameras.json (millimetres)
  aniposelib, Caliscope, FreeMoCap, Pose2Sim .toml (add --unit)
  a bodypose3d camera_parameters folder (add --unit and --size)

examples:
  binopose rig import Calib.qca.txt --left cam01 --right cam02 -o rig.toml
  binopose rig import intrinsics.yml extrinsics.yml --unit m --size 640x480 -o rig.toml
"""


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)[xX](\d+)", text)
    if not found:
        raise argparse.ArgumentTypeError(f'expected WIDTHxHEIGHT such as 1280x720, found "{text}"')
    return int(found[1]), int(found[2])


def _unit(text: str) -> float:
    if text in METRES_PER_UNIT:
        return METRES_PER_UNIT[text]
    try:
        metres = float(text)
    except ValueError:
        metres = 0.0
    if not 0 < metres < float("inf"):
        raise argparse.ArgumentTypeError(f'expected m, cm, mm or a length in metres, found "{text}"')
    return metres


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = subparsers.add_parser("rig", help="show or import a calibrated rig", description=__doc__)
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    show = actions.add_parser("show", help="print what a rig file says, in words that can be checked against the room")
    show.add_argument("rig", type=Path, metavar="RIG", help="rig file")
    show.add_argument(
        "--images",
        type=Path,
        nargs=2,
        metavar=("LEFT", "RIGHT"),
        help="a picture of each camera: write them rectified, with lines on which both must show the same things",
    )
    show.add_argument(
        "-o", "--output", type=Path, default=Path("preview.png"), metavar="PNG", help="(default: %(default)s)"
    )
    show.add_argument("--force", action="store_true", help="replace an existing PNG")
    show.set_defaults(run=_show)

    importer = actions.add_parser(
        "import",
        help="make a rig file from another program's calibration",
        epilog=IMPORT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    importer.add_argument("files", type=Path, nargs="+", metavar="FILE", help="calibration of another program")
    importer.add_argument("-o", "--output", type=Path, required=True, metavar="rig.toml", help="rig file to write")
    importer.add_argument("--left", metavar="NAME", help="name of the left camera in the file")
    importer.add_argument("--right", metavar="NAME", help="name of the right camera in the file")
    importer.add_argument(
        "--unit", type=_unit, metavar="UNIT", help="the file's unit of length: m, cm, mm, or its length in metres"
    )
    importer.add_argument("--size", type=_size, metavar="WxH", help="picture size in pixels, if the file lacks it")
    importer.add_argument("--force", action="store_true", help="replace an existing rig file")
    importer.set_defaults(run=_import)

    check = actions.add_parser(
        "check",
        help="does a rig fit a recording of people?",
        description="Judge a rig by somebody who moves in both views of a recording: joints of both views must lie in "
        "the same rows once rectified. Tells a calibration that does not fit from views that are not synchronised. It "
        "cannot tell the length of the baseline. Exit code 0: good or usable; 4: the rig does not fit.",
    )
    check.add_argument("rig", type=Path, metavar="RIG", help="rig file")
    check.add_argument("left", type=Path, metavar="LEFT", help="video of the left camera")
    check.add_argument("right", type=Path, metavar="RIGHT", help="video of the right camera")
    check.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    check.add_argument(
        "--refine",
        type=Path,
        metavar="NEW.toml",
        help="write a rig with the right camera turned so that the views agree (baseline length kept), if that helps",
    )
    check.add_argument("--detector", default="blazepose", metavar="NAME|FILE", help="(default: %(default)s)")
    check.add_argument("--force", action="store_true", help="replace an existing NEW.toml")
    check.set_defaults(run=_check)


def _picture(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    if image is None:
        raise UserError(f"{path}: " + ("cannot be read as a picture" if path.is_file() else "no such file"))
    return image


def _show(options: argparse.Namespace) -> int:
    rig = load_rig(options.rig)
    print_line(rig_summary(rig))
    if options.images is not None:
        _check_new(options.output, options.force)
        left, right = (_picture(path) for path in options.images)
        rig, notes = rig.adapted_to(((left.shape[1], left.shape[0]), (right.shape[1], right.shape[0])))
        for note in notes:
            print_warning(note)
        encoded = cv2.imencode(".png", rectified_preview(rig, left, right))[1].tobytes()
        with replacing(options.output, "an earlier file of that name is unchanged") as file:
            file.write(encoded)
        print_line(f"written: {options.output}")
    return 0


def _people(recording: StereoRecording, rig: StereoRig, detector_name: str) -> PeopleTrack:
    """Where the joints of the person are in the pictures as recorded, pair by pair."""
    rectifier = Rectifier(rig)
    detector = open_detector(detector_name, rectifier)
    stamps_s, points_px = [], []
    try:
        with progress(recording.frames, "looking for people", "pairs") as bar:
            for pair in recording:
                left, right = detector.detect(*rectifier.images(pair.left, pair.right), pair.timestamp_s)
                bar.update()
                if left is None or right is None:
                    continue
                left, right = left.to_skeleton(BODY17), right.to_skeleton(BODY17)
                both_px = np.stack([rectifier.recorded_px(view, p.points_px) for view, p in enumerate((left, right))])
                both_px[:, np.minimum(left.confidence, right.confidence) < MIN_CONFIDENCE] = np.nan
                stamps_s.append(pair.timestamp_s)
                points_px.append(both_px)
    finally:
        detector.close()
    return PeopleTrack(np.array(stamps_s), np.array(points_px).reshape(-1, 2, len(BODY17), 2))


def _check_new(path: Path, force: bool) -> None:
    """Whether a file can be written, asked before the work."""
    if path.exists() and not force:
        raise UserError(f"{path}: exists already; use --force to replace it")
    if not path.parent.is_dir():
        raise UserError(f"{path}: no such folder {path.parent}; make it or choose another")


def _check(options: argparse.Namespace) -> int:
    if options.json is not None:
        _check_new(options.json, force=True)
    if options.refine is not None:
        _check_new(options.refine, options.force)
    with StereoRecording(options.left, options.right) as recording:
        rig, notes = load_rig(options.rig).adapted_to(recording.sizes_px)
        track = _people(recording, rig, options.detector)
        warnings = [*recording.warnings, *notes]
    found = check_rig(rig, track)
    figures = {key: value for key, value in asdict(found).items() if key != "series"} | {
        "warnings": warnings,
        "series": {"timestamp_s": found.series[:, 0], "median_row_difference_px": found.series[:, 1]},
    }
    for warning in warnings:
        print_warning(warning)
    print_line(f"verdict: {found.verdict} ({found.pairs} pairs with a person in both views)")
    for reason in found.reasons:
        print_line(f"  {reason}")
    print_line(f"  bias {found.bias_px:+.1f} px, noise {found.noise_px:.1f} px, drift {found.trend_px_per_s:+.2f} px/s")
    if options.refine is not None and found.behind > MAX_BEHIND:
        print_warning(f"exchanged views cannot be refined: {options.refine} was not written")
    elif options.refine is not None:
        figures["refined"] = _refine(rig, track, options.refine, options.force)
    if options.json is not None:
        write_json(options.json, figures)
    return EXIT_REFUSED if found.verdict == "refused" else 0


def _refine(rig: StereoRig, track: PeopleTrack, output: Path, force: bool) -> dict[str, object]:
    refinement = refine_rig(rig, track)
    turn_deg = np.rad2deg(refinement.rotation_rad)
    helps = refinement.after_px < (1 - MIN_REFINE_GAIN) * refinement.before_px
    print_line(
        f"refined: right camera turned by {turn_deg[0]:+.2f}, {turn_deg[1]:+.2f}, {turn_deg[2]:+.2f} degrees, its "
        f"principal row moved by {refinement.row_px:+.1f} px; row difference on frames not used: "
        f"{refinement.before_px:.1f} px before, {refinement.after_px:.1f} px after"
    )
    if helps:
        save_rig(refinement.rig, output, force)
        print_line(f"written: {output}; a calibration with a board is better")
    else:
        print_warning(f"that is no clear gain: {output} was not written")
    return {
        "rotation_deg": turn_deg,
        "principal_row_px": refinement.row_px,
        "before_px": refinement.before_px,
        "after_px": refinement.after_px,
        "written": helps,
    }


def _import(options: argparse.Namespace) -> int:
    rig = import_rig(options.files, options.left, options.right, options.unit, options.size)
    save_rig(rig, options.output, options.force)
    print_line(rig_summary(rig))
    print_line(f"written: {options.output}")
    return 0
