"""The process that owns the camera copies frames past the caches; what it starts does not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from live.processes import pastcaches
from live.processes.pastcaches import VARIABLE, through_caches

TOLD = """
import os, sys
from live.processes.fewheaps import few_heaps
from live.processes.pastcaches import VARIABLE, begin_past_caches
began = os.getpid()
begin_past_caches()
print(os.getpid(), os.environ.get(VARIABLE, ""), few_heaps(), *sys.argv[1:])
"""
ASKED = "glibc.cpu.x86_non_temporal_threshold=0x4000000"

glibc_only = pytest.mark.skipif(
    sys.platform != "linux" or not pastcaches._knows_the_limit(),
    reason="only glibc on x86 takes the limit from the environment",
)


def told(*words: str, **environment: str) -> list[str]:
    """Number, limits, whether heaps are few, and words of a process that begins past caches."""
    usual = {name: value for name, value in os.environ.items() if name != VARIABLE}
    process = subprocess.Popen(
        [sys.executable, "-X", "utf8", "-c", TOLD, *words], env=usual | environment,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    out, _ = process.communicate(timeout=60)
    number, *rest = out.split(" ")
    assert int(number) == process.pid
    assert process.returncode == 0
    return [word.strip() for word in rest]


@glibc_only
def test_a_process_begins_again_under_its_number_with_its_words():
    assert told("a", "b") == [pastcaches._OURS, "True", "a", "b"]


@glibc_only
def test_what_the_user_asked_for_stays():
    assert told(**{VARIABLE: ASKED})[0] == ASKED
    other = "glibc.malloc.arena_max=3"
    assert told(**{VARIABLE: other}) == [f"{other}:{pastcaches._OURS}", "False"]
    beside = "glibc.malloc.tcache_count=0"
    assert told(**{VARIABLE: beside}) == [f"{beside}:{pastcaches._OURS}", "True"]


def test_children_do_not_get_it():
    plain = {"PATH": "/bin"}
    assert through_caches(plain) == plain
    assert through_caches({**plain, VARIABLE: pastcaches._OURS}) == plain
    both = {**plain, VARIABLE: f"{ASKED}:{pastcaches._OURS}"}
    assert through_caches(both) == {**plain, VARIABLE: ASKED}


def test_elsewhere_nothing_is_done(monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("began again")

    monkeypatch.setattr(os, "execve", refuse)
    monkeypatch.setattr(sys, "platform", "win32")
    pastcaches.begin_past_caches()


@glibc_only
def test_where_it_cannot_begin_again_it_goes_on(monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError("no such program")

    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(os, "execve", refuse)
    pastcaches.begin_past_caches()
    assert VARIABLE not in os.environ
