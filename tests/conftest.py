"""What all tests share: nothing may be left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

_PATIENCE_S = 3.0
# Python's own helpers live until the interpreter ends, whoever started them.
_PYTHONS_OWN = ("resource_tracker", "forkserver")


@pytest.fixture
def data() -> Path:
    """The small samples that ship with the tests."""
    return Path(__file__).parent / "data"


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a thread, a child process or a listening socket behind."""
    me = psutil.Process()
    before = [_threads(), _children(me), _listening(me)]
    yield
    for what, now, old in zip(
        ("thread", "child process", "listening socket"),
        (_threads, lambda: _children(me), lambda: _listening(me)),
        before,
        strict=True,
    ):
        left = _left(now, old)
        assert not left, f"this test left behind a {what}: {sorted(left)}"


def _left(now: Callable[[], set[str]], before: set[str]) -> set[str]:
    deadline = time.monotonic() + _PATIENCE_S
    while (left := now() - before) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _threads() -> set[str]:
    return {f"{thread.name} ({thread.ident})" for thread in threading.enumerate()}


def _children(me: psutil.Process) -> set[str]:
    found = set()
    for child in me.children(recursive=True):
        try:
            command = " ".join(child.cmdline())
            ended = child.status() == psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue  # ended while we looked
        if not ended and not any(own in command for own in _PYTHONS_OWN):
            found.add(f"{child.pid}: {command[:120]}")
    return found


def _listening(me: psutil.Process) -> set[str]:
    connections = me.net_connections(kind="tcp")
    return {f"{c.laddr.ip}:{c.laddr.port}" for c in connections if c.status == psutil.CONN_LISTEN}
