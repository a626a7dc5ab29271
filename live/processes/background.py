"""Making a process give way to all others: what it does must never slow the camera."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil

_LOWEST_NICE = 19


def give_way() -> list[str]:
    """Put this process at the lowest priority that the system has, for processor and disk.

    Returns
    -------
    list[str]
        What the system did not allow, a sentence each; nothing depends on it but speed.
    """
    refused: list[str] = []
    process = psutil.Process()

    def attempt(what: str, change: object) -> None:
        assert callable(change)
        try:
            change()
        except (OSError, psutil.Error, AttributeError) as error:
            refused.append(f"{what}: {error}")

    if sys.platform == "win32":
        attempt("idle class", lambda: process.nice(psutil.IDLE_PRIORITY_CLASS))
        attempt("disk priority", lambda: process.ionice(psutil.IOPRIO_VERYLOW))
        return refused
    attempt("nice", lambda: process.nice(_LOWEST_NICE))
    if sys.platform == "linux":
        # a child has a session of its own, and Linux shares time out among sessions first
        attempt("session", lambda: Path("/proc/self/autogroup").write_text(str(_LOWEST_NICE)))
        attempt(
            "idle scheduling", lambda: os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        )
        attempt("disk priority", lambda: process.ionice(psutil.IOPRIO_CLASS_IDLE))
    return refused
