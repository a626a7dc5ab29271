"""Rules: what fires, what is held back and why; never on a frame out of turn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers import FrameMeta
from live.experiment.settings import BurstAction, RuleSettings
from live.rules.decisions import Action, RuleBook, burst_for
from models import OBJECT_DTYPE

SHAPE = (100, 100)
MS = 1_000_000


def meta(seq: int = 5, captured_ns: int = 0) -> FrameMeta:
    return FrameMeta(
        seq=seq, captured_ns=captured_ns, popped_ns=captured_ns, exposure_ms=20.0, x_um=500.0,
        y_um=600.0, z_um=7.0, channel="DAPI", pixel_size_um=0.5, index={"t": seq},
    )  # fmt: skip


def table(*rows: dict) -> np.ndarray:
    objects = np.zeros(len(rows), OBJECT_DTYPE)
    for number, row in enumerate(rows):
        objects[number]["label"] = number + 1
        objects[number]["confidence"] = 0.9
        objects[number]["age_frames"] = 1
        for key, value in row.items():
            objects[number][key] = value
    return objects


def daughters(mother: int = 3, first: int = 8, y: float = 50, x: float = 40) -> list[dict]:
    common = {"parent_id": mother, "divided": True}
    return [
        {"track_id": first, "y_px": y - 5, "x_px": x, "y_um": 610.0, "x_um": 520.0, **common},
        {"track_id": first + 1, "y_px": y + 5, "x_px": x, "y_um": 614.0, "x_um": 520.0, **common},
    ]


def rule(**changes: object) -> RuleSettings:
    given_ = {"name": "mitosis", "when": "divided", "then": {"frames": 12}}
    return RuleSettings.model_validate(given_ | changes)


def test_a_division_fires_once_for_both_daughters_and_says_why():
    book = RuleBook([rule()])
    (decision,) = book.judge(table(*daughters()), meta(), SHAPE, 3 * MS)
    assert decision.action is Action.BURST
    assert decision.because == "cell 3 divided into 8 and 9"
    assert decision.seq == 5
    assert decision.track_id == 3
    assert (decision.x_um, decision.y_um) == (520.0, 612.0)
    assert decision.evidence_age_ms == pytest.approx(3.0)


def test_a_division_counts_once_the_daughters_part():
    """At first two halves of one outline; the rule waits until they are two cells."""
    book = RuleBook([rule(min_separation=1.1)])

    def seen(seq: int, half_px: float) -> list[Action]:
        rows = daughters()
        for row, side in zip(rows, (-1, 1), strict=True):
            row |= {"y_px": 50 + side * half_px, "area_px": 78.5, "divided": seq == 5}
            row |= {"age_frames": seq - 4, "parent_id": 3 if seq == 5 else 0}
        return [d.action for d in book.judge(table(*rows), meta(seq), SHAPE, seq * MS)]

    assert seen(5, 4.0) == []  # 8 px apart, radii of 5 px: 0.8
    assert seen(6, 5.0) == []
    assert seen(7, 6.0) == [Action.BURST]
    assert seen(8, 9.0) == []


def test_an_outline_that_flickers_in_two_halves_never_counts():
    book = RuleBook([rule()])
    for seq in range(5, 60):
        rows = daughters(first=100 + 2 * seq, mother=seq)
        for row, side in zip(rows, (-1, 1), strict=True):
            row |= {"y_px": 50 + side * 4.0, "area_px": 78.5, "divided": seq % 3 == 0}
        objects = table(*rows) if seq % 3 else table(rows[0])
        assert book.judge(objects, meta(seq), SHAPE, seq * MS) == []


def test_nothing_seen_nothing_decided():
    assert RuleBook([rule()]).judge(table(), meta(), SHAPE, 0) == []
    assert RuleBook([rule()]).judge(table({"track_id": 4}), meta(), SHAPE, 0) == []


@pytest.mark.parametrize(
    ("changes", "now_ns", "why"),
    [
        pytest.param({"max_evidence_age_ms": 50}, 51 * MS, "51 ms old, limit 50", id="stale"),
        pytest.param({"min_confidence": 0.95}, MS, "confidence 0.90, need 0.95", id="unsure"),
        pytest.param({"edge_margin_px": 45}, MS, "nearer than 45", id="border"),
    ],
)
def test_guards_hold_back_with_a_reason(changes, now_ns, why):
    (decision,) = RuleBook([rule(**changes)]).judge(table(*daughters()), meta(), SHAPE, now_ns)
    assert decision.action is Action.HOLD
    assert why in decision.because


def test_cool_down_counts_from_the_end_of_the_action():
    book = RuleBook([rule(cooldown_s=2.0)])
    second = 1_000_000_000

    def at(seq: int, time_ns: int) -> Action:
        found = book.judge(
            table(*daughters(first=2 * seq)), meta(seq, time_ns), SHAPE, time_ns + MS
        )
        return found[0].action

    assert at(1, second) is Action.BURST
    book.finished("mitosis", 4 * second)
    assert at(2, 5 * second) is Action.HOLD
    assert at(3, 7 * second) is Action.BURST


def test_a_maximum_of_firings_and_a_disarmed_rule():
    book = RuleBook([rule(max_firings=2)])
    actions = [
        book.judge(table(*daughters(first=10 * n)), meta(n), SHAPE, MS)[0].action
        for n in range(1, 5)
    ]
    assert actions == [Action.BURST, Action.BURST, Action.HOLD, Action.HOLD]
    book = RuleBook([rule()])
    book.disarm("mitosis", "stage limit")
    (decision,) = book.judge(table(*daughters()), meta(), SHAPE, MS)
    assert "disarmed" in decision.because
    assert book.status() == [("mitosis", 0, "stage limit", False)]


def test_a_new_cell_can_be_the_cause_but_a_daughter_is_none():
    book = RuleBook([rule(when="appeared", min_age_frames=2)])
    seen = table(
        {"track_id": 4, "age_frames": 2, "y_px": 50, "x_px": 50},
        {"track_id": 5, "age_frames": 1, "y_px": 50, "x_px": 50},
        {"track_id": 6, "age_frames": 2, "parent_id": 1, "y_px": 50, "x_px": 50},
    )
    assert [d.track_id for d in book.judge(seen, meta(), SHAPE, MS)] == [4]


def decision_and(action: dict):
    settings_ = rule(then=action)
    (decision,) = RuleBook([settings_]).judge(table(*daughters()), meta(), SHAPE, MS)
    return decision, BurstAction.model_validate(action)


def test_the_burst_is_at_the_cell_faster_and_says_its_cause():
    decision, action = decision_and({"frames": 12, "rate_factor": 4})
    burst = burst_for(decision, action, meta(), "Channel", interval_s=0.25)
    assert len(burst.events) == 12
    assert burst.interval_s == pytest.approx(0.0625)
    event = burst.events[0]
    assert (event.x_pos, event.y_pos, event.z_pos, event.exposure) == (520.0, 612.0, 7.0, 20.0)
    assert event.channel.config == "DAPI"
    assert event.metadata["parfocal"] == {"decision": 1, "rule": "mitosis", "cause_seq": 5}


def test_a_burst_can_stay_where_the_stage_is():
    decision, action = decision_and({"frames": 2, "centre": False, "interval_ms": 5})
    burst = burst_for(decision, action, meta(), "Channel", interval_s=0.25)
    assert (burst.events[0].x_pos, burst.events[0].y_pos) == (500.0, 600.0)
    assert burst.interval_s == pytest.approx(0.005)


def test_an_uncalibrated_cell_is_imaged_where_the_stage_is():
    rows = [row | {"x_um": np.nan, "y_um": np.nan} for row in daughters()]
    (decision,) = RuleBook([rule()]).judge(table(*rows), meta(), SHAPE, MS)
    burst = burst_for(decision, BurstAction(frames=1), meta(), "", 1.0)
    assert (burst.events[0].x_pos, burst.events[0].y_pos) == (500.0, 600.0)
    assert burst.events[0].channel is None


@given(st.lists(st.integers(0, 50), max_size=40))
@settings(max_examples=60, deadline=None)
def test_a_decision_never_rests_on_a_frame_out_of_turn(seqs):
    book = RuleBook([rule(max_firings=1000)])
    newest = -1
    numbers = []
    for seq in seqs:
        decisions = book.judge(table(*daughters(first=100 + seq)), meta(seq), SHAPE, MS)
        assert all(decision.seq == seq for decision in decisions)
        assert bool(decisions) == (seq > newest)
        newest = max(newest, seq)
        numbers += [decision.number for decision in decisions]
    assert numbers == sorted(set(numbers))
