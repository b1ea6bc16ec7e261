"""Which views of a board are worth keeping: sharp, still, and different from those there are already.

`ViewCollector` is fed pair by pair while a camera runs; `choose_views` picks from a whole recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from .boards import Board

# How much the parts of a view's description count: place in the picture, size, taper from tilt, foreshortening.
_WEIGHTS = np.array([1.0, 1.0, 0.7, 2.0, 2.0, 0.7])
# Views less different than this tell the fit nothing new.
MIN_DIFFERENCE = 0.12
# Motion of the corners from frame to frame, in a picture 640 px wide, below which cameras half a frame apart do no
# harm.
STILL_PX = 0.5
# Width of the edges between squares, px; beyond this the picture is blurred.
MAX_EDGE_PX = 6.0
REGIONS = 3

Answer = Literal["kept", "no board", "moving", "blurred", "seen before"]


@dataclass(frozen=True, slots=True)
class SeenPair:
    """One moment of both cameras. left_px, right_px: (N, 2) corners, None without board; edge_px: None if unknown."""

    left_px: np.ndarray | None
    right_px: np.ndarray | None
    left_edge_px: float | None = None
    right_edge_px: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A frame of a recording with the board in both views. motion_px: corner motion per frame at 640 px width."""

    frame: int
    description: np.ndarray
    motion_px: float


def edge_width_px(image: np.ndarray, corners_px: np.ndarray, board: Board) -> float:
    """How many pixels the edges between squares take to go from dark to bright; large when blurred."""
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    corners = corners_px.astype(np.float32).reshape(-1, 1, 2)
    measured, _ = cv2.estimateChessboardSharpness(grey, (board.columns, board.rows), corners)
    return float(np.asarray(measured)[0])


def describe_view(corners_px: np.ndarray, board: Board, size_px: tuple[int, int]) -> np.ndarray:
    """Where and how a picture shows the board, (6,): place, size, taper both ways, foreshortening, weighted alike."""
    grid = corners_px.reshape(board.rows, board.columns, 2)
    known = corners_px[np.isfinite(corners_px[:, 0])]
    place = known.mean(axis=0) / size_px
    outline = np.array([grid[0, 0], grid[0, -1], grid[-1, -1], grid[-1, 0]])
    if not np.isfinite(outline).all():  # a charuco board seen in part: its place is all there is to tell
        return _WEIGHTS * np.array([*place, 0, 0, 0, 0])
    top, right, bottom, left = np.linalg.norm(outline - np.roll(outline, -1, axis=0), axis=1)
    size = np.log(np.sqrt(cv2.contourArea(outline.astype(np.float32))) / size_px[0])
    taper = np.log(top / bottom), np.log(left / right)
    stretch = np.log((top + bottom) / (left + right) * (board.rows - 1) / (board.columns - 1))
    return _WEIGHTS * np.array([*place, size, *taper, stretch])


def motion_px(before: np.ndarray, now: np.ndarray, width_px: int) -> float:
    """Median motion of the corners as in a picture 640 px wide; infinite when none is in both."""
    distance = np.linalg.norm(now - before, axis=1)
    known = distance[np.isfinite(distance)]
    return float(np.median(known)) * 640 / width_px if known.size else np.inf


class ViewCollector:
    """Decides pair by pair, while cameras run, whether to keep what they see."""

    def __init__(self, board: Board, left_size_px: tuple[int, int], right_size_px: tuple[int, int]) -> None:
        self._board = board
        self._sizes = (left_size_px, right_size_px)
        self._before: SeenPair | None = None
        self._kept: list[np.ndarray] = []
        self._covered = [np.zeros((REGIONS, REGIONS), dtype=int) for _ in self._sizes]

    @property
    def count(self) -> int:
        """Pairs kept so far."""
        return len(self._kept)

    def offer(self, pair: SeenPair) -> Answer:
        """Look at one moment, in the order they happen; "kept" asks the caller to keep its pictures."""
        before, self._before = self._before, pair
        if pair.left_px is None or pair.right_px is None:
            return "no board"
        if before is None or before.left_px is None or before.right_px is None:
            return "moving"  # nothing to compare with yet
        moves = (
            motion_px(before.left_px, pair.left_px, self._sizes[0][0]),
            motion_px(before.right_px, pair.right_px, self._sizes[1][0]),
        )
        if max(moves) > STILL_PX:
            return "moving"
        if max(pair.left_edge_px or 0.0, pair.right_edge_px or 0.0) > MAX_EDGE_PX:
            return "blurred"
        description = _describe_pair(pair.left_px, pair.right_px, self._board, self._sizes)
        if self._kept and _difference(description, self._kept) < MIN_DIFFERENCE:
            return "seen before"
        self._kept.append(description)
        for covered, corners, size in zip(self._covered, (pair.left_px, pair.right_px), self._sizes, strict=True):
            known = corners[np.isfinite(corners[:, 0])]
            cells = np.clip((known / size * REGIONS).astype(int), 0, REGIONS - 1)
            np.add.at(covered, (cells[:, 1], cells[:, 0]), 1)
        return "kept"

    def missing(self) -> tuple[np.ndarray, np.ndarray]:
        """Thirds of the left and right picture without a corner so far, (REGIONS, REGIONS) bool each."""
        return self._covered[0] == 0, self._covered[1] == 0


def _describe_pair(
    left_px: np.ndarray, right_px: np.ndarray, board: Board, sizes: tuple[tuple[int, int], tuple[int, int]]
) -> np.ndarray:
    both = [describe_view(corners, board, size) for corners, size in zip((left_px, right_px), sizes, strict=True)]
    return np.concatenate(both) / np.sqrt(2)


def _difference(description: np.ndarray, others: Sequence[np.ndarray]) -> float:
    return float(np.linalg.norm(np.stack(others) - description, axis=1).min())


def make_candidate(
    frame: int,
    left_px: np.ndarray,
    right_px: np.ndarray,
    motion: float,
    board: Board,
    sizes: tuple[tuple[int, int], tuple[int, int]],
) -> Candidate:
    """Describe one frame of a recording."""
    return Candidate(frame, _describe_pair(left_px, right_px, board, sizes), motion)


def choose_views(candidates: Sequence[Candidate], wanted: int) -> list[int]:
    """Frames of the still views that differ most, at most `wanted`, in their order.

    Still is what moves less than `STILL_PX`; when fewer than `wanted` frames do, the stiller half of all counts.
    The stillest frame comes first, then always the one furthest from all chosen.
    """
    if not candidates:
        return []
    limit = max(STILL_PX, float(np.quantile([c.motion_px for c in candidates], min(1.0, 0.5))))
    still = [c for c in candidates if c.motion_px <= STILL_PX]
    pool = still if len(still) >= wanted else [c for c in candidates if c.motion_px <= limit]
    chosen = [min(pool, key=lambda c: (c.motion_px, c.frame))]
    descriptions = np.stack([c.description for c in pool])
    nearest = np.linalg.norm(descriptions - chosen[0].description, axis=1)
    while len(chosen) < wanted and nearest.max() >= MIN_DIFFERENCE:
        # Among nearly equally different views the stiller one.
        score = nearest - 0.1 * np.array([c.motion_px for c in pool])
        score[nearest < MIN_DIFFERENCE] = -np.inf
        chosen.append(pool[int(score.argmax())])
        nearest = np.minimum(nearest, np.linalg.norm(descriptions - chosen[-1].description, axis=1))
    return sorted(c.frame for c in chosen)
