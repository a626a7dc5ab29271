"""Page-locked memory that results lie in, lent to whoever holds an array of it.

Copying a result out of such memory would cost more than computing it. So the array itself is
handed over; once the last view of it is gone, its memory comes back here.
"""

from __future__ import annotations

import ctypes
import weakref
from collections import defaultdict, deque
from collections.abc import Collection
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.engines.trt.device import Gpu
from models.errors import EngineError, EngineOutOfMemory

MOST_OF_A_SIZE = 8
"""Pieces of one size. A caller who keeps more gets copies in ordinary memory."""


class Lender:
    """Page-locked memory in pieces, used again and again.

    Parameters
    ----------
    gpu
        Where it comes from.
    """

    def __init__(self, gpu: Gpu) -> None:
        self._gpu, self._closed = gpu, False
        self._made: dict[int, int] = defaultdict(int)
        # appended to from whichever thread lets go of an array last
        self._back: dict[int, deque[int]] = defaultdict(deque)

    def make(self, size: int) -> int:
        """Address of a piece of so many bytes; it counts towards no limit."""
        try:
            return self._back[size].popleft()
        except IndexError:
            return self._gpu.host_memory(max(size, 1))

    def spare(self, size: int) -> int | None:
        """A piece in place of one that is lent; None when as many as may be are away."""
        try:
            return self._back[size].popleft()
        except IndexError:
            pass
        if self._made[size] >= MOST_OF_A_SIZE:
            return None
        try:
            address = self._gpu.host_memory(max(size, 1))
        except EngineOutOfMemory:
            return None  # results are copied then, which is slower and needs none
        self._made[size] += 1
        return address

    def keep_only(self, sizes: Collection[int]) -> None:
        """Free the pieces of all other sizes that are here."""
        for size in [one for one in self._back if one not in sizes]:
            pieces = self._back[size]
            while pieces:
                self._gpu.free_host(pieces.popleft())
            self._made[size] = 0

    def give_back(self, address: int, size: int) -> None:
        """Take a piece back; any thread."""
        if self._closed:
            # nobody is left to tell of a failure, and the memory goes with the process
            with suppress(EngineError):
                self._gpu.free_host(address)
            return
        self._back[size].append(address)

    def lend(self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """A piece as an array; it comes back when the last view of the array is gone."""
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if size == 0:
            self.give_back(address, size)
            return np.zeros(shape, dtype)
        held: Any = (ctypes.c_uint8 * size).from_address(address)
        # every view leads to this object, so it outlives them all
        weakref.finalize(held, self.give_back, address, size).atexit = False
        array: NDArray[Any] = np.frombuffer(held, dtype).reshape(shape)
        return array

    def close(self) -> None:
        """Free what is here; what is lent is freed when it comes back."""
        self._closed = True
        for pieces in self._back.values():
            while pieces:
                self._gpu.free_host(pieces.popleft())
