"""Boards: which look the same turned round, and whether they are printed at true size."""

import re

import cv2
import numpy as np
import pytest
from binopose.calibration.board_print import largest_square_mm, lay_out, to_pdf, to_svg
from binopose.calibration.boards import Board, BoardError, parse_size
from binopose.calibration.corners import find_corners


def test_sizes_are_read_and_nonsense_is_refused() -> None:
    assert parse_size("9x6") == (9, 6)
    assert parse_size(" 11 X 8 ") == (11, 8)
    with pytest.raises(BoardError, match=r'such as "9x6", got "nine"'):
        parse_size("nine")
    with pytest.raises(BoardError, match="3 to 40 rows"):
        Board(9, 2, 0.025)
    with pytest.raises(BoardError, match="above zero, got -25 mm"):
        Board(9, 6, -0.025)


@pytest.mark.parametrize("size", [(9, 6), (8, 5), (6, 4), (7, 5), (5, 5), (6, 6), (4, 3)])
def test_orders_are_the_turns_that_leave_the_painted_squares_as_they_are(size: tuple[int, int]) -> None:
    columns, rows = size
    board = Board(columns, rows, 0.03)
    squares = np.add.outer(np.arange(rows + 1), np.arange(columns + 1)) % 2
    grid = np.arange(columns * rows).reshape(rows, columns)
    expected = {
        tuple(np.rot90(grid, turn).ravel())
        for turn in range(4)
        if np.rot90(squares, turn).shape == squares.shape and (np.rot90(squares, turn) == squares).all()
    }
    assert {tuple(order) for order in board.turns()} == expected
    assert tuple(board.turns()[0]) == tuple(grid.ravel())
    assert board.is_ambiguous == (len(expected) > 1)


def test_markers_leave_no_doubt() -> None:
    assert Board(6, 4, 0.04).is_ambiguous
    assert not Board(6, 4, 0.04, "charuco").is_ambiguous


def svg_rectangles(svg: str) -> np.ndarray:
    """Black rectangles of the page as (x, y, width, height), read from the file as a viewer would."""
    path = re.search(r'<path d="([^"]+)"', svg)
    assert path
    found = re.findall(r"M([\d.-]+) ([\d.-]+)h([\d.-]+)v([\d.-]+)h", path[1])
    return np.array(found, dtype=float)


def test_svg_is_at_true_size_with_a_ruler_of_100_mm() -> None:
    svg = to_svg(lay_out(Board(9, 6, 0.0225), "a3"))
    assert 'width="420mm" height="297mm" viewBox="0 0 420 297"' in svg
    rectangles = svg_rectangles(svg)
    squares = rectangles[np.isclose(rectangles[:, 2], 22.5) & np.isclose(rectangles[:, 3], 22.5)]
    assert len(squares) == 35  # half of 10 x 7
    right_edges, bottom_edges = squares[:, 0] + squares[:, 2], squares[:, 1] + squares[:, 3]
    assert right_edges.max() - squares[:, 0].min() == pytest.approx(10 * 22.5)
    assert bottom_edges.max() - squares[:, 1].min() == pytest.approx(7 * 22.5)
    assert (np.isclose(rectangles[:, 2], 100.0)).sum() == 1
    assert "--board 9x6 --square-mm 22.5" in svg
    assert squares[:, 0].min() > 0
    assert right_edges.max() < 420
    assert bottom_edges.max() < 297


def test_pdf_is_the_same_page_in_points() -> None:
    page = lay_out(Board(8, 5, 0.03), "a3")
    data = to_pdf(page)
    box = re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", data)
    assert box
    assert float(box[1]) == pytest.approx(420 / 25.4 * 72, abs=1e-3)
    assert float(box[2]) == pytest.approx(297 / 25.4 * 72, abs=1e-3)
    drawn = np.array(re.findall(rb"([\d.]+) ([\d.]+) ([\d.]+) ([\d.]+) re", data), dtype=float) / 72 * 25.4
    expected = svg_rectangles(to_svg(page))
    expected[:, 1] = 297 - expected[:, 1] - expected[:, 3]  # PDF counts from the bottom
    np.testing.assert_allclose(drawn, expected, atol=1e-3)
    for number, offset in enumerate(re.findall(rb"(\d{10}) 00000 n", data), start=1):
        assert data[int(offset) :].startswith(b"%d 0 obj" % number)


@pytest.mark.parametrize("kind", ["checkerboard", "charuco"])
def test_a_printed_page_is_found_where_it_was_drawn(kind: str) -> None:
    board = Board(7, 4, 0.03, kind)  # type: ignore[arg-type]
    page = lay_out(board)
    scale = 4.0  # px per mm
    picture = np.full((round(page.size_mm[1] * scale), round(page.size_mm[0] * scale)), 255, dtype=np.uint8)
    for x, y, width, height in svg_rectangles(to_svg(page)) * scale:
        picture[round(y) : round(y + height), round(x) : round(x + width)] = 0
    found = find_corners(cv2.GaussianBlur(picture, (0, 0), 1.2), board)
    assert found is not None
    expected = (board.points_m[:, :2] * 1e3 + 30 + page.board_mm) * scale - 0.5
    if kind == "checkerboard" and np.linalg.norm(found[0] - expected[0]) > 10:
        found = found[::-1]
    np.testing.assert_allclose(found, expected, atol=0.35)


def test_a_page_too_small_names_what_fits() -> None:
    board = Board(9, 6, 0.025)
    with pytest.raises(BoardError, match=r"a4 has 210 x 297 mm: use --square-mm (\d+).*--paper a3") as caught:
        lay_out(board, "a4")
    named = re.search(r"--square-mm (\d+)", str(caught.value))
    assert named
    fitting = int(named[1])
    assert fitting == largest_square_mm(board, "a4")
    assert lay_out(Board(9, 6, fitting / 1e3), "a4").size_mm == (297.0, 210.0)
    with pytest.raises(BoardError):
        lay_out(Board(9, 6, (fitting + 1) / 1e3), "a4")
