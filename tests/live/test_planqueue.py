"""Arbitration: who goes next among blocks that wait, and which two become one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import useq
from hypothesis import given, settings
from hypothesis import strategies as st

from live.plan.blocks import Block, move
from live.plan.clock import PlanClock
from live.plan.queue import FIELD_PART, BlockQueue, merged

FIELD = (100.0, 80.0)


def block(number: int, x: float = 0.0, y: float = 0.0, **more) -> Block:
    event = useq.MDAEvent(x_pos=x, y_pos=y, exposure=5)
    return Block(number, (event,) * 2, **more)


def aimed_at(number: int, x: float, y: float, **more) -> Block:
    return block(number, x, y, targets=((x, y),), field_um=FIELD, **more)


def order(queue: BlockQueue, x: float = 0.0, y: float = 0.0) -> list[int]:
    found = []
    while (taken := queue.take(x, y)) is not None:
        found.append(taken.decision)
    return found


def test_priority_comes_first_then_the_shortest_way_then_arrival():
    queue = BlockQueue()
    for one in (block(1, 50), block(2, 10), block(3, 10), block(4, 900, priority=1)):
        queue.add(one)
    assert order(queue) == [4, 2, 3, 1]


def test_rules_take_turns_however_many_one_of_them_asks_for():
    queue = BlockQueue()
    for number in range(4):
        queue.add(block(number, rule="eager"))
    queue.add(block(9, 500, rule="quiet"))
    assert order(queue)[:3] == [0, 9, 1]


def test_positions_take_turns():
    queue = BlockQueue()
    for number, place in ((1, "p0"), (2, "p0"), (3, "p1"), (4, "p0")):
        queue.add(block(number, rule="r", position=place))
    assert order(queue) == [1, 3, 2, 4]


def test_what_follows_in_a_chain_goes_before_others_of_its_priority():
    queue = BlockQueue()
    queue.add(block(1)), queue.put_first(block(2, 999))
    queue.add(block(3, priority=1))
    assert order(queue) == [3, 2, 1]


def test_two_targets_in_one_field_are_one_block_between_them():
    both = merged(aimed_at(1, 0, 0), aimed_at(2, 40, 20))
    assert both.decisions == (1, 2)
    assert {(event.x_pos, event.y_pos) for event in both.events} == {(20.0, 10.0)}
    three = merged(both, aimed_at(3, 80, 0))
    assert three.decisions == (1, 2, 3)
    assert {event.x_pos for event in three.events} == {40.0}
    assert merged(three, aimed_at(4, 81, 0)) is None


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(aimed_at(2, 90, 0), id="too far"),
        pytest.param(aimed_at(2, 1, 0, priority=1), id="another priority"),
        pytest.param(aimed_at(2, 1, 0, interval_s=1.0), id="another rate"),
        pytest.param(aimed_at(2, 1, 0, position="p3"), id="another position"),
        pytest.param(replace(aimed_at(2, 1, 0), field_um=(1.0, 1.0)), id="another field"),
        pytest.param(replace(aimed_at(2, 1, 0), following=block(3)), id="more to come"),
        pytest.param(replace(aimed_at(2, 1, 0), events=(move(x_pos=1, y_pos=0),)), id="no frames"),
        pytest.param(block(2, 1, 0), id="no target"),
    ],
)
def test_what_is_not_alike_stays_apart(other):
    assert merged(aimed_at(1, 0, 0), other) is None


@given(st.lists(st.tuples(st.floats(-200, 200), st.floats(-200, 200)), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_every_target_of_a_merged_block_is_in_its_image(places):
    queue = BlockQueue()
    for number, (x, y) in enumerate(places):
        queue.add(aimed_at(number, x, y))
    served = []
    while (taken := queue.take(0, 0)) is not None:
        served += taken.decisions
        (event,) = {id(event): event for event in taken.events}.values()
        for x, y in taken.targets:
            assert abs(x - event.x_pos) <= FIELD_PART * FIELD[0] / 2 + 1e-6
            assert abs(y - event.y_pos) <= FIELD_PART * FIELD[1] / 2 + 1e-6
    assert sorted(served) == list(range(len(places)))


@given(
    st.lists(
        st.tuples(st.sampled_from(["speed", "hold", "resume", "wait"]), st.floats(0.01, 5)),
        max_size=30,
    )
)
@settings(max_examples=60, deadline=None)
def test_the_clock_never_runs_backwards_and_speed_changes_shift_nothing_that_is_due(steps):
    clock, now, held = PlanClock(), 0.0, False
    clock.begin(0.0)
    for what, amount in steps:
        if not held:
            before = [clock.due(plan_s, now) for plan_s in (0.0, 10.0, 20.0)]
            assert before == sorted(before)
        if what == "speed" and not held:
            clock.set_speed(amount, now)
        elif what == "hold":
            clock.hold(now)
            held = True
        elif what == "resume":
            clock.resume(now)
            held = False
        now += amount
    clock.resume(now)
    first, second = clock.due(0.0, now), clock.due(1.0, now)
    due_now = (now - first) / (second - first)
    clock.set_speed(3.0, now)
    assert clock.due(due_now, now) == pytest.approx(now, abs=1e-6)
    assert clock.due(due_now + 3.0, now) == pytest.approx(now + 1.0, abs=1e-6)
