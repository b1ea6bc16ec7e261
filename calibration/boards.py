"""Calibration boards: their corners in metres, and how far a picture of one tells which way round it is held."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .errors import UserError

BoardKind = Literal["checkerboard", "charuco"]

# OpenCV's finders need at least three corners each way; more than forty is a typing error.
MIN_CORNERS, MAX_CORNERS = 3, 40
MARKER_DICTIONARY = "DICT_5X5_250"
MARKER_TO_SQUARE = 0.75


class BoardError(UserError):
    """A board that cannot be described, printed or found."""


def parse_size(text: str) -> tuple[int, int]:
    """Inner corners (columns, rows) from "9x6"."""
    found = re.fullmatch(r"\s*(\d+)\s*[xX*]\s*(\d+)\s*", text)
    if not found:
        raise BoardError(f'board size: expected columns x rows of inner corners such as "9x6", got "{text}"')
    return int(found[1]), int(found[2])


@dataclass(frozen=True, slots=True)
class Board:
    """A flat board of squares.

    columns, rows: inner corners, where four squares meet (one less than the squares each way); square_m: side of a
    square; kind: "checkerboard", or "charuco" with a marker of `MARKER_DICTIONARY` in every white square.
    """

    columns: int
    rows: int
    square_m: float
    kind: BoardKind = "checkerboard"

    def __post_init__(self) -> None:
        for name, count in (("columns", self.columns), ("rows", self.rows)):
            if not MIN_CORNERS <= count <= MAX_CORNERS:
                raise BoardError(
                    f"board {self.columns}x{self.rows}: expected {MIN_CORNERS} to {MAX_CORNERS} {name} of inner "
                    "corners "
                    "(where four squares meet; one less than the squares), as in 9x6"
                )
        if not (np.isfinite(self.square_m) and self.square_m > 0):
            raise BoardError(f"square size: expected a length above zero, got {self.square_m * 1e3:g} mm")
        if self.kind not in ("checkerboard", "charuco"):
            raise BoardError(f'board kind: expected "checkerboard" or "charuco", got "{self.kind}"')

    @property
    def corners(self) -> int:
        """Number of inner corners."""
        return self.columns * self.rows

    @property
    def points_m(self) -> np.ndarray:
        """Inner corners on the board, row by row, (corners, 3), z = 0."""
        y, x = np.mgrid[: self.rows, : self.columns]
        return np.stack([x.ravel(), y.ravel(), np.zeros(self.corners)], axis=1) * self.square_m

    @property
    def size_m(self) -> tuple[float, float]:
        """Width and height of all squares together."""
        return (self.columns + 1) * self.square_m, (self.rows + 1) * self.square_m

    def turns(self) -> np.ndarray:
        """Corner orders that look the same: (turns, corners) indices, the first in its own order.

        A checkerboard turned by half a turn has its colours where they were when columns + rows is even, and a square
        one with even counts even by a quarter turn. Markers leave one order only.
        """
        grid = np.arange(self.corners).reshape(self.rows, self.columns)
        orders = [grid]
        if self.kind == "checkerboard" and (self.columns + self.rows) % 2 == 0:
            orders.append(np.rot90(grid, 2))
            if self.columns == self.rows and self.columns % 2 == 0:
                orders += [np.rot90(grid, 1), np.rot90(grid, 3)]
        return np.stack([order.ravel() for order in orders])

    @property
    def is_ambiguous(self) -> bool:
        """Whether a picture leaves open which way round the board is held."""
        return len(self.turns()) > 1

    def turned_colours(self) -> np.ndarray | None:
        """The rotation that exchanges black and white, (corners,) indices; None where no rotation does."""
        grid = np.arange(self.corners).reshape(self.rows, self.columns)
        if (self.columns + self.rows) % 2 == 1:
            return np.rot90(grid, 2).ravel()
        if self.columns == self.rows and self.columns % 2 == 1:
            return np.rot90(grid, 1).ravel()
        return None

    def describe(self) -> str:
        """One line for people."""
        return f"{self.kind} {self.columns}x{self.rows} inner corners, squares of {self.square_m * 1e3:g} mm"
