"""Inside the frame loop a collection looks at new objects alone; afterwards all is as it was."""

from __future__ import annotations

import gc

import pytest

from live.processes.quietgc import quiet_gc


def test_what_exists_is_set_aside_and_comes_back():
    before = gc.get_threshold(), gc.get_freeze_count()
    with quiet_gc():
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold()[0] > before[0][0]
    assert gc.get_threshold() == before[0]
    assert gc.get_freeze_count() == 0


def test_also_after_an_error():
    before = gc.get_threshold()

    @quiet_gc()
    def fail() -> None:
        raise RuntimeError("the camera has gone")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="gone"):
            fail()
        assert gc.get_threshold() == before
