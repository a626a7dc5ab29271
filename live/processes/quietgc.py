"""Garbage collection kept out of the frame loop.

A full collection of a rig process looks at some 300,000 objects, most of them made by imports, and
stops every thread for tens of milliseconds, at a time that nobody chose.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

_RARE = (20_000, 20, 20)
_FRESH_S = 60.0
"""So long a collection of everything is not repeated."""
_collected_s = -_FRESH_S


@contextmanager
def quiet_gc() -> Iterator[None]:
    """Collect, unless that was done just now; inside, look at new objects alone, and seldom.

    Also a decorator. What exists on entering is set aside until the block is left, so a collection
    inside costs what the block itself has made. For a block that holds for a run, on one thread at
    a time.
    """
    global _collected_s
    before = gc.get_threshold()
    if time.monotonic() - _collected_s > _FRESH_S:
        gc.collect()
        _collected_s = time.monotonic()
    gc.freeze()
    gc.set_threshold(*_RARE)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
