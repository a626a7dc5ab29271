"""What long runs are watched with: memory of every process, and how it grows.

Memory is the *unique set* where the system tells it: what would be free again if the process
ended. The resident set also counts shared memory, which fills up once and stays. The rig's process
takes its heaps at the start, so that a small leak would not show there for long: what is *in use*
of them is watched from inside. glibc counts in what each of some twenty threads keeps at hand for
its next request, up to 200 kB each, so that row rises until they are full. Small objects
of Python, which have room of their own, are counted.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import psutil
from numpy.typing import NDArray

ROLES: Final = {
    "live.processes.inference": "inference",
    "live.processes.window": "window",
    "live.light.guard": "light guard",
}
"""Module that a child runs -> what people call it."""
MOST_POINTS: Final = 900
"""The slope takes every pair of points, so their number is bounded."""

Floats = NDArray[np.float64]


@dataclass(slots=True)
class Series:
    """Memory of one process over time."""

    unix_s: list[float] = field(default_factory=list)
    unique_mb: list[float] = field(default_factory=list)
    resident_mb: list[float] = field(default_factory=list)

    def arrays(self) -> tuple[Floats, Floats]:
        """Time by the wall clock, s, and memory of its own, MB."""
        return np.array(self.unix_s), np.array(self.unique_mb)


class MemoryWatch:
    """Reads the memory of a process and its children. Hold it in a ``with`` block.

    Parameters
    ----------
    pid
        The first process; its children are found by themselves, again and again, since one may
        be started anew.
    every_s
        Pause between two readings.
    """

    def __init__(self, pid: int, every_s: float = 1.0) -> None:
        self._root = psutil.Process(pid)
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory watch")
        self.series: dict[str, Series] = defaultdict(Series)
        self.unread = 0
        """Processes that ended, or could not be asked, at the moment of a reading."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                found = [self._root, *self._root.children()]
            except psutil.Error:
                self.unread += 1
                return
            for process in found:
                self._read(process)

    def _read(self, process: psutil.Process) -> None:
        try:
            role = "rig" if process.pid == self._root.pid else _role(process)
            memory = process.memory_full_info()
        except psutil.Error:
            self.unread += 1
            return
        series = self.series[role]
        series.unix_s.append(time.time())
        series.unique_mb.append(memory.uss / 1e6)
        series.resident_mb.append(memory.rss / 1e6)


class _MallInfo(ctypes.Structure):
    """``struct mallinfo2`` of glibc's ``malloc.h``."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd",
            "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    )  # fmt: skip


@contextmanager
def in_use_written(path: Path, every_s: float = 1.0) -> Iterator[None]:
    """Inside, write time, bytes in use of this process's heaps and small objects to ``path``.

    Line by line; nothing where the C library does not tell.
    """
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2 if sys.platform == "linux" else None
    except (OSError, AttributeError):
        mallinfo = None
    if mallinfo is None:
        yield
        return
    mallinfo.restype = _MallInfo
    stop = threading.Event()

    def write() -> None:
        with path.open("w", encoding="ascii", buffering=1) as file:
            while not stop.wait(every_s):
                found = mallinfo()
                used, objects = found.uordblks + found.hblkhd, sys.getallocatedblocks()
                file.write(f"{time.time()} {used} {objects}\n")

    thread = threading.Thread(target=write, name="in use")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def read_in_use(path: Path) -> tuple[Series, NDArray[np.float64]]:
    """What `in_use_written` wrote: memory in use, and beside each reading the small objects."""
    rows = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    at, used = [float(row[0]) for row in rows], [float(row[1]) / 1e6 for row in rows]
    return Series(at, used, used), np.array([float(row[2]) for row in rows])


def _role(process: psutil.Process) -> str:
    words = process.cmdline()
    if any("resource_tracker" in word for word in words):
        return "shared memory's tracker"
    module = words[words.index("-m") + 1] if "-m" in words[:-1] else process.name()
    return str(ROLES.get(module, module))


def growth(frames: Floats, memory_mb: Floats) -> tuple[float, float, float]:
    """Slope of memory over frames, MB per 10,000 frames, and where it lies with 95 %.

    The median of the slopes between all pairs of points (Theil 1950, Sen 1968), so that a few
    readings that are far off do not matter; the interval is Sen's, of Kendall's tau.
    """
    step = max(1, -(-len(frames) // MOST_POINTS))
    x, y = frames[::step], memory_mb[::step]
    first, second = np.triu_indices(len(x), 1)
    apart = x[second] != x[first]
    first, second = first[apart], second[apart]
    if not len(first):
        return 0.0, -np.inf, np.inf
    slopes = np.sort((y[second] - y[first]) / (x[second] - x[first])) * 1e4
    n = len(x)
    within = 1.96 * float(np.sqrt(n * (n - 1) * (2 * n + 5) / 18))
    low = round((len(slopes) - within) / 2)
    high = round((len(slopes) + within) / 2)
    return (
        float(np.median(slopes)),
        float(slopes[max(low, 0)]),
        float(slopes[min(high, len(slopes) - 1)]),
    )


def to_json(series: dict[str, Series]) -> dict[str, Any]:
    """Every reading, for whoever wants to look for himself."""
    return {
        role: {"unix_s": one.unix_s, "unique_mb": one.unique_mb, "resident_mb": one.resident_mb}
        for role, one in series.items()
    }
