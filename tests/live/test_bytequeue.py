"""The queue that bounds memory on its way to disk."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from live.recording.bytequeue import ByteQueue


@given(st.lists(st.integers(1, 50), max_size=60))
def test_it_never_holds_more_than_its_bounds(sizes: list[int]) -> None:
    queue: ByteQueue[int] = ByteQueue(max_bytes=60, max_items=5)
    out: list[int] = []
    kept: list[int] = []
    for size in sizes:
        while not queue.put(size, size, 0.0):
            got = queue.get(0.0)
            assert got is not None
            out.append(got[0])
            queue.release(got[1])
        kept.append(size)
        items, nbytes = queue.held
        assert items <= 5
        assert nbytes <= 60
    while (got := queue.get(0.0)) is not None:
        out.append(got[0])
    assert out == kept


def test_one_item_larger_than_the_bound_passes_alone() -> None:
    queue: ByteQueue[str] = ByteQueue(10, 5)
    assert queue.put("large", 100, 0.0)
    assert not queue.put("small", 1, 0.0)


def test_what_was_taken_counts_until_it_is_released() -> None:
    queue: ByteQueue[str] = ByteQueue(10, 5)
    assert queue.put("a", 10, 0.0)
    assert queue.get(0.0) == ("a", 10)
    assert not queue.put("b", 10, 0.0)
    queue.release(10)
    assert queue.put("b", 10, 0.0)


def test_closing_wakes_who_waits_and_lets_the_rest_out() -> None:
    queue: ByteQueue[str] = ByteQueue(10, 5)
    queue.put("a", 10, 0.0)
    answers: list[bool] = []
    waiter = threading.Thread(target=lambda: answers.append(queue.put("b", 10, 10.0)))
    waiter.start()
    queue.close()
    waiter.join(5)
    assert answers == [False]
    assert not queue.exhausted
    assert queue.get(0.0) == ("a", 10)
    assert queue.exhausted
