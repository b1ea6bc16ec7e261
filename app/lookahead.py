"""Deciding a little later, when the sequel is known: a delay line between detection and space."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from ..models.side_tracker import SideTracker
from ..models.sides import SideExchange
from .frames import FramePair
from .pipeline import FrameResult, Observation, Pipeline

DEFAULT_FRAMES = 12


class LookAhead:
    """Runs pairs through a pipeline that settles left and right so many frames later; 0 is `Pipeline.process`.

    It holds the pictures of that many frames.
    """

    def __init__(self, pipeline: Pipeline, frames: int = DEFAULT_FRAMES) -> None:
        self._pipeline = pipeline
        self._sides = SideTracker(frames)
        self._waiting: deque[Observation] = deque()

    def push(self, pair: FramePair, stage_ms: dict[str, float] | None = None) -> list[FrameResult]:
        """Add a pair as for `Pipeline.process`; the result that is due, if one is."""
        seen = self._pipeline.observe(pair, stage_ms)
        self._waiting.append(seen)
        exchange = self._pipeline.settle_sides(self._sides, seen)
        return [] if exchange is None else [self._complete(exchange)]

    def finish(self) -> Iterator[FrameResult]:
        """The results of the pairs that still wait."""
        for exchange in self._sides.finish():
            yield self._complete(exchange)

    def _complete(self, exchange: SideExchange) -> FrameResult:
        result = self._pipeline.complete(self._waiting.popleft(), exchange)
        if result.reacquired:
            self._sides.forget_lengths()
        return result
