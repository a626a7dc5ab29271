"""The machine that a measurement runs on: how many of its cores, and what they are called."""

from __future__ import annotations

import os
import platform
from pathlib import Path


class TwoCores:
    """Keep this process to the first cores it has meanwhile, where the system can do that.

    Parameters
    ----------
    cores
        How many.
    """

    def __init__(self, cores: int = 2) -> None:
        self._cores = cores
        self._all: set[int] = set()

    def __enter__(self) -> None:
        self._all = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        if len(self._all) > self._cores:
            os.sched_setaffinity(0, set(sorted(self._all)[: self._cores]))

    def __exit__(self, *exc: object) -> None:
        if len(self._all) > self._cores:
            os.sched_setaffinity(0, self._all)


def processor() -> str:
    """Name of the processor, as well as the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
