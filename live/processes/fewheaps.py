"""Few heaps for many threads, laid out before the first frame, so that memory stays as it was.

The C library of Linux gives every thread a heap of its own, up to eight a core, and each keeps the
most that it ever needed, in pieces that fit worse and worse. A rig process has some twenty threads
that seldom ask for memory at once. Arrays of a few MB come and go with every frame: by default
their pages are given back and fetched anew, which the frame waits for, and what is left on top of
them keeps a heap from shrinking, so it creeps. Programs that must not wait take their heap at the
start and keep it.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading

HEAPS = 2
HEAD_ROOM_BYTES = 16 * 2**20
"""Of each heap, for what comes and goes with a frame."""
_ARENA_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -8, -3, -1
"""``M_ARENA_MAX`` and the like of glibc's ``malloc.h``."""
_LARGEST_IN_HEAP = 32 * 2**20
"""The most that glibc takes; larger arrays have pages of their own."""
_NEVER = 2**31 - 1
_ASKED = ("MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
_TUNED = ("arena_max", "mmap_threshold", "trim_threshold")
"""The same in ``GLIBC_TUNABLES``."""


def few_heaps() -> bool:
    """Let threads that are started from now on share ``HEAPS`` heaps; False where that is not so.

    Only glibc knows it; what a user asked for in the environment stays.
    """
    asked = any(name in os.environ for name in _ASKED)
    tuned = os.environ.get("GLIBC_TUNABLES", "")
    if sys.platform != "linux" or asked or any(f"malloc.{name}=" in tuned for name in _TUNED):
        return False
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt, libc.malloc.restype  # noqa: B018 - another C library lacks the first
    except (OSError, AttributeError):
        return False
    wanted = (_ARENA_MAX, HEAPS), (_MMAP_THRESHOLD, _LARGEST_IN_HEAP), (_TRIM_THRESHOLD, _NEVER)
    if not all(libc.mallopt(*one) for one in wanted):
        return False
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = (ctypes.c_size_t,)
    libc.free.argtypes = (ctypes.c_void_p,)

    def lay_out() -> None:
        block = libc.malloc(HEAD_ROOM_BYTES)
        if block:
            ctypes.memset(block, 1, HEAD_ROOM_BYTES)
            libc.free(block)

    lay_out()
    other = threading.Thread(target=lay_out)  # the first of other threads makes the second heap
    other.start()
    other.join()
    return True
