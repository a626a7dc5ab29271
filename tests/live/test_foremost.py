"""The camera's process goes first while it images, as far as the system lets it, and no longer."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import psutil
import pytest

from live.processes.foremost import FIRST_NICE, foremost, in_line, may_go_first

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="each system has its own way")


def nices() -> set[int]:
    return {os.getpriority(os.PRIO_PROCESS, thread.id) for thread in psutil.Process().threads()}


def allowed() -> bool:
    """Whether this user may go before others."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, FIRST_NICE)
    except OSError:
        return False
    os.setpriority(os.PRIO_PROCESS, 0, before)
    return True


def test_all_threads_go_first_inside_and_as_before_after_it():
    before, inside = nices(), []
    with foremost():
        there = nices()
        begun = threading.Thread(
            target=lambda: inside.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        )
        begun.start()
        begun.join()
    assert nices() == before
    assert {*there, *inside} == ({FIRST_NICE} if allowed() else before)


def test_where_the_system_refuses_nothing_changes(monkeypatch):
    def refuse(*_):
        raise PermissionError("no")

    before = nices()
    monkeypatch.setattr(os, "setpriority", refuse)
    with foremost():
        assert nices() == before
    assert not may_go_first()


def test_a_user_who_may_is_told_so():
    assert may_go_first() == allowed()


def test_a_process_begun_inside_stands_in_line_with_all_others():
    with foremost():
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        in_line(child.pid)
        nice = os.getpriority(os.PRIO_PROCESS, child.pid)
    child.communicate(b"\n", 10)
    assert nice >= 0


def test_one_who_gave_way_is_not_pushed_forward():
    gave = "import os, sys; os.nice(7); print(flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    child = subprocess.Popen([sys.executable, "-c", gave], **pipes)
    child.stdout.readline()
    in_line(child.pid)
    nice = os.getpriority(os.PRIO_PROCESS, child.pid)
    child.communicate(b"\n", 10)
    assert nice == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 7)
