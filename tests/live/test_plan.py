"""The plan: bursts come first, and the spacing of what they interrupt is kept."""

from __future__ import annotations

import pytest
import useq
from hypothesis import given, settings
from hypothesis import strategies as st

from live.plan import MAX_WAITING_BURSTS, Burst, Home, Plan

HERE = Home(x_um=10.0, y_um=20.0, z_um=3.0, exposure_ms=25.0, channel=None)


def timed(loops: int = 5, interval_s: float = 1.0) -> useq.MDASequence:
    return useq.MDASequence(time_plan={"interval": interval_s, "loops": loops})


def burst(number: int = 1, frames: int = 3, interval_s: float = 0.25, priority: int = 0) -> Burst:
    event = useq.MDAEvent(x_pos=99.0, y_pos=88.0, metadata={"parfocal": {"decision": number}})
    return Burst(number, (event,) * frames, interval_s, priority)


def test_a_plan_is_handed_out_in_its_own_rhythm():
    plan = Plan(timed(3, 0.5))
    jobs = [plan.next(0.0, HERE) for _ in range(3)]
    assert [job.due_s for job in jobs if job] == [0.0, 0.5, 1.0]
    assert plan.next(2.0, HERE) is None


def test_a_burst_comes_first_and_the_plan_keeps_its_spacing():
    plan = Plan(timed(4, 1.0))
    first = plan.next(0.0, HERE)
    assert first is not None
    waiting = plan.next(0.1, HERE)
    assert waiting is not None
    assert waiting.due_s == 1.0
    assert plan.insert(burst(frames=3, interval_s=0.25))
    plan.put_back(waiting)

    jobs = [plan.next(0.2, HERE) for _ in range(3)]
    assert [job.decision for job in jobs if job] == [1, 1, 1]
    assert [job.due_s for job in jobs if job] == pytest.approx([0.2, 0.45, 0.7])
    assert [job.burst_length for job in jobs if job] == [3, 0, 0]
    assert plan.in_burst

    after = plan.next(0.9, HERE)
    assert after is not None
    # The burst took 0.2 to 0.9 s, so everything planned comes 0.7 s later, none in a rush.
    assert after.due_s == pytest.approx(1.7)
    later = plan.next(1.7, HERE)
    assert later is not None
    assert later.due_s == pytest.approx(2.7)


def test_after_a_burst_the_stage_goes_home():
    plan = Plan(timed(3))
    plan.next(0.0, HERE)
    plan.insert(burst(frames=1))
    assert plan.next(0.1, HERE).event.x_pos == 99.0
    home = plan.next(0.2, Home(99.0, 88.0, 3.0, 5.0)).event
    assert (home.x_pos, home.y_pos, home.z_pos, home.exposure) == (10.0, 20.0, 3.0, 25.0)
    assert plan.next(0.3, HERE).event.x_pos is None


def test_what_the_plan_says_itself_is_not_overridden_on_the_way_home():
    plan = Plan([useq.MDAEvent(), useq.MDAEvent(x_pos=1.0, exposure=7.0)])
    plan.next(0.0, HERE)
    plan.insert(burst(frames=1))
    plan.next(0.1, HERE)
    home = plan.next(0.2, HERE).event
    assert (home.x_pos, home.y_pos, home.exposure) == (1.0, 20.0, 7.0)


def test_two_bursts_run_by_priority_and_lead_back_to_the_first_home():
    plan = Plan(timed(2))
    plan.next(0.0, HERE)
    plan.insert(burst(1, frames=1, priority=0))
    plan.insert(burst(2, frames=1, priority=5))
    assert plan.next(0.1, HERE).decision == 2
    assert plan.next(0.2, Home(99.0, 88.0, 0.0, 1.0)).decision == 1
    assert plan.next(0.3, Home(99.0, 88.0, 0.0, 1.0)).event.x_pos == 10.0


def test_bursts_that_wait_are_bounded_and_a_closed_plan_takes_none():
    plan = Plan(timed())
    assert all(plan.insert(burst(n)) for n in range(MAX_WAITING_BURSTS))
    assert not plan.insert(burst(99))
    plan.close()
    assert plan.next(0.0, HERE) is None
    assert not plan.insert(burst(1))


def test_untimed_frames_alike_are_taken_together_for_a_hardware_sequence():
    channels = [{"config": "DAPI", "exposure": 5}]
    plan = Plan(useq.MDASequence(time_plan={"interval": 0, "loops": 10}, channels=channels))
    first = plan.next(0.0, HERE)
    alike = plan.take_immediate(first, 6)
    assert [event.index["t"] for event in alike] == [1, 2, 3, 4, 5, 6]
    plan.give_back(alike[2:])
    assert plan.next(0.0, HERE).event.index["t"] == 3


def test_frames_of_different_channels_or_with_a_rhythm_are_not_one_sequence():
    two = [{"config": "DAPI", "exposure": 5}, {"config": "FITC", "exposure": 5}]
    plan = Plan(useq.MDASequence(time_plan={"interval": 0, "loops": 3}, channels=two))
    assert plan.take_immediate(plan.next(0.0, HERE), 10) == []
    plan = Plan(timed(5, 1.0))
    assert plan.take_immediate(plan.next(0.0, HERE), 10) == []


def test_a_timer_that_is_reset_starts_the_clock_anew():
    events = [
        useq.MDAEvent(min_start_time=0.0),
        useq.MDAEvent(min_start_time=0.0, reset_event_timer=True),
        useq.MDAEvent(min_start_time=2.0),
    ]
    plan = Plan(events)
    plan.next(0.0, HERE)
    assert plan.next(5.0, HERE).due_s == 5.0
    assert plan.next(5.1, HERE).due_s == 7.0


@given(
    arrivals=st.lists(st.integers(0, 30), max_size=6, unique=True),
    frames=st.integers(1, 5),
    loops=st.integers(1, 20),
)
@settings(max_examples=60, deadline=None)
def test_every_planned_frame_comes_once_and_in_order_whatever_interrupts(arrivals, frames, loops):
    plan = Plan(timed(loops, 0.5))
    now, planned, bursts, step = 0.0, [], 0, 0
    last_due = -1.0
    while (job := plan.next(now, HERE)) is not None:
        step += 1
        if step in arrivals:
            plan.insert(burst(step, frames=frames))
        if job.decision < 0 and plan.burst_waiting and job.due_s > now:
            plan.put_back(job)
            continue
        now = max(now, job.due_s)
        if job.decision < 0:
            planned.append(job.event.index["t"])
            assert job.due_s >= last_due + (0.5 if planned[1:] else 0.0) - 1e-9
            last_due = job.due_s
        else:
            bursts += 1
        now += 0.01
    assert planned == list(range(loops))
    assert bursts % frames == 0
