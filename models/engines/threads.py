"""How many threads a network may have beside a camera.

A network that takes every core makes the camera's loop and the recorder wait for one, and frames
are lost where nobody looks for the reason. So one core is left to them, and on machines with cores
to spare a second one to the window and the rest of the system. Threads beyond physical cores share
the units that multiply, which is all that a network does: they make it slower.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import psutil

Threads: TypeAlias = int | Literal["auto"]
"""A number of threads, or ``auto`` for what `threads_beside_camera` gives on this machine."""

SPARE_FROM = 6
"""From this many cores on, two are left free; below, one."""

MOST = 8
"""Beyond this the parts of one frame get too small to be worth handing out."""


def resolve_threads(asked: Threads) -> int:
    """The number itself, or for ``auto`` what suits the machine that this runs on."""
    return threads_beside_camera(physical_cores()) if asked == "auto" else asked


def threads_beside_camera(cores: int) -> int:
    """Threads of one network on a machine of so many physical cores; at least 1.

    Parameters
    ----------
    cores
        That this process may use.
    """
    spare = 2 if cores >= SPARE_FROM else 1
    return max(1, min(cores - spare, MOST))


def physical_cores() -> int:
    """Physical cores that this process may use; at least 1.

    Where the system keeps the process to some of its cores, no more than those count. Where it does
    not tell physical cores from logical ones, half of the logical ones do, rounded up.
    """
    logical = psutil.cpu_count() or 1
    physical = psutil.cpu_count(logical=False) or -(-logical // 2)
    affinity = getattr(psutil.Process(), "cpu_affinity", None)  # macOS has none
    allowed = len(affinity()) if affinity is not None else logical
    return max(1, min(physical, allowed))
