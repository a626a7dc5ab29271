"""A rule that sets the exposure: inside a running sequence where that is allowed, else after it."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

import pytest
import useq

from drivers import ProtectedRig, open_rig
from drivers.limits import LimitSettings
from drivers.settings import MicroManagerSettings
from live.actions.inflight import expose_in_flight
from live.experiment.settings import RuleSettings
from live.ledger import CALM, LatencyAlarm, Ledger
from live.plan.blocks import SetExposure
from live.plan.plan import Block, Home, Plan

CAMERA = MicroManagerSettings(
    driver="micromanager",
    config="demo",
    adapters="mm-test-adapters",
    startup=[["Camera", "FastImage", "1"]],
)
HERE = Home(0.0, 0.0, 0.0, 10.0)


def plan_of(loops: int = 20) -> Plan:
    return Plan(
        useq.MDASequence(
            channels=[{"config": "DAPI", "exposure": 10}],
            time_plan={"interval": 0, "loops": loops},
        )
    )


def change(number: int, exposure_ms: float | None, priority: int = 0) -> Block:
    effect = SetExposure(exposure_ms)
    return Block(number, effect=effect, restores=False, priority=priority)


@pytest.fixture(scope="module")
def opened():
    with ProtectedRig(open_rig(CAMERA), exposure_in_sequence=True) as rig:
        yield rig


@pytest.fixture
def rig(opened):
    opened.apply(useq.MDAEvent(exposure=20))
    return opened


def test_a_shorter_exposure_takes_effect_inside_the_sequence(rig):
    plan, told = plan_of(), []
    plan.insert(change(7, 4.0))
    rig.start_sequence(12)
    first = [rig.read(5.0) for _ in range(4)]
    assert expose_in_flight(rig, plan, lambda n: told.append((n, "begun")), told_end(told))
    rest = [rig.read(5.0) for _ in range(8)]
    rig.stop()
    assert told == [(7, "begun"), (7, None)]
    assert not plan.burst_waiting
    # the one that was being exposed when the camera was told is of the old exposure still
    assert {frame.meta.exposure_ms for frame in [*first, rest[0]]} == {20}
    assert {frame.meta.exposure_ms for frame in rest[1:]} == {4}
    ends_ms = [frame.meta.captured_ns / 1e6 for frame in first + rest]
    exposed_ms = [frame.meta.exposure_ms for frame in first + rest]
    apart_ms = [later - end for end, later in pairwise(ends_ms)]
    assert all(ms >= least - 1 for ms, least in zip(apart_ms, exposed_ms[1:], strict=True))
    took_ms = (rest[-1].meta.captured_ns - rest[1].meta.captured_ns) / 1e6 / 6
    assert took_ms < 16  # 20 had it not taken effect
    seqs = [frame.meta.seq for frame in first + rest]
    assert seqs == list(range(seqs[0], seqs[0] + 12))
    assert plan.next(0.0, HERE).event.exposure == 4  # and what comes after keeps it


def test_a_change_that_comes_while_one_is_made_does_not_end_the_sequence(rig):
    plan, served = plan_of(), []

    def end(number, _problem):
        served.append(number)
        if number < 3:
            plan.insert(change(number + 1, 5.0 - number))

    plan.insert(change(1, 5.0))
    rig.start_sequence(4)
    assert expose_in_flight(rig, plan, lambda number: None, end)
    frames = [rig.read(5.0) for _ in range(4)]
    rig.stop()
    assert served == [1, 2, 3]
    assert frames[-1].meta.exposure_ms == 3


def test_frames_that_wait_in_the_buffer_keep_the_exposure_that_they_had(rig):
    rig.start_sequence(9)
    time.sleep(0.075)  # three are done and a fourth is being exposed; nobody has read them
    assert rig.retime(4.0)
    exposed = [rig.read(5.0).meta.exposure_ms for _ in range(9)]
    rig.stop()
    assert exposed[:3] == [20, 20, 20]
    assert exposed[-3:] == [4, 4, 4]
    assert exposed == sorted(exposed, reverse=True)


def test_room_for_a_sequence_goes_by_the_exposure_at_hand_not_by_that_of_the_last_frame():
    limits = LimitSettings(max_sequence_s=0.2)
    with ProtectedRig(open_rig(CAMERA), limits, exposure_in_sequence=True) as rig:
        rig.apply(useq.MDAEvent(exposure=4))
        rig.start_sequence(9)
        rig.read(5.0)
        assert rig.retime(2.0)
        while rig.read(5.0).meta.exposure_ms != 2:
            pass
        assert rig.retime(4.0)
        rig.stop()
        assert rig.sequence_room() == 50


def told_end(told):
    return lambda number, problem: told.append((number, problem))


@pytest.mark.parametrize(
    "exposure_ms",
    [
        pytest.param(30.0, id="longer than its light was set aside for"),
        pytest.param(None, id="the plan's own"),
    ],
)
def test_what_cannot_be_done_inside_waits_for_the_end_of_the_sequence(rig, exposure_ms):
    plan = plan_of()
    plan.insert(change(1, exposure_ms))
    rig.start_sequence(5)
    assert not expose_in_flight(rig, plan, pytest.fail, pytest.fail)
    rig.stop()
    assert plan.burst_waiting
    assert plan.next(0.0, HERE).block.effect == SetExposure(exposure_ms)


def test_without_the_word_of_the_user_a_running_sequence_is_left_alone():
    with ProtectedRig(open_rig(CAMERA)) as rig:
        rig.apply(useq.MDAEvent(exposure=10))
        rig.start_sequence(3)
        assert not rig.retime(5.0)
        rig.stop()


def test_no_sequence_nothing_to_retime(rig):
    assert not rig.retime(5.0)


def test_of_two_changes_the_later_holds_and_serves_both():
    plan = plan_of()
    plan.insert(change(1, 5.0))
    assert plan.insert(change(2, 6.0)).merged_into == 1
    block = plan.take_exposure()
    assert block.effect == SetExposure(6.0)
    assert block.decisions == (1, 2)


def test_a_change_that_does_not_wait_alone_keeps_its_turn():
    plan = plan_of()
    plan.insert(change(1, 5.0))
    plan.insert(Block(2, (useq.MDAEvent(exposure=1),), priority=5))
    assert plan.take_exposure() is None
    assert plan.next(0.0, HERE).decision == 2


def test_the_plans_events_go_back_to_their_own_exposure():
    plan = plan_of()
    assert plan.apply(SetExposure(3.0), 0.0) == ""
    assert plan.next(0.0, HERE).event.exposure == 3
    plan.apply(SetExposure(None), 0.0)
    assert plan.next(0.0, HERE).event.exposure == 10


def test_people_write_it_in_a_rule():
    rule = RuleSettings(
        name="dim", per="frame", when="n = 0", then={"kind": "exposure", "exposure_ms": 5}
    )
    assert rule.then[0].exposure_ms == 5
    with pytest.raises(ValueError, match="exposure_ms"):
        RuleSettings(name="dim", when="area > 1", then={"kind": "exposure", "exposure_ms": 0})


def times(took_ms: float) -> dict[str, int]:
    return {"captured": 1_000_000, "decided": 1_000_000 + int(took_ms * 1e6)}


def test_the_alarm_tells_once_and_when_it_is_over():
    alarm = LatencyAlarm(50.0)
    assert alarm.take(0, times(49)) == ""
    assert "frame 1" in alarm.take(1, times(80))
    assert alarm.take(2, times(60)) == ""
    assert alarm.ringing
    said = [alarm.take(3 + n, times(10)) for n in range(CALM)]
    assert [text for text in said if text] == [said[-1]]
    assert not alarm.ringing
    assert alarm.to_json() == {"budget_ms": 50.0, "over": 2, "worst_ms": 80.0}


def test_without_a_budget_nothing_rings():
    alarm = LatencyAlarm(None)
    assert alarm.take(0, times(1e6)) == ""
    assert alarm.to_json() == {}


def test_the_newest_of_a_full_ledger_are_the_newest():
    ledger = Ledger(100)
    for seq in range(250):
        ledger.mark(seq, captured=1_000_000, popped=1_000_000 + seq * 1_000_000)
    assert ledger.legs_ms(3)["camera_to_memory"].tolist() == [247, 248, 249]
    assert len(ledger.legs_ms(1000)["camera_to_memory"]) == 100


def test_marking_and_reading_at_once_is_safe():
    ledger, stop = Ledger(1000), threading.Event()
    wrong: list[object] = []

    def read() -> None:
        while not stop.is_set():
            wrong.extend(ms for ms in ledger.legs_ms(50)["camera_to_memory"] if ms != 1.0)

    reader = threading.Thread(target=read)
    reader.start()
    until = time.monotonic() + 0.2
    seq = 0
    while time.monotonic() < until:
        ledger.mark(seq, captured=1_000_000, popped=2_000_000)
        seq += 1
    stop.set()
    reader.join(5.0)
    assert wrong == []
