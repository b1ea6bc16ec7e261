"""`binopose rig`: look at a rig file, make one from another program's calibration."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from ...calibration.rig_file import load_rig, save_rig
from ...calibration.rig_import import METRES_PER_UNIT, import_rig
from ...calibration.summary import rig_summary
from ..console import print_line

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


def _show(options: argparse.Namespace) -> int:
    print_line(rig_summary(load_rig(options.rig)))
    return 0


def _import(options: argparse.Namespace) -> int:
    rig = import_rig(options.files, options.left, options.right, options.unit, options.size)
    save_rig(rig, options.output, options.force)
    print_line(rig_summary(rig))
    print_line(f"written: {options.output}")
    return 0
