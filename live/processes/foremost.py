"""Letting the process that owns the camera go first: what it misses is gone, what others do waits.

On a machine with more to do than cores, a fair system gives the frame loop its turn some
milliseconds late, over and over. Windows lets any program ask to go first; Linux wants the right to
(``nice`` in limits.conf, or root), and where it refuses nothing changes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

FIRST_NICE = -10
_SESSION = Path("/proc/self/autogroup")


@contextmanager
def foremost() -> Iterator[None]:
    """Inside, this process goes before others as far as the system allows; also a decorator.

    Threads begun inside go first as well, processes do not: see `in_line`. What is killed inside
    leaves its Linux session, mostly a terminal, going first until that is closed.
    """
    if sys.platform == "win32":
        process = psutil.Process()
        usual_class = process.nice()
        with suppress(OSError, psutil.Error):
            process.nice(psutil.ABOVE_NORMAL_PRIORITY_CLASS)
        try:
            yield
        finally:
            with suppress(OSError, psutil.Error):
                process.nice(usual_class)
    else:
        before = {thread: _nice_of(thread) for thread in _threads()}
        raised = [
            thread for thread, nice in before.items()
            if nice is not None and nice > FIRST_NICE and _set_nice(thread, FIRST_NICE)
        ]  # fmt: skip
        usual = _session_nice()
        if raised and usual is not None:
            # Linux shares time out among sessions first
            _set_session_nice(min(usual, FIRST_NICE))
        try:
            yield
        finally:
            for thread in raised:
                _set_nice(thread, before[thread] or 0)
            if raised and usual is not None:
                _set_session_nice(usual)


def may_go_first() -> bool:
    """Whether the system lets this user's programs go before others."""
    if sys.platform == "win32":
        return True
    with foremost():
        nice = _nice_of(0)
    return nice is not None and nice <= FIRST_NICE


def in_line(pid: int) -> None:
    """Put a process that was begun inside `foremost` in line with all others again."""
    if sys.platform != "win32" and (_nice_of(pid) or 0) < 0:
        _set_nice(pid, 0)


def _threads() -> list[int]:
    """Those of this process by number, where the system gives each a nice; else 0, all at once."""
    if sys.platform != "linux":
        return [0]
    return [thread.id for thread in psutil.Process().threads()]


def _nice_of(thread: int) -> int | None:
    if sys.platform == "win32":
        return None
    with suppress(OSError):
        return os.getpriority(os.PRIO_PROCESS, thread)
    return None


def _set_nice(thread: int, nice: int) -> bool:
    """Whether the system allowed it; on Linux the number of a thread names that thread alone."""
    if sys.platform == "win32":
        return False
    try:
        os.setpriority(os.PRIO_PROCESS, thread, nice)
    except OSError:
        return False
    return True


def _session_nice() -> int | None:
    """From a line such as ``/autogroup-25 nice 0``; None where sessions have no nice."""
    try:
        return int(_SESSION.read_text(encoding="ascii").split()[-1])
    except (OSError, ValueError, IndexError):
        return None


def _set_session_nice(nice: int) -> None:
    with suppress(OSError):
        _SESSION.write_text(str(nice), encoding="ascii")
