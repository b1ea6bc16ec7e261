"""A board to print, at true size, as SVG or PDF, with a ruler and its settings on the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from .boards import MARKER_DICTIONARY, Board, BoardError
from .corners import charuco_board

# Paper sizes in mm, the short side first.
PAPERS: dict[str, tuple[float, float]] = {
    "a4": (210.0, 297.0), "letter": (215.9, 279.4), "a3": (297.0, 420.0), "a2": (420.0, 594.0), "a1": (594.0, 841.0),
    "a0": (841.0, 1189.0),
}  # fmt: skip
RULER_MM = 100.0
PAGE_MARGIN_MM = 8.0
TEXT_MM = 3.2
FOOTER_MM = 24.0
POINTS_PER_MM = 72 / 25.4


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A black rectangle on the page, mm from its top left corner."""

    x_mm: float
    y_mm: float
    width_mm: float
    height_mm: float


@dataclass(frozen=True, slots=True)
class Page:
    """What is drawn. size_mm: (width, height); board_mm: top left corner of the board; text: (x, baseline y, line)."""

    size_mm: tuple[float, float]
    board_mm: tuple[float, float]
    black: tuple[Rectangle, ...]
    text: tuple[tuple[float, float, str], ...]


def lay_out(board: Board, paper: str = "auto") -> Page:
    """Place the board, a 100 mm ruler and the settings on a page.

    paper: one of `PAPERS`, turned as the board needs it; "auto" for the smallest A size that holds it, else a page
    as large as necessary; "fit" for such a page in any case. Raises BoardError when the board is too large for the
    paper named.
    """
    width_mm, height_mm = (side * 1e3 for side in board.size_m)
    white_mm, needed = _white_mm(board), _needed_mm(board)
    if paper == "auto":
        paper = next((name for name in PAPERS if name != "letter" and _turned(name, needed)), "fit")
    size = needed if paper == "fit" else _paper_size(paper, needed, board)
    left = (size[0] - width_mm) / 2
    top = white_mm + (size[1] - needed[1]) / 2
    black = _board_rectangles(board, left, top)
    ruler_y = top + height_mm + white_mm + 2
    ruler_x = max(PAGE_MARGIN_MM, min(left, size[0] - RULER_MM - PAGE_MARGIN_MM))
    black += [Rectangle(ruler_x, ruler_y, RULER_MM, 0.25)]
    for tick in range(11):
        high = 2.4 if tick % 5 == 0 else 1.4
        black.append(Rectangle(ruler_x + tick * RULER_MM / 10 - 0.05, ruler_y - high, 0.1, high))
    lines = (
        "The line above is 100 mm long: measure it. If it is not, print again at 100 % (actual size, no fitting).",
        f"{board.describe()}" + (f", markers {MARKER_DICTIONARY}" if board.kind == "charuco" else ""),
        f"binopose calibrate LEFT RIGHT --board {board.columns}x{board.rows} --square-mm {board.square_m * 1e3:g}"
        + (" --kind charuco" if board.kind == "charuco" else ""),
    )
    text = tuple((ruler_x, ruler_y + 5.5 + k * TEXT_MM * 1.45, line) for k, line in enumerate(lines))
    return Page(size, (left, top), tuple(black), text)


def _white_mm(board: Board) -> float:
    """The finders need white around the outer squares."""
    return max(PAGE_MARGIN_MM, 0.4 * board.square_m * 1e3)


def _needed_mm(board: Board) -> tuple[float, float]:
    width_mm, height_mm = (side * 1e3 for side in board.size_m)
    white_mm = _white_mm(board)
    return max(width_mm, RULER_MM + 10) + 2 * white_mm, height_mm + 2 * white_mm + FOOTER_MM


def _turned(paper: str, needed: tuple[float, float]) -> tuple[float, float] | None:
    """The paper upright or on its side, whichever holds the needed size; as wide as the board is, where both do."""
    short, long = PAPERS[paper]
    ways = ((long, short), (short, long)) if needed[0] > needed[1] else ((short, long), (long, short))
    return next((way for way in ways if needed[0] <= way[0] and needed[1] <= way[1]), None)


def largest_square_mm(board: Board, paper: str) -> int:
    """The largest whole millimetre of square with which a board of as many squares fits the paper; 0 when none does."""
    return next((mm for mm in range(400, 0, -1) if _turned(paper, _needed_mm(replace(board, square_m=mm / 1e3)))), 0)


def _paper_size(paper: str, needed: tuple[float, float], board: Board) -> tuple[float, float]:
    if paper not in PAPERS:
        raise BoardError(f'paper: expected one of {", ".join(PAPERS)}, auto or fit, got "{paper}"')

    found = _turned(paper, needed)
    if found is None:
        larger = [name for name in PAPERS if _turned(name, needed)]
        advice = f"use --square-mm {largest_square_mm(board, paper)}, --paper fit" + (
            f" or --paper {larger[0]}" if larger else ""
        )
        raise BoardError(
            f"the {board.describe()} needs {needed[0]:.0f} x {needed[1]:.0f} mm with its white margin and ruler, "
            f"{paper} has {PAPERS[paper][0]:.0f} x {PAPERS[paper][1]:.0f} mm: {advice}"
        )
    return found


def _board_rectangles(board: Board, left_mm: float, top_mm: float) -> list[Rectangle]:
    side = board.square_m * 1e3
    squares = [
        Rectangle(left_mm + column * side, top_mm + row * side, side, side)
        for row in range(board.rows + 1)
        for column in range(board.columns + 1)
        if (row + column) % 2 == 0
    ]
    return squares if board.kind == "checkerboard" else squares + _marker_rectangles(board, left_mm, top_mm)


def _marker_rectangles(board: Board, left_mm: float, top_mm: float) -> list[Rectangle]:
    """The black modules of all markers, neighbours in a row joined so that no hairline shows between them."""
    described = charuco_board(board)
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, MARKER_DICTIONARY))
    modules = dictionary.markerSize + 2
    found = []
    for number, corners in zip(np.asarray(described.getIds()).ravel(), described.getObjPoints(), strict=True):
        x, y = np.asarray(corners).reshape(-1, 3).min(axis=0)[:2] * 1e3
        side = float(np.ptp(np.asarray(corners).reshape(-1, 3)[:, 0])) * 1e3 / modules
        image = cv2.aruco.generateImageMarker(dictionary, int(number), modules)
        for row, line in enumerate(image):
            edges = np.flatnonzero(np.diff(np.concatenate([[0], (line < 128).astype(int), [0]])))
            for start, end in zip(edges[::2], edges[1::2], strict=True):
                found.append(Rectangle(left_mm + x + start * side, top_mm + y + row * side, (end - start) * side, side))
    return found


def to_svg(page: Page) -> str:
    """The page as SVG with its size in millimetres."""
    width, height = page.size_mm
    path = "".join(
        f"M{r.x_mm:.4f} {r.y_mm:.4f}h{r.width_mm:.4f}v{r.height_mm:.4f}h{-r.width_mm:.4f}z" for r in page.black
    )
    text = "".join(
        f'<text x="{x:.2f}" y="{y:.2f}">{line.replace("&", "&amp;").replace("<", "&lt;")}</text>'
        for x, y, line in page.text
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}mm" height="{height:g}mm" '
        f'viewBox="0 0 {width:g} {height:g}">'
        f'<rect width="100%" height="100%" fill="#fff"/><path d="{path}" fill="#000"/>'
        f'<g font-family="Helvetica,Arial,sans-serif" font-size="{TEXT_MM}" fill="#000">{text}</g></svg>\n'
    )


def to_pdf(page: Page) -> bytes:
    """The page as a PDF of one page; the viewer is asked not to scale it when printing."""
    width, height = page.size_mm
    k = POINTS_PER_MM
    drawing = [
        f"{r.x_mm * k:.4f} {(height - r.y_mm - r.height_mm) * k:.4f} {r.width_mm * k:.4f} {r.height_mm * k:.4f} re"
        for r in page.black
    ]
    words = [
        f"BT /F1 {TEXT_MM * k:.3f} Tf {x * k:.3f} {(height - y) * k:.3f} Td ({_pdf_text(line)}) Tj ET"
        for x, y, line in page.text
    ]
    content = "\n".join(["0 g", *drawing, "f", *words]).encode("latin-1")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /ViewerPreferences << /PrintScaling /None >> >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width * k:.4f} {height * k:.4f}] /Contents 4 0 R "
            "/Resources << /Font << /F1 5 0 R >> >> >>"
        ).encode("latin-1"),
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    return _pdf_file(objects)


def _pdf_text(line: str) -> str:
    return line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def _pdf_file(objects: Sequence[bytes]) -> bytes:
    """Numbered objects with the cross-reference table PDF readers start from."""
    data, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(data)
    data += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for offset in offsets:
        data += b"%010d 00000 n \n" % offset
    data += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(data)
