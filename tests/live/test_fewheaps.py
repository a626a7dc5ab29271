"""Threads of the rig share their heaps, which are there from the start."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from live.processes.fewheaps import HEAPS, few_heaps

COUNT = """
import ctypes, sys, threading
from live.processes.fewheaps import few_heaps
told = few_heaps() if "few" in sys.argv else None
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.fopen.restype = ctypes.c_void_p, ctypes.c_void_p
libc.malloc_info.argtypes = ctypes.c_int, ctypes.c_void_p
libc.fclose.argtypes = (ctypes.c_void_p,)
there = threading.Barrier(6)
def take():
    libc.malloc(4000)
    there.wait(20)
threads = [threading.Thread(target=take) for _ in range(6)]
for one in threads: one.start()
for one in threads: one.join()
resident = lambda: int(open("/proc/self/statm").read().split()[1])
before = resident()
block = libc.malloc(8_000_000)
ctypes.memset(block, 1, 8_000_000)
print((resident() - before) * 4096 < 1_000_000)
file = libc.fopen(sys.argv[1].encode(), b"w")
libc.malloc_info(0, file)
libc.fclose(file)
print(told)
"""


def heaps(path: Path, *words: str, **environment: str) -> tuple[list[str], int]:
    """Of a process of six threads: whether 8 MB cost no new memory, what was said; its heaps."""
    usual = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    done = subprocess.run(
        [sys.executable, "-c", COUNT, str(path), *words], env=usual | environment,
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout.split(), len(ElementTree.parse(path).getroot().findall("heap"))


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_info"),
    reason="the heaps of glibc are counted",
)
def test_threads_share_their_heaps(tmp_path):
    usual, count = heaps(tmp_path / "usual.xml")
    assert usual[0] == "False"
    assert count > HEAPS
    assert heaps(tmp_path / "few.xml", "few") == (["True", "True"], HEAPS)
    asked, count = heaps(tmp_path / "asked.xml", "few", MALLOC_ARENA_MAX="3")
    assert (asked[-1], count) == ("False", 3)


def test_elsewhere_nothing_is_done(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert not few_heaps()
