"""The acquisition benchmark notices what it claims: a frame that is missing, or torn."""

from __future__ import annotations

import pytest

from benchmarks.acquire_read import read


def taken(*frames: tuple[int, int]):
    return iter(frames).__next__


@pytest.mark.parametrize(
    ("frames", "problem"),
    [
        pytest.param([(0, 7), (1, 7), (2, 7)], "", id="whole"),
        pytest.param([(0, 7), (2, 7), (3, 7)], "frame 2 came after frame 0", id="lost"),
        pytest.param([(0, 7), (0, 7), (1, 7)], "frame 0 came after frame 0", id="twice"),
        pytest.param([(0, 7), (1, 7), (2, 9)], "adds up to 9 instead of 7", id="torn"),
    ],
)
def test_the_reader_of_the_benchmark_sees_lost_and_torn_frames(frames, problem):
    found = read(taken(*frames), len(frames), 0, lambda number: None)
    assert problem in found.problem
    assert bool(found.problem) == bool(problem)
    assert found.timed == (2 if not problem else found.timed)


@pytest.mark.slow
def test_every_contestant_delivers_every_frame():
    from benchmarks.acquire import run

    rows = run(quick=True)
    assert [row for row in rows if "left_out" in row or "lost_in_a_round" in row] == []
    assert sum("hop at" in row["case"] for row in rows) == 16
