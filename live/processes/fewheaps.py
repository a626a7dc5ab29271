"""Few heaps for many threads, so that what a run takes of memory stays as it was at the beginning.

The C library of Linux gives every thread a heap of its own, up to eight a core, and each keeps the
most that it ever needed, in pieces that fit worse and worse. A rig process has some twenty threads
that seldom ask for memory at once.
"""

from __future__ import annotations

import ctypes
import os
import sys

HEAPS = 2
_ARENA_MAX = -8
"""``M_ARENA_MAX`` of glibc's ``malloc.h``."""


def few_heaps() -> bool:
    """Let threads that are started from now on share ``HEAPS`` heaps; False where that is not so.

    Only glibc knows it; what a user asked for with ``MALLOC_ARENA_MAX`` stays.
    """
    if sys.platform != "linux" or "MALLOC_ARENA_MAX" in os.environ:
        return False
    try:
        return bool(ctypes.CDLL(None).mallopt(_ARENA_MAX, HEAPS))
    except (OSError, AttributeError):  # another C library
        return False
