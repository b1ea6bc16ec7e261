"""`binopose board`: a calibration board to print."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ...calibration.board_print import PAPERS, largest_square_mm, lay_out, to_pdf, to_svg
from ...calibration.boards import Board, BoardError, parse_size
from ..console import print_line, print_warning
from ..outputs.files import replacing


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "board",
        help="write a printable calibration board at true size",
        description="Write a calibration board as PDF or SVG at true size, with a 100 mm ruler and its settings on it.",
    )
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE", help="board.pdf or board.svg")
    parser.add_argument(
        "--kind", choices=("checkerboard", "charuco"), default="checkerboard", help="default: checkerboard"
    )
    parser.add_argument("--board", default="9x6", metavar="CxR", help="inner corners, columns x rows (default: 9x6)")
    parser.add_argument(
        "--square-mm",
        type=float,
        metavar="MM",
        help="side of a square (default: the largest that fits the paper, or A4)",
    )
    parser.add_argument(
        "--paper",
        choices=(*PAPERS, "auto", "fit"),
        default="auto",
        help="default: auto, the smallest A size that holds the board; fit: a page just as large as needed",
    )
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the file."""
    columns, rows = parse_size(args.board)
    board = Board(columns, rows, (25.0 if args.square_mm is None else args.square_mm) / 1e3, args.kind)
    if args.square_mm is None:
        largest_mm = largest_square_mm(board, args.paper if args.paper in PAPERS else "a4")
        board = replace(board, square_m=max(largest_mm, 1) / 1e3)
    output: Path = args.output
    if output.suffix.lower() not in (".pdf", ".svg"):
        raise BoardError(f"{output}: expected a file name ending in .pdf or .svg")
    if output.exists() and not args.force:
        raise BoardError(f"{output} exists already; give another name or --force to overwrite it")
    page = lay_out(board, args.paper)
    data = to_pdf(page) if output.suffix.lower() == ".pdf" else to_svg(page).encode("utf-8")
    with replacing(output, "an earlier file of that name is unchanged") as file:
        file.write(data)
    if board.is_ambiguous:
        print_warning(
            f"a {columns}x{rows} board looks the same turned by half a turn (the counts are both even or both odd): "
            "the two cameras may number its corners in opposite order. Calibration puts that right as long as the "
            "pairs agree, but 9x6 or another board with one even and one odd count leaves no doubt"
        )
    print_line(f"{output}: {board.describe()}, page {page.size_mm[0]:.0f} x {page.size_mm[1]:.0f} mm")
    if args.paper == "auto" and min(page.size_mm) > PAPERS["a4"][0]:
        print_line(f"this needs more than A4 paper; with --square-mm {largest_square_mm(board, 'a4')} it fits A4")
    print_line("print at 100 % (actual size) and measure the ruler: it must be 100 mm")
    return 0
