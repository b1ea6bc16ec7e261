"""The same work for both views at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class TwoViews:
    """Runs a function for view 1 in a thread of its own while the caller's thread does view 0.

    Threads are enough: the networks and OpenCV release Python's lock while they compute.
    """

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="right view")

    def both(self, work: Callable[[int], T]) -> tuple[T, T]:
        """`(work(0), work(1))`, computed side by side. An exception of either comes out here."""
        right = self._worker.submit(work, 1)
        try:
            left = work(0)
        except BaseException:
            right.exception()  # wait: nothing may go on working behind the caller's back
            raise
        return left, right.result()

    def close(self) -> None:
        """End the thread."""
        self._worker.shutdown()
