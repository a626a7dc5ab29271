"""Memory for results that is used again, but never while somebody holds a result in it.

Allocating the outputs of a large frame means thousands of fresh pages from the system for each one.
Handing out the same arrays each time would break what `Engine.run` promises: the arrays belong to
the caller. So memory comes back by itself, when the last view of a result is gone.
"""

from __future__ import annotations

import math
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

MOST_FREE = 8
"""Pieces of memory kept for later, at most: of more, the one that came back first is let go."""

Memory: TypeAlias = NDArray[np.uint8]


class ResultBuffers:
    """Arrays for results, in memory of earlier results that nobody holds any more.

    One thread takes; results may be let go in any.
    """

    def __init__(self) -> None:
        self._free: deque[Memory] = deque(maxlen=MOST_FREE)
        self._held: dict[int, weakref.ref[Any]] = {}
        self.allocated = 0
        """Pieces of memory asked of the system so far."""

    def take(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Array of this form, its values left as they happen to be; the caller's own."""
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        if size == 0:
            return np.empty(shape, kind)
        memory = self._of_size(size)
        # Views of an array name the array that their memory is of; for one that is laid over a
        # foreign buffer, as here, that is this very array. It goes when the last of them does.
        flat = np.frombuffer(memory.data, kind)
        self._held[id(flat)] = weakref.ref(flat, self._returning(id(flat), memory))
        return flat.reshape(shape)

    def _of_size(self, size: int) -> Memory:
        # one step at a time, each whole by itself: memory may come back meanwhile
        for _ in range(len(self._free)):
            memory = self._free.popleft()
            if memory.nbytes == size:
                return memory
            self._free.append(memory)
        if self._free:
            self._free.popleft()  # of a size that is no longer asked for: it makes room
        self.allocated += 1
        return np.empty(size, np.uint8)

    def _returning(self, key: int, memory: Memory) -> Callable[[object], None]:
        held, free = self._held, self._free

        def back(_: object) -> None:
            held.pop(key, None)
            free.append(memory)

        return back
