"""Which pairs are kept, and their pictures on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from ...calibration.boards import Board
from ...calibration.pictures import PicturePair, PicturesError
from ...calibration.view_choice import Answer, SeenPair, ViewCollector, motion_px
from ..frames import FramePair
from .search import SearchedPair

# How far the board may move between the two exposures of a pair, px in a picture 640 px wide: a third of what corners
# are usually off.
MAX_SKEW_MOTION_PX = 0.15
# Quick to write; PNG keeps every pixel at any level.
PNG_LEVEL = 1

Outcome = Answer | Literal["out of step"]


@dataclass(frozen=True, slots=True)
class KeptPair:
    """A pair that counts. number: from 1, never used twice; seen: corners in pixels of the full pictures."""

    number: int
    files: PicturePair
    seen: SeenPair


class PictureFolder:
    """Where the pictures of one session go; never writes over a file."""

    def __init__(self, path: Path) -> None:
        """path: wished for; when it holds something already, `path-2` is used, or `path-3`, and so on."""
        attempt, number = path, 1
        try:
            while attempt.is_dir() and any(attempt.iterdir()):
                number += 1
                attempt = path.with_name(f"{path.name}-{number}")
            attempt.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PicturesError(f"{attempt}: cannot make this folder for the pictures: {error.strerror}") from None
        self.path = attempt

    def save(self, number: int, pair: FramePair) -> PicturePair:
        """Write both pictures whole."""
        files = PicturePair(self.path / f"left_{number:03d}.png", self.path / f"right_{number:03d}.png")
        for path, image in ((files.left, pair.left), (files.right, pair.right)):
            _, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
            try:
                with path.open("xb") as file:
                    file.write(data.tobytes())
            except OSError as error:
                raise PicturesError(f"{path}: cannot be written: {error.strerror}; pictures so far are kept") from None
        return files


class PairSelection:
    """Decides moment by moment which pairs to keep, and keeps them."""

    def __init__(self, board: Board, sizes_px: tuple[tuple[int, int], tuple[int, int]], folder: PictureFolder) -> None:
        self._board, self._sizes_px, self._folder = board, sizes_px, folder
        self._collector = ViewCollector(board, *sizes_px)
        self._before: SearchedPair | None = None
        self._next_number = 1
        self.kept: tuple[KeptPair, ...] = ()

    def missing_thirds(self) -> tuple[np.ndarray, np.ndarray]:
        """Thirds of the left and right picture without a corner so far, (3, 3) bool each."""
        return self._collector.missing()

    def consider(self, found: SearchedPair) -> Outcome:
        """Look at the next moment; "kept" when its pictures were saved."""
        before, self._before = self._before, found
        seen = self._same_way_round(found.seen, before)
        found = self._before = SearchedPair(found.captured, seen, found.finished_s)
        if before is not None and self._skew_motion_px(before, found) > MAX_SKEW_MOTION_PX:
            # The collector is not asked: it might keep it.
            return "out of step"
        outcome = self._collector.offer(seen)
        if outcome == "kept":
            self._save(found)
        return outcome

    def keep_anyway(self, found: SearchedPair) -> bool:
        """Keep a pair whatever the criteria say; False when a view lacks the board."""
        if found.seen.left_px is None or found.seen.right_px is None:
            return False
        self._remember(found.seen)
        self._save(found)
        return True

    def undo(self) -> KeptPair | None:
        """Drop the last pair kept in this session and its pictures; None when there is none."""
        if not self.kept:
            return None
        *rest, last = self.kept
        self.kept = tuple(rest)
        for path in (last.files.left, last.files.right):
            path.unlink(missing_ok=True)
        self._collector = ViewCollector(self._board, *self._sizes_px)
        for pair in rest:
            self._remember(pair.seen)
        return last

    def _remember(self, seen: SeenPair) -> None:
        """Make the collector count a view, still and sharp or not: twice the same is still."""
        for _ in range(2):
            self._collector.offer(SeenPair(seen.left_px, seen.right_px))

    def _save(self, found: SearchedPair) -> None:
        files = self._folder.save(self._next_number, found.captured.pair)
        self.kept = (*self.kept, KeptPair(self._next_number, files, found.seen))
        self._next_number += 1

    def _skew_motion_px(self, before: SearchedPair, now: SearchedPair) -> float:
        """How far the board moved between the exposures of the pair, as in a picture 640 px wide; 0 if unknown."""
        elapsed_s = now.captured.pair.timestamp_s - before.captured.pair.timestamp_s
        moves = [
            motion_px(earlier, later, size[0])
            for earlier, later, size in zip(_views(before.seen), _views(now.seen), self._sizes_px, strict=True)
            if earlier is not None and later is not None
        ]
        if not moves or elapsed_s <= 0:
            return 0.0
        return max(moves) / elapsed_s * abs(now.captured.skew_s)

    def _same_way_round(self, seen: SeenPair, before: SearchedPair | None) -> SeenPair:
        """Corners in the order they had before, for boards that look the same turned: a turn is no motion."""
        turns = self._board.turns()
        if before is None or len(turns) == 1:
            return seen
        views = []
        for earlier, later in zip(_views(before.seen), _views(seen), strict=True):
            if earlier is not None and later is not None:
                orders = [later[order] for order in turns]
                later = orders[int(np.argmin([motion_px(earlier, view, 640) for view in orders]))]
            views.append(later)
        return SeenPair(views[0], views[1], seen.left_edge_px, seen.right_edge_px)


def _views(seen: SeenPair) -> tuple[np.ndarray | None, np.ndarray | None]:
    return seen.left_px, seen.right_px
