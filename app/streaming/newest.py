"""A thread that works on the newest of what it is handed, however slowly, and keeps nobody waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")

# No stream needs longer than this for one message; a thread that does is left behind when the program ends.
CLOSE_S = 2.0


class NewestWorker(Generic[Item]):
    """Calls `work` in a thread of its own; an item that comes before the last one was begun takes its place."""

    def __init__(self, name: str, work: Callable[[Item], None]) -> None:
        self._work = work
        self._changed = threading.Condition()
        self._item: Item | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Hand over an item; comes back at once. After `close` nothing happens."""
        with self._changed:
            self._item = item
            self._changed.notify()

    def close(self) -> None:
        """End the thread after the item in work."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._item is not None)
                item, self._item = self._item, None
                if self._closed:
                    return
            if item is not None:
                self._work(item)
