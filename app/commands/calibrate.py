"""`binopose calibrate`: board pictures, videos or the running pictures of two cameras to a rig file."""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from datetime import date
from importlib.metadata import version
from pathlib import Path

from ...calibration.boards import Board, parse_size
from ...calibration.from_pictures import Calibration, calibrate
from ...calibration.lens import LENS_TERMS
from ...calibration.pictures import PicturesError, PictureSet, gather, list_pictures
from ...calibration.report import write_report
from ...calibration.rig import StereoRig
from ...calibration.rig_file import save_rig
from ...calibration.video_pairs import DEFAULT_PAIRS, is_video, pick_pairs
from ..calibrating import PictureFolder, SessionOptions, capture_guided
from ..capture import CameraOptions, open_stereo
from ..capture.options import parse_size as parse_camera_size
from ..console import Progress, print_line, print_warning, progress
from ..window import PreviewFile, Window
from .common import EXIT_REFUSED

# Leftovers named one by one in the terminal; the report has them all.
NAMED = 8
NO_WINDOW = "add --headless, with --preview FILE.png to see the picture all the same"
# A guided capture ends here at the latest; more pairs would hardly add anything.
MOST_LIVE_PAIRS = 40


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "calibrate",
        help="calibrate two cameras from pictures or videos of a board, or live",
        description="Work out both cameras and where they stand from pictures of a board, and say whether to believe "
        "the result. Exit code 0: a rig file was written; 4: the calibration was refused.",
    )
    parser.add_argument(
        "left",
        metavar="LEFT",
        help="folder, pattern in quotes, or video of the left camera; with --live a device number, an address or a "
        "video played in real time",
    )
    parser.add_argument("right", metavar="RIGHT", nargs="?", help="the same of the right camera")
    parser.add_argument("--board", required=True, metavar="CxR", help="inner corners, columns x rows, such as 9x6")
    parser.add_argument(
        "--square-mm", required=True, type=float, metavar="MM", help="side of a square, measured on the board"
    )
    parser.add_argument(
        "--kind", choices=("checkerboard", "charuco"), default="checkerboard", help="default: checkerboard"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("rig.toml"), metavar="RIG", help="default: rig.toml")
    parser.add_argument("--report", type=Path, metavar="DIR", help="write report.html and report.json into this folder")
    for side in ("left", "right"):
        parser.add_argument(
            f"--{side}-extra",
            nargs="+",
            default=[],
            metavar="GLOB",
            help=f"pictures of the {side} camera alone, for its lens",
        )
    parser.add_argument(
        "--lens", choices=("auto", *LENS_TERMS), default="auto", help="lens model; default: auto, by evidence"
    )
    parser.add_argument(
        "--pairs",
        type=int,
        metavar="N",
        help=f"pairs to pick from videos (default: {DEFAULT_PAIRS}), or after which --live ends in any case (default: "
        f"{MOST_LIVE_PAIRS})",
    )
    parser.add_argument("--confirm-size", action="store_true", help="accept a board or rig of unusual size")
    parser.add_argument("--force", action="store_true", help="overwrite the rig file, and write it even when refused")
    _add_live_options(parser)
    parser.set_defaults(run=run)


def _add_live_options(parser: argparse.ArgumentParser) -> None:
    live = parser.add_argument_group(
        "live", "Guided capture: shows what is missing and takes a pair whenever the board rests in a new position."
    )
    live.add_argument("--live", action="store_true", help="LEFT and RIGHT are running cameras")
    live.add_argument("--side-by-side", action="store_true", help="LEFT is one camera that shows both views")
    live.add_argument(
        "--camera-size", metavar="WxH", help="picture size to ask the cameras for, such as 1280x720 (per view)"
    )
    live.add_argument("--headless", action="store_true", help="open no window")
    live.add_argument("--preview", type=Path, metavar="FILE.png", help="replace this picture twice a second")


def run(args: argparse.Namespace) -> int:
    """Calibrate; 0 when a rig that can be used was written, 4 when it was refused."""
    columns, rows = parse_size(args.board)
    board = Board(columns, rows, args.square_mm / 1e3, args.kind)
    if args.output.exists() and not args.force:
        raise PicturesError(f"{args.output} exists already; give another name with -o, or --force to overwrite it")
    if not args.output.parent.is_dir():
        raise PicturesError(f"{args.output}: no such folder {args.output.parent}; make it or give another name with -o")
    if args.pairs is not None and args.pairs < 6:
        raise PicturesError(f"--pairs: expected at least 6, got {args.pairs}")
    if args.live:
        return _run_live(args, board)
    if args.side_by_side or args.camera_size or args.preview:
        raise PicturesError("--side-by-side, --camera-size and --preview belong to a guided capture: add --live")
    if args.right is None:
        raise PicturesError("RIGHT is missing: give the pictures of both cameras, or --live for running cameras")
    if is_video(args.left) or is_video(args.right):
        if args.report is not None:
            return _run_on_videos(args, board, args.report / "pictures")
        with tempfile.TemporaryDirectory() as folder:
            return _run_on_videos(args, board, Path(folder))
    return _run_on_pictures(args, board, gather(args.left, args.right, args.left_extra, args.right_extra))


def _run_on_videos(args: argparse.Namespace, board: Board, folder: Path) -> int:
    if not (is_video(args.left) and is_video(args.right)):
        raise PicturesError(
            f"LEFT and RIGHT: expected two videos or two sets of pictures, got {args.left} and {args.right}"
        )
    bars: list[Progress] = []

    def moment_seen(total: int) -> None:
        # The total is known only once both videos are open.
        if not bars:
            bars.append(progress(total, "looking for the board", "moments").__enter__())
        bars[0].update()

    try:
        pictures = pick_pairs(
            Path(args.left), Path(args.right), board, folder, args.pairs or DEFAULT_PAIRS, moment_seen
        )
    finally:
        for bar in bars:
            bar.__exit__(None, None, None)
    print_line(f"picked {len(pictures.pairs)} pairs from the videos")
    extra = _gather_extra(args)
    return _run_on_pictures(args, board, PictureSet(pictures.pairs, *extra))


def _run_live(args: argparse.Namespace, board: Board) -> int:
    """Guided capture, then the same as for pictures on files."""
    if args.side_by_side == (args.right is not None):
        raise PicturesError(
            "with --side-by-side give one camera that shows both views"
            if args.side_by_side
            else "two cameras are needed, LEFT and RIGHT; for one that shows both views add --side-by-side"
        )
    camera_options = CameraOptions(size_px=_camera_size(args.camera_size, args.side_by_side))
    preview = PreviewFile(args.preview) if args.preview is not None else None
    extra = _gather_extra(args)
    with ExitStack() as stack:
        window = None if args.headless else stack.enter_context(Window("binopose calibrate", NO_WINDOW))
        capture = stack.enter_context(open_stereo(args.left, args.right, camera_options))
        # Temporary pictures stay too: what went wrong can be looked into, and nobody has to hold up a board twice.
        folder = PictureFolder(
            args.report / "pictures"
            if args.report is not None
            else Path(tempfile.mkdtemp(prefix="binopose-calibration-"))
        )
        print_line(f"pictures are written to {folder.path}")
        lens = None if args.lens == "auto" else args.lens
        options = SessionOptions(args.pairs or MOST_LIVE_PAIRS, lens, args.confirm_size)
        pairs = capture_guided(capture, board, folder, options, print_line, window, preview)
    return _run_on_pictures(args, board, PictureSet(pairs, *extra))


def _camera_size(text: str | None, side_by_side: bool) -> tuple[int, int] | None:
    """Width and height to ask a camera for, both views together."""
    if text is None:
        return None
    width, height = parse_camera_size(text, "--camera-size")
    return width * (2 if side_by_side else 1), height


def _gather_extra(args: argparse.Namespace) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Pictures of one camera alone that go with a pair of videos."""
    left, right = (
        tuple(path for source in sources for path in list_pictures(source, option))
        for sources, option in ((args.left_extra, "--left-extra"), (args.right_extra, "--right-extra"))
    )
    return left, right


def _run_on_pictures(args: argparse.Namespace, board: Board, pictures: PictureSet) -> int:
    total = 2 * len(pictures.pairs) + len(pictures.left_extra) + len(pictures.right_extra)
    with progress(total, "finding corners", "pictures") as bar:
        result = calibrate(pictures, board, None if args.lens == "auto" else args.lens, args.confirm_size, bar.update)
    _print_result(result)
    if args.report is not None:
        print_line(f"report: {write_report(result, args.report)}")
    refused = result.judgement.verdict == "refused"
    if result.rig is None or (refused and not args.force):
        print_line("no rig file written" + ("" if result.rig is None else " (--force writes it all the same)"))
        return EXIT_REFUSED
    save_rig(_with_provenance(result.rig, result), args.output, overwrite=args.force)
    print_line(f"rig: {args.output}")
    return EXIT_REFUSED if refused else 0


def _print_result(result: Calibration) -> None:
    measures, judgement = result.measures, result.judgement
    if measures is not None and result.found is not None:
        print_line(
            f"{int(result.found.used.sum())} of {len(result.pairs)} pairs used, corners {measures.stereo_rms_px:.3f} "
            "px off (RMS), "
            f"epipolar {measures.epipolar_mean_px:.3f} px (mean)"
        )
        print_line(
            f"baseline {measures.baseline_m * 1e3:.2f} +- {measures.uncertainty.baseline_m * 1e3:.2f} mm, lenses "
            f"{result.found.robust.fit.lenses[0]} and {result.found.robust.fit.lenses[1]}"
        )
    for name in result.reversed_files:
        print_line(f"corner order turned by half a turn: {name}")
    for item in result.left_out[:NAMED]:
        print_warning(f"left out: {item.file}: {item.why}")
    if len(result.left_out) > NAMED:
        print_warning(f"left out: {len(result.left_out) - NAMED} more, see the report")
    print_line(f"verdict: {judgement.verdict}")
    for reason in judgement.reasons:
        print_line(f"  - {reason.sentence()}")


def _with_provenance(rig: StereoRig, result: Calibration) -> StereoRig:
    """The rig with how it came about."""
    measures, found = result.measures, result.found
    assert found is not None
    facts: dict[str, object] = {
        "program": f"binopose {version('binopose')}",
        "date": date.today().isoformat(),
        "board": result.board.describe(),
        "verdict": result.judgement.verdict,
        "pairs_used": int(found.used.sum()),
        "lenses": list(found.robust.fit.lenses),
    }
    if measures is not None:
        facts |= {
            "stereo_rms_px": round(measures.stereo_rms_px, 4),
            "epipolar_mean_px": round(measures.epipolar_mean_px, 4),
            "baseline_sd_m": round(measures.uncertainty.baseline_m, 7),
        }
    return StereoRig(rig.left, rig.right, rig.right_from_left, rig.world_from_left, facts)
