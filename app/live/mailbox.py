"""A slot for one thing between two threads: a slow taker sees the newest, never a backlog."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Holds the newest item that nobody has taken yet. dropped: items replaced before anybody took them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False
        self.dropped = 0

    def put(self, item: T) -> None:
        """Leave an item, in place of one that is still there; ignored once closed."""
        with self._changed:
            if self._closed:
                return
            self.dropped += self._item is not None
            self._item = item
            self._changed.notify_all()

    def take(self, timeout_s: float) -> T | None:
        """The item, waited for; None when none came in time or none will come: see `closed`."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout_s)
            item, self._item = self._item, None
            return item

    @property
    def closed(self) -> bool:
        """Whether nothing is left and nothing will come."""
        with self._changed:
            return self._closed and self._item is None

    def close(self) -> None:
        """Let the taker have what is there, and nothing after it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
