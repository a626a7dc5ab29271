"""Who runs next on a shared engine: every order of asking, with a clock that is made up."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.engines.batching import LATELY_MS, Batcher

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 4), st.sampled_from("ab")),
        st.tuples(st.just("wait"), st.floats(0, 50), st.none()),
        st.tuples(st.just("take"), st.none(), st.none()),
        st.tuples(st.just("leave"), st.integers(0, 4), st.none()),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(1, 4), st.sampled_from([0.0, 5.0, 20.0]), st.integers(1, 8))
def test_whatever_is_asked(steps: list, most: int, budget_ms: float, capacity: int) -> None:
    batcher, now = Batcher(most, budget_ms, capacity), 0.0
    waiting: dict[int, tuple[int, str, float]] = {}  # ticket: stream, kind, when
    asked = served = dropped = left = 0
    for what, one, kind in steps:
        if what == "ask":
            asked += 1
            mine = sorted(ticket for ticket, (stream, *_) in waiting.items() if stream == one)
            full = len(waiting) == capacity
            got = batcher.ask(one, kind, now)
            waiting[got.ticket] = one, kind, now
            assert (got.gave_way is not None) == full
            if got.gave_way is not None:
                dropped += 1
                if mine:
                    assert got.gave_way == mine[0]  # the oldest of its own
                elif got.gave_way != got.ticket:
                    # nobody loses the only request that it has to another stream
                    streams = [stream for stream, *_ in waiting.values()]
                    assert streams.count(waiting[got.gave_way][0]) > 1
                del waiting[got.gave_way]
        elif what == "wait":
            now += one
        elif what == "leave":
            gone = batcher.leave(one)
            assert sorted(gone) == sorted(t for t, (stream, *_) in waiting.items() if stream == one)
            left += len(gone)
            for ticket in gone:
                del waiting[ticket]
        else:
            wait = batcher.wait_ms(now)
            batch = batcher.take(now)
            assert (wait == 0) == bool(batch)
            assert len(batch) <= most
            tickets = [request.ticket for request in batch]
            assert tickets == sorted(tickets)  # the oldest, whose time is up first, runs first
            assert len({request.kind for request in batch}) <= 1
            for request in batch:
                assert waiting[request.ticket] == (request.stream, request.kind, request.asked_ms)
            if waiting:
                oldest = min(waiting)
                if now - waiting[oldest][2] >= budget_ms:
                    assert oldest in tickets
                else:
                    assert wait is not None
                    assert wait <= budget_ms - (now - waiting[oldest][2])
            if batch:
                # nobody comes twice while another stream of this kind is left out
                left_out = {
                    stream
                    for ticket, (stream, kind, _) in waiting.items()
                    if kind == batch[0].kind and ticket not in tickets
                } - {request.stream for request in batch}
                twice = len(batch) > len({request.stream for request in batch})
                assert not (left_out and twice)
            served += len(batch)
            for ticket in tickets:
                del waiting[ticket]
        assert len(batcher) == len(waiting) <= capacity
    assert asked == served + dropped + left + len(waiting)
    assert batcher.dropped.total() == dropped


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(2, 20), st.data())
def test_a_busy_stream_does_not_starve_a_quiet_one(most: int, flood: int, data) -> None:
    batcher = Batcher(most, 10.0, 8)
    now, takes = 0.0, 0
    for _ in range(flood):
        batcher.ask(1, "a", now)
    quiet = batcher.ask(2, data.draw(st.sampled_from("ab")), now)
    assert quiet.gave_way != quiet.ticket
    while True:
        for _ in range(flood):
            assert batcher.ask(1, "a", now).gave_way != quiet.ticket
        now += 10.0
        batch = batcher.take(now)
        takes += 1
        if quiet.ticket in [request.ticket for request in batch]:
            break
        assert takes <= 8
    assert batcher.dropped[2] == 0


def test_it_waits_for_those_who_may_still_come_and_no_longer() -> None:
    batcher = Batcher(4, 10.0, 8)
    batcher.ask(1, "a", 0.0)
    assert len(batcher.take(0.0)) == 1  # alone: at once
    batcher.ask(2, "a", 5.0)
    assert batcher.wait_ms(5.0) == 10.0  # 1 asked lately
    assert not batcher.take(14.0)
    batcher.ask(1, "a", 14.0)
    assert [r.stream for r in batcher.take(14.0)] == [2, 1]  # everybody is here
    batcher.ask(1, "a", 20.0)
    assert len(batcher.take(30.0)) == 1  # 2 did not come in time
    later = 30.0 + LATELY_MS
    batcher.ask(1, "a", later)
    assert len(batcher.take(later)) == 1  # 2 no longer asks
    batcher.ask(2, "a", later + 1)
    batcher.leave(1)
    assert len(batcher.take(later + 1)) == 1


def test_as_many_as_run_together_wait_for_nobody() -> None:
    batcher = Batcher(2, 10.0, 8)
    for stream in range(4):
        batcher.ask(stream, "a", 0.0)
    assert [r.stream for r in batcher.take(0.0)] == [0, 1]
    assert [r.stream for r in batcher.take(0.0)] == [2, 3]
    batcher.ask(0, "b", 1.0)
    for stream in (1, 2):
        batcher.ask(stream, "a", 1.0)
    assert [r.kind for r in batcher.take(1.0)] == ["a", "a"]
    assert batcher.wait_ms(1.0) == 10.0


@pytest.mark.parametrize("wrong", [(0, 1.0, 1), (1, -1.0, 1), (1, 1.0, 0)])
def test_what_cannot_be_is_refused(wrong: tuple[int, float, int]) -> None:
    with pytest.raises(ValueError, match="need at least"):
        Batcher(*wrong)


def test_the_second_request_of_a_stream_comes_after_the_first_of_every_other() -> None:
    batcher = Batcher(2, 10.0, 8)
    for stream in (1, 1, 1, 2, 3):
        batcher.ask(stream, "a", 0.0)
    turns = [[r.stream for r in batcher.take(0.0)] for _ in range(2)]
    assert turns == [[1, 2], [1, 3]]
