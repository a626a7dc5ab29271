"""Small objects of Python find room that is there before they come."""

from __future__ import annotations

import subprocess
import sys

import pytest

COUNT = """
import contextlib, sys
from live.processes.smallobjects import room_for_small_objects
def resident():
    return 4 * int(open("/proc/self/statm").read().split()[1])
with room_for_small_objects(4 * 2**20) if "room" in sys.argv else contextlib.nullcontext():
    before = resident()
    wave = [bytes(300) for _ in range(9000)]
    first = resident() - before
    del wave
    wave = [bytes(300) for _ in range(9000)]
    print(first, resident() - before)
"""


def grown_kib(*words: str) -> list[int]:
    """Growth of a process that comes to hold 3 MB of small objects, twice."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT, *words],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(sys.platform != "linux", reason="pages are counted in /proc")
def test_objects_take_nothing_of_the_system_where_there_is_room() -> None:
    assert min(grown_kib()) > 2000
    assert max(grown_kib("room")) < 500
