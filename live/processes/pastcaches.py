"""Frames are copied past the processor's caches, by a process that is begun so.

Before a processor writes to memory in the usual way it reads what is there, and a copied frame
pushes out of the caches what the frame loop needs. For large copies the C library writes past the
caches instead, half the time here, but by default only for those larger than the caches are; where
many cores share a large one, as on servers and in virtual machines, no frame ever is. glibc takes
the limit from the environment, once, when a process begins: so the process that owns the camera
begins a second time, with the limit at the size of a frame. Its children do not get it: what
engines copy they read again at once.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping

VARIABLE = "GLIBC_TUNABLES"
LIMIT_BYTES = 2 * 2**20
"""1024 x 1024 pixels of 16 bits. Smaller frames are read by others while they are in a cache."""
_NAME = "glibc.cpu.x86_non_temporal_threshold"
_OURS = f"{_NAME}={LIMIT_BYTES:#x}"


def begin_past_caches() -> None:
    """Begin this process anew, under the same number, where that makes large copies faster.

    For a program's first line: it returns only where nothing is gained. What a user asked of the
    C library in the environment stays.
    """
    asked = os.environ.get(VARIABLE, "")
    if sys.platform != "linux" or not _knows_the_limit() or _NAME in asked:
        return
    wanted = {**os.environ, VARIABLE: ":".join(filter(None, (asked, _OURS)))}
    try:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], wanted)
    except OSError:
        return  # it runs as well without


def through_caches(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for children: as it is, less what `begin_past_caches` added."""
    kept = [one for one in environment.get(VARIABLE, "").split(":") if one and one != _OURS]
    others = {name: value for name, value in environment.items() if name != VARIABLE}
    return {**others, VARIABLE: ":".join(kept)} if kept else others


def _knows_the_limit() -> bool:
    """Whether the C library is glibc on a processor of the x86 family."""
    return platform.machine() in ("x86_64", "i686") and platform.libc_ver()[0] == "glibc"
