"""The verdict on the pairs so far, worked out beside the loop that takes them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from ...calibration.boards import Board
from ...calibration.corners import BoardView, find_in_files
from ...calibration.errors import UserError
from ...calibration.from_pictures import assess
from ...calibration.judge import Judgement, refused
from ...calibration.lens import LensName
from ...calibration.rig import StereoRig
from ...calibration.solve import MIN_PAIRS, PairCorners
from .selection import KeptPair

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finding:
    """A calibration of the pairs with these numbers; None what could not be solved.

    rms_px: of the corners; board_distance_m: nearest and farthest board.
    """

    numbers: tuple[int, ...]
    judgement: Judgement
    baseline_m: float | None = None
    baseline_sd_m: float | None = None
    rms_px: float | None = None
    rig: StereoRig | None = None
    board_distance_m: tuple[float, float] | None = None


class RunningVerdict:
    """Calibrates what there is whenever pairs have come in and no calibration is running.

    Corners are found in the saved pictures as the final calibration will find them, once per picture.
    """

    def __init__(
        self,
        board: Board,
        sizes_px: tuple[tuple[int, int], tuple[int, int]],
        lens: LensName | None,
        size_confirmed: bool,
    ) -> None:
        self._board, self._sizes_px, self._size_confirmed = board, sizes_px, size_confirmed
        self._lens: LensName | None = lens
        self._views: dict[Path, BoardView] = {}  # touched by the worker only
        self._pool = ThreadPoolExecutor(1, "verdict")
        self._running: Future[Finding | None] | None = None
        self._asked: tuple[int, ...] = ()
        self.latest: Finding | None = None

    @property
    def working(self) -> bool:
        """Whether a calibration is under way."""
        return self._running is not None

    def update(self, kept: Sequence[KeptPair]) -> bool:
        """Take over what is finished and begin anew if pairs have changed; True when `latest` is a new one."""
        news = False
        if self._running is not None and self._running.done():
            finding, self._running = self._running.result(), None
            if finding is not None:
                self.latest, news = finding, True
        numbers = tuple(pair.number for pair in kept)
        if self._running is None and len(numbers) >= MIN_PAIRS and numbers != self._asked:
            self._asked = numbers
            self._running = self._pool.submit(self._work, tuple(kept))
        return news

    def close(self) -> None:
        """End; a calibration under way is left to finish by itself, unseen."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self, kept: tuple[KeptPair, ...]) -> Finding | None:
        numbers = tuple(pair.number for pair in kept)
        new = [path for pair in kept for path in (pair.files.left, pair.files.right) if path not in self._views]
        # One at a time: the pictures shown meanwhile need the other cores.
        try:
            self._views |= dict(zip(new, find_in_files(new, self._board, workers=1), strict=True))
        except FileNotFoundError:
            return None  # dropped by the user meanwhile; the pairs left come next
        nothing = np.full((self._board.corners, 2), np.nan)
        stacks = []
        for files in ([pair.files.left for pair in kept], [pair.files.right for pair in kept]):
            found = [self._views[path].corners_px for path in files]
            stacks.append(np.stack([nothing if corners is None else corners for corners in found]))
        none = np.zeros((0, self._board.corners, 2))
        corners = PairCorners(self._board, stacks[0], stacks[1], none, none, *self._sizes_px)
        try:
            _, rig, measures, judgement = assess(corners, self._lens, self._size_confirmed)
        except UserError as error:
            _log.info("no verdict on pairs %s: %s", numbers, error)
            return Finding(numbers, refused(str(error), ""))
        if rig is None or measures is None:
            return Finding(numbers, judgement)
        return Finding(
            numbers,
            judgement,
            measures.baseline_m,
            measures.uncertainty.baseline_m,
            measures.stereo_rms_px,
            rig,
            measures.board_distance_m,
        )
