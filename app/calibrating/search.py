"""The board in the newest pair of pictures, looked for beside the loop that shows them."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np

from ...calibration.boards import Board
from ...calibration.corners import find_corners_quickly
from ...calibration.view_choice import SeenPair, edge_width_px
from ..capture import CapturedPair

# Longest side of the pictures searched: checkerboard corners are good to about 0.1 px of the full picture of 1280, and
# it is quick. The markers of a charuco board get lost when made so small, and take no longer to find in larger ones.
SEARCH_PX = {"checkerboard": 640, "charuco": 1280}


@dataclass(frozen=True, slots=True)
class SearchedPair:
    """What both pictures of a moment show, corners in pixels of the full pictures. finished_s: of time.monotonic()."""

    captured: CapturedPair
    seen: SeenPair
    finished_s: float


def find_in_moving_picture(image: np.ndarray, board: Board) -> np.ndarray | None:
    """Corners (N, 2) in pixels of the picture, searched in a smaller one; NaN where hidden, None without board."""
    scale = min(1.0, SEARCH_PX[board.kind] / max(image.shape[:2]))
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    if scale < 1.0:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    corners = find_corners_quickly(grey, board)
    return None if corners is None else (corners + 0.5) / scale - 0.5


class PairSearch:
    """Looks at one pair at a time, a thread for each view; pairs that come meanwhile are the caller's to drop."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._pool = ThreadPoolExecutor(2, "corners")
        self._captured: CapturedPair | None = None
        self._views: list[Future[tuple[np.ndarray | None, float | None]]] = []

    @property
    def idle(self) -> bool:
        """Whether `start` may be called."""
        return self._captured is None

    def start(self, captured: CapturedPair) -> None:
        """Begin with a pair."""
        self._captured = captured
        self._views = [self._pool.submit(self._look, image) for image in (captured.pair.left, captured.pair.right)]

    def finished(self) -> SearchedPair | None:
        """What was found, once; None while searching or idle."""
        if self._captured is None or not all(view.done() for view in self._views):
            return None
        captured, self._captured = self._captured, None
        (left_px, left_edge_px), (right_px, right_edge_px) = (view.result() for view in self._views)
        return SearchedPair(captured, SeenPair(left_px, right_px, left_edge_px, right_edge_px), time.monotonic())

    def close(self) -> None:
        """Wait for the search under way and end."""
        self._pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _look(self, image: np.ndarray) -> tuple[np.ndarray | None, float | None]:
        corners_px = find_in_moving_picture(image, self._board)
        # The markers inside the squares of a charuco board upset the measure of sharpness.
        if corners_px is None or self._board.kind == "charuco":
            return corners_px, None
        return corners_px, edge_width_px(image, corners_px, self._board)
