"""A queue bounded by bytes, for frames on their way to disk."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class ByteQueue(Generic[T]):
    """First in, first out; what was taken out still counts until it is released.

    So the bound holds over all memory that waits for the disk, not only over what has not been
    handed to the writer yet. One item larger than the whole bound passes when nothing else is held.

    Parameters
    ----------
    max_bytes
        Bytes held at most.
    max_items
        Items held at most.
    """

    def __init__(self, max_bytes: int, max_items: int) -> None:
        self._max_bytes, self._max_items = max_bytes, max_items
        self._items: deque[tuple[T, int]] = deque()
        self._held_bytes = 0
        self._held_items = 0
        self._closed = False
        self._changed = threading.Condition()

    @property
    def held(self) -> tuple[int, int]:
        """Items and bytes that are held, as one snapshot."""
        with self._changed:
            return self._held_items, self._held_bytes

    def put(self, item: T, nbytes: int, timeout_s: float) -> bool:
        """Add ``item``, waiting for room; False when there was none in time or it is closed."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._closed and not self._fits(nbytes):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            if self._closed:
                return False
            self._items.append((item, nbytes))
            self._held_items += 1
            self._held_bytes += nbytes
            self._changed.notify_all()
            return True

    def get(self, timeout_s: float) -> tuple[T, int] | None:
        """Oldest item and its bytes, which stay counted; None when none came in time."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._items:
                left = deadline - time.monotonic()
                if left <= 0 or self._closed:
                    return None
                self._changed.wait(left)
            return self._items.popleft()

    def release(self, nbytes: int) -> None:
        """Give back the room of one item that was taken out."""
        with self._changed:
            self._held_items -= 1
            self._held_bytes -= nbytes
            self._changed.notify_all()

    def close(self) -> None:
        """Take nothing more in; what is inside can still be taken out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def exhausted(self) -> bool:
        """Closed, and everything was taken out."""
        with self._changed:
            return self._closed and not self._items

    def _fits(self, nbytes: int) -> bool:
        if self._held_items == 0:
            return True
        return self._held_items < self._max_items and self._held_bytes + nbytes <= self._max_bytes
