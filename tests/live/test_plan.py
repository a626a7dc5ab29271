"""The plan: blocks come first, its due times stay on their grid, nothing is lost without a word."""

from __future__ import annotations

from dataclasses import replace

import pytest
import useq
from hypothesis import given, settings
from hypothesis import strategies as st
from useq._mda_event import Channel as EventChannel

from live.plan.blocks import Recentre, SetInterval, SetPreset, Shift, move
from live.plan.plan import MAX_WAITING_BLOCKS, Block, Home, Job, Plan
from live.plan.source import PlanSource

HERE = Home(x_um=10.0, y_um=20.0, z_um=3.0, exposure_ms=25.0, channel=None)
AWAY = Home(99.0, 88.0, 3.0, 5.0)


def timed(loops: int = 5, interval_s: float = 1.0, **more) -> useq.MDASequence:
    return useq.MDASequence(time_plan={"interval": interval_s, "loops": loops}, **more)


def burst(
    number: int = 1, frames: int = 3, interval_s: float = 0.25, priority: int = 0, **more
) -> Block:
    event = useq.MDAEvent(x_pos=99.0, y_pos=88.0, metadata={"parfocal": {"decision": number}})
    return Block(number, (event,) * frames, interval_s, priority, **more)


def plan_job(plan: Plan, now_s: float, here: Home = HERE) -> Job | None:
    """The plan's next own event, after any way home."""
    while (job := plan.next(now_s, here)) is not None and job.moves_only:
        pass
    return job


def test_a_plan_is_handed_out_in_its_own_rhythm():
    plan = Plan(timed(3, 0.5))
    jobs = [plan.next(0.0, HERE) for _ in range(3)]
    assert [job.due_s for job in jobs if job] == [0.0, 0.5, 1.0]
    assert [job.leads for job in jobs if job] == [False, True, True]
    assert plan.next(2.0, HERE) is None


def test_a_burst_comes_first_and_the_plan_stays_on_its_grid():
    plan = Plan(timed(4, 1.0))
    plan.next(0.0, HERE)
    waiting = plan.next(0.1, HERE)
    assert waiting is not None
    assert waiting.due_s == 1.0
    assert plan.insert(burst(frames=3, interval_s=0.25))
    plan.put_back(waiting)

    jobs = [plan.next(0.2, HERE) for _ in range(3)]
    assert [job.decision for job in jobs if job] == [1, 1, 1]
    assert [job.due_s for job in jobs if job] == pytest.approx([0.2, 0.45, 0.7])
    assert [(job.begins, job.ends) for job in jobs if job] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    assert plan.in_burst

    after = plan_job(plan, 0.9)
    assert after is not None
    assert (after.due_s, after.planned.index["t"]) == (1.0, 1)
    assert not plan.in_burst
    assert plan.take_reports() == ([], [])


def test_what_was_missed_is_left_out_with_a_record_and_the_newest_is_imaged_late():
    plan = Plan(timed(10, 1.0))
    plan.next(0.0, HERE)
    plan.insert(burst(frames=1))
    assert plan.next(0.2, HERE).decision == 1
    job = plan_job(plan, 4.3)
    assert job.planned.index["t"] == 4
    assert job.due_s == pytest.approx(4.0)
    assert job.leads
    assert job.why_late == "decision 1 came first"
    lates, _ = plan.take_reports()
    assert [(late.index["t"], late.skipped) for late in lates] == [(1, True), (2, True), (3, True)]
    assert [late.late_s for late in lates] == pytest.approx([3.3, 2.3, 1.3])
    assert plan_job(plan, 4.4).due_s == pytest.approx(5.0)


def test_asked_to_run_all_it_leaves_nothing_out():
    plan = Plan(timed(5, 1.0), late="run")
    plan.next(0.0, HERE)
    plan.insert(burst(frames=1))
    plan.next(0.2, HERE)
    assert [plan_job(plan, 3.5).planned.index["t"] for _ in range(4)] == [1, 2, 3, 4]
    assert plan.take_reports() == ([], [])


def test_every_position_keeps_its_newest_overdue_time_point():
    places = [{"x": 1, "y": 1}, {"x": 2, "y": 2}]
    plan = Plan(timed(6, 1.0, stage_positions=places))
    for _ in range(3):  # t0p0, t0p1, t1p0
        plan.next(0.0, HERE)
    plan.insert(burst(frames=1))
    plan.next(1.0, HERE)
    got = [plan_job(plan, 3.5).planned.index for _ in range(3)]
    assert [(index["t"], index["p"]) for index in got] == [(3, 0), (3, 1), (4, 0)]
    lates, _ = plan.take_reports()
    assert [(late.index["t"], late.index["p"]) for late in lates] == [(1, 1), (2, 0), (2, 1)]


def test_after_a_burst_the_stage_goes_home_at_once():
    plan = Plan(timed(3))
    plan.next(0.0, HERE)
    plan.insert(burst(frames=1))
    assert plan.next(0.1, HERE).event.x_pos == 99.0
    home = plan.next(0.2, AWAY)
    assert home.moves_only
    assert home.due_s == 0.2
    event = home.event
    assert (event.x_pos, event.y_pos, event.z_pos, event.exposure) == (10.0, 20.0, 3.0, 25.0)
    assert not plan.next(0.3, HERE).moves_only


def test_the_way_home_leads_back_to_the_presets_that_were_noted():
    plan = Plan(timed(3))
    plan.next(0.0, HERE)
    block = burst(frames=1, groups=("Objective",))
    plan.insert(block)
    plan.next(0.1, HERE)
    assert plan.unknown_groups(block) == ("Objective",)
    plan.note_presets({"Objective": "10X"})
    assert plan.unknown_groups(block) == ()
    first, last = plan.next(0.2, AWAY), plan.next(0.2, AWAY)
    assert (first.event.channel.group, first.event.channel.config) == ("Objective", "10X")
    assert last.event.x_pos == 10.0


def test_two_bursts_run_by_priority_and_lead_back_to_the_first_home():
    plan = Plan(timed(2))
    plan.next(0.0, HERE)
    plan.insert(burst(1, frames=1, priority=0))
    plan.insert(burst(2, frames=1, priority=5))
    assert plan.next(0.1, HERE).decision == 2
    assert plan.next(0.2, AWAY).decision == 1
    assert plan.next(0.3, AWAY).event.x_pos == 10.0


def test_a_higher_rule_breaks_into_a_block_whose_rest_is_resumed():
    plan = Plan(timed(2))
    plan.next(0.0, HERE)
    plan.insert(burst(1, frames=4))
    assert plan.next(0.1, HERE).decision == 1
    plan.insert(burst(2, frames=1, priority=3))
    assert plan.interrupts
    got = [plan.next(0.2, AWAY) for _ in range(4)]
    assert [job.decision for job in got] == [2, 1, 1, 1]
    assert [job.begins for job in got] == [True, False, False, False]
    assert plan.take_reports() == ([], [])


def test_a_block_that_does_not_want_its_rest_ends_with_a_note():
    plan = Plan(timed(2))
    plan.next(0.0, HERE)
    plan.insert(burst(1, frames=4, drop_rest=True))
    plan.next(0.1, HERE)
    plan.insert(burst(2, frames=1, priority=3))
    assert plan.next(0.2, AWAY).decision == 2
    assert plan.next(0.3, AWAY).moves_only
    _, (note,) = plan.take_reports()
    assert note.decisions == (1,)
    assert "3 frames to go" in note.problem


def test_an_equal_rule_does_not_interrupt():
    plan = Plan(timed(2))
    plan.next(0.0, HERE)
    plan.insert(burst(1, frames=2))
    plan.next(0.1, HERE)
    plan.insert(burst(2, frames=1))
    assert not plan.interrupts
    assert plan.next(0.2, AWAY).decision == 1


def test_a_hardware_sequence_is_one_job_and_its_rest_comes_back():
    plan = Plan(timed(2))
    plan.next(0.0, HERE)
    plan.insert(burst(1, frames=50, interval_s=0.0))
    job = plan.next(0.1, HERE)
    assert (job.sequence, job.ends) == (50, True)
    plan.insert(burst(2, frames=1, priority=1))
    plan.interrupted(job, done=20)
    assert plan.next(0.2, AWAY).decision == 2
    rest = plan.next(0.3, AWAY)
    assert (rest.decision, rest.sequence, rest.begins) == (1, 30, False)


def test_a_chain_is_carried_out_in_order_before_others_of_its_priority():
    plan = Plan(timed(2))
    plan.next(0.0, HERE)
    second = burst(1, frames=1)
    plan.insert(replace(burst(1, frames=1), rule="a", following=replace(second, rule="a")))
    plan.insert(replace(burst(2, frames=1), rule="b"))
    first = plan.next(0.1, HERE)
    assert first.decision == 1
    assert plan.follow(first)
    then = plan.next(0.2, AWAY)
    assert (then.decision, then.begins) == (1, False)
    assert not plan.follow(then)
    assert plan.next(0.3, AWAY).decision == 2


def test_the_interval_can_change_and_change_back():
    plan = Plan(timed(100, 1.0), interval_s=1.0)
    plan.next(0.0, HERE)
    waiting = plan.next(0.3, HERE)
    assert waiting.due_s == 1.0
    assert plan.apply(SetInterval(0.05, for_s=1.0), 0.4) == ""
    assert plan.due(waiting, 0.4) == pytest.approx(0.4 + 0.6 * 0.05)
    second = plan.next(0.5, HERE)
    assert plan.due(second, 0.5) - plan.due(waiting, 0.5) == pytest.approx(0.05)
    late = [plan.next(1.5, HERE) for _ in range(30)][-1]
    later = plan.next(1.5, HERE)
    assert later.due_s - late.due_s == pytest.approx(1.0)


def test_a_plan_without_an_interval_says_so():
    assert "no interval" in Plan(timed(3)).apply(SetInterval(1.0), 0.0)


def test_a_preset_for_some_frames_ends_with_the_way_back():
    channels = [{"config": "DAPI", "group": "Channel"}]
    plan = Plan(timed(6, 1.0, channels=channels))
    plan.next(0.0, HERE)
    fitc = EventChannel(config="FITC", group="Channel")
    plan.apply(SetPreset(fitc, for_frames=2, before="DAPI"), 0.1)
    one, two = plan.next(1.0, HERE), plan.next(2.0, HERE)
    plan.put_back(two)
    two = plan.next(2.0, HERE)
    assert [job.event.channel.config for job in (one, two)] == ["FITC", "FITC"]
    back = plan.next(2.1, HERE)
    assert back.moves_only
    assert back.event.channel.config == "DAPI"
    assert plan.next(3.0, HERE).event.channel.config == "DAPI"


def test_recentring_moves_one_position_of_the_plan_and_no_other():
    places = [{"x": 1, "y": 1}, {"x": 50, "y": 50}]
    plan = Plan(timed(3, 1.0, stage_positions=places))
    plan.next(0.0, HERE), plan.next(0.0, HERE)
    assert plan.apply(Recentre("p0", 4.0, 5.0, min_shift_um=1.0), 0.0) == ""
    assert plan.apply(Recentre("p0", 4.1, 5.0, min_shift_um=1.0), 0.0) == ""
    one, two = plan.next(1.0, HERE), plan.next(1.0, HERE)
    assert (one.event.x_pos, one.event.y_pos) == (4.0, 5.0)
    assert (two.event.x_pos, two.event.y_pos) == (50.0, 50.0)


def test_a_new_focus_is_where_the_plan_goes_on():
    plan = Plan(timed(3))
    plan.next(0.0, HERE)
    plan.insert(replace(burst(frames=1)))
    plan.next(0.1, HERE)
    plan.apply(Shift("", z_um=2.5), 0.2)
    assert plan.next(0.3, AWAY).event.z_pos == 5.5


def test_a_pause_stops_the_clock_and_nothing_is_late_for_it():
    plan = Plan(timed(5, 1.0))
    plan.next(0.0, HERE)
    waiting = plan.next(0.1, HERE)
    plan.pause()
    plan.put_back(waiting)
    plan.hold(0.4)
    plan.hold(5.0)
    plan.resume()
    assert plan.next(10.4, HERE).due_s == pytest.approx(11.0)
    assert plan.take_reports() == ([], [])


def test_what_waits_too_long_is_forgotten_with_a_note():
    plan = Plan(timed(2))
    plan.insert(burst(4, expires_s=1.0))
    assert plan.next(2.0, HERE).decision == -1
    _, (note,) = plan.take_reports()
    assert note.decisions == (4,)


def test_a_moving_target_is_aimed_at_when_its_block_starts():
    plan = Plan(timed(2))
    block = burst(1, frames=1, velocity_um_s=(2.0, -100.0), seen_s=1.0, field_um=(30.0, 30.0))
    plan.insert(block)
    event = plan.next(3.0, HERE).event
    assert (event.x_pos, event.y_pos) == (99.0 + 4.0, 88.0 - 15.0)


def test_an_added_position_is_imaged_in_every_time_point_and_the_plan_stays_where_it_was():
    plan = Plan(timed(3, 1.0))
    plan.next(0.0, HERE)
    assert plan.add_position(70.0, 71.0, None, "new") == ""
    jobs = []
    while (job := plan.next(5.0, HERE)) is not None:
        jobs.append(job)
    assert [job.event.x_pos for job in jobs] == [70.0, 10.0, 70.0, 10.0, 70.0]
    assert [job.planned.index["t"] for job in jobs] == [0, 1, 1, 2, 2]
    assert jobs[0].event.pos_name == "new"


def test_positions_are_refused_where_time_points_do_not_come_first():
    plan = Plan(timed(3, 1.0, stage_positions=[(1, 2)], axis_order="ptc"))
    assert "axis_order" in plan.add_position(1.0, 2.0, None)
    assert "no time_plan" in Plan(useq.MDASequence(channels=["DAPI"])).add_position(1, 2, None)


def test_an_open_ended_plan_goes_on_at_its_last_interval():
    places = [(1, 2), (3, 4)]
    sequence = timed(2, 0.5, stage_positions=places, channels=["DAPI"])
    plan = Plan(sequence, open_ended=True)
    jobs = [plan.next(0.0, HERE) for _ in range(400)]
    longer = list(timed(200, 0.5, stage_positions=places, channels=["DAPI"]))
    for job, event in zip(jobs, longer, strict=True):
        assert job.planned.index == event.index
        assert job.planned.min_start_time == event.min_start_time
        assert (job.planned.x_pos, job.planned.channel) == (event.x_pos, event.channel)


def test_bursts_that_wait_are_bounded_and_a_closed_plan_takes_none():
    plan = Plan(timed())
    assert all(plan.insert(burst(n)) for n in range(MAX_WAITING_BLOCKS))
    assert plan.insert(burst(99)) is None
    plan.close()
    assert plan.next(0.0, HERE) is None
    assert plan.insert(burst(1)) is None


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
    plan.next(0.0, HERE)
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


def test_a_move_is_no_frame():
    block = Block(1, (move(x_pos=1.0, y_pos=1.0), useq.MDAEvent()))
    assert block.images == 1


@given(
    arrivals=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), max_size=6),
    frames=st.integers(1, 5),
    loops=st.integers(1, 20),
    late=st.sampled_from(["skip", "run"]),
)
@settings(max_examples=80, deadline=None)
def test_whatever_interrupts_each_time_point_is_imaged_or_recorded_once(
    arrivals, frames, loops, late
):
    plan = Plan(timed(loops, 0.5), late=late)
    now, step = 0.0, 0
    imaged, left_out, bursts, taken = [], [], 0, 0
    while (job := plan.next(now, HERE)) is not None:
        step += 1
        for at, priority in arrivals:
            if at == step and plan.insert(burst(step, frames=frames, priority=priority)):
                taken += frames
        if job.decision < 0 and plan.burst_waiting and job.due_s > now:
            plan.put_back(job)
            continue
        now = max(now, job.due_s)
        if job.planned is not None:
            assert job.due_s == pytest.approx(0.5 * job.planned.index["t"])
            imaged.append(job.planned.index["t"])
        elif job.decision >= 0:
            bursts += 1
        left_out += [item.index["t"] for item in plan.take_reports()[0]]
        now += 0.01
    assert sorted(imaged + left_out) == list(range(loops))
    assert imaged == sorted(imaged)
    assert late == "skip" or not left_out
    assert bursts == taken


@given(moments=st.lists(st.booleans(), min_size=30, max_size=30), added_at=st.integers(0, 11))
@settings(max_examples=30, deadline=None)
def test_events_made_ahead_of_time_change_nothing(moments, added_at):
    plan = useq.MDASequence(
        stage_positions=[{"x": 0, "y": 0}, {"x": 9, "y": 9}], time_plan={"interval": 0, "loops": 6}
    )

    def handed_out(prepare: bool) -> list[tuple[int, int]]:
        source = PlanSource(plan)
        places = []
        for number, moment in enumerate(moments):
            if prepare and moment:
                source.prepare(limit=4)
            if number == added_at:
                assert source.add_position(5.0, 5.0, None, "") == ""
            if (event := source.take()) is not None:
                places.append((event.index["t"], event.index["p"]))
        return places

    assert handed_out(True) == handed_out(False)
