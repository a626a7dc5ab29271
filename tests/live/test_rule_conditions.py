"""Rules with a condition: when they fire, again and afterwards; limits hold; frames only count."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers import FrameMeta
from live.rules.decisions import Action, Decision, RuleBook
from live.rules.settings import RoiSettings, RuleSettings
from models import OBJECT_DTYPE

SHAPE = (100, 100)
SECOND = 1_000_000_000
CLASSES = ("interphase", "mitotic")


def meta(seq: int, **changes: Any) -> FrameMeta:
    usual = {"seq": seq, "captured_ns": seq * SECOND, "popped_ns": 0, "exposure_ms": 20.0,
             "x_um": 500.0, "y_um": 600.0, "pixel_size_um": 0.5}  # fmt: skip
    return FrameMeta(**(usual | changes))


def cell(track: int, **changes: Any) -> np.ndarray:
    row = np.zeros(1, OBJECT_DTYPE)
    row["label"] = row["track_id"] = track
    row["age_frames"], row["confidence"], row["area_px"] = 2, 0.9, 80
    row["mean_intensity"], row["max_intensity"] = 1000, 1500
    row["y_px"] = row["x_px"] = 50
    row["y_um"] = row["x_um"] = 25.0
    row["class_id"], row["uncertainty"] = -1, -1
    for key, value in changes.items():
        row[key] = value
    return row


def rule(when: Any, **changes: Any) -> RuleSettings:
    start = {"name": "r", "when": when, "then": {"kind": "burst", "frames": 2},
             "max_firings": 1000}  # fmt: skip
    return RuleSettings.model_validate(start | changes)


def judged(book: RuleBook, seq: int, *cells: np.ndarray, **changes: Any) -> list[Decision]:
    objects = np.concatenate(cells) if cells else np.zeros(0, OBJECT_DTYPE)
    return book.judge(objects, meta(seq, **changes), SHAPE, seq * SECOND + 1000, CLASSES)


def fired(decisions: list[Decision]) -> list[int]:
    return [d.track_id for d in decisions if d.action is Action.BURST]


def test_what_is_not_measured_fulfils_no_condition() -> None:
    book = RuleBook([rule("roughness > 5 OR neighbours < 9 OR nearest > 5")])
    unknown = {"roughness": np.nan, "neighbours": -1, "nearest_px": np.nan}
    assert fired(judged(book, 0, cell(1, **unknown))) == []
    known = cell(2, roughness=9.0, neighbours=20, nearest_px=1.0)
    assert fired(judged(book, 1, cell(1, **unknown), known)) == [2]


def test_it_fires_when_the_condition_begins_to_hold_and_says_what_was_seen() -> None:
    book = RuleBook([rule("area > 100")])
    assert judged(book, 0, cell(1), cell(2)) == []
    (decision,) = judged(book, 1, cell(1, area_px=150), cell(2))
    assert decision.because == "cell 1 fulfils area > 100 (area 150)"
    assert (decision.track_id, decision.objects, decision.x_um) == (1, (1,), 25.0)
    assert judged(book, 2, cell(1, area_px=150), cell(2)) == []
    assert judged(book, 3, cell(1), cell(2)) == []
    assert fired(judged(book, 4, cell(1, area_px=150), cell(2, area_px=101))) == [1, 2]


def test_a_rule_decides_on_the_image_that_it_names() -> None:
    for on, found in (("raw", []), ("denoised", [1])):
        book = RuleBook([rule("mean > 1200 AND max < 1400", decide_on=on)])
        seen = cell(1, mean_denoised=1300, max_denoised=1350)
        assert judged(book, 0, cell(1)) == []
        (*decisions,) = judged(book, 1, seen)
        assert fired(decisions) == found
        if found:
            assert "mean_denoised 1300" in decisions[0].because


def test_a_change_of_the_denoised_image_is_seen_in_its_own_baseline() -> None:
    book = RuleBook([rule("mean_change > 1.5", decide_on="denoised")])
    for seq in range(8):
        assert judged(book, seq, cell(1, mean_denoised=500)) == []
    assert fired(judged(book, 8, cell(1, mean_intensity=5000, mean_denoised=500))) == []
    assert fired(judged(book, 9, cell(1, mean_denoised=900))) == [1]


def test_leaving_a_region_and_the_view() -> None:
    box = {"box": [40, 40, 60, 60], "unit": "px"}
    book = RuleBook([rule("left_roi", roi=box)])
    outside = cell(3, x_px=90)  # never inside, so it cannot leave
    seen = [judged(book, seq, cell(1, x_px=x), outside) for seq, x in enumerate((50, 55, 65, 70))]
    assert [fired(one) for one in seen] == [[], [], [1], []]
    book = RuleBook([rule("n_left > 0", per="frame")])
    inner = cell(2, bbox_y0=40, bbox_x0=40, bbox_y1=60, bbox_x1=60)
    outer = cell(1, bbox_y0=0, bbox_x0=40, bbox_y1=20, bbox_x1=60)
    went = [bool([d for d in judged(book, 0, inner, outer) if d.action is Action.BURST])]
    went.append(any(d.action is Action.BURST for d in judged(book, 1, inner)))
    went.append(any(d.action is Action.BURST for d in judged(book, 2)))
    assert went == [False, True, False]
    book = RuleBook([rule("n_left > 0", per="frame")])
    judged(book, 0, outer)
    assert not judged(book, 1, x_um=900.0), "the stage left the cell, not the cell the view"


def test_for_frames_counts_frames_in_a_row() -> None:
    book = RuleBook([rule("area > 100", for_frames=3)])
    big = [True, True, False, True, True, True, True, False, True, True, True]
    out = [bool(judged(book, k, cell(1, area_px=150 if b else 80))) for k, b in enumerate(big)]
    assert out == [False] * 5 + [True] + [False] * 4 + [True]


def test_hysteresis_and_what_is_done_afterwards() -> None:
    """Two cells flash; the interval goes back once, when the last of them is calm."""
    book = RuleBook([rule("area > 200", until="area < 100", afterwards={"kind": "stop"})])
    steps = [(80, 80), (250, 80), (150, 80), (250, 250), (90, 150), (90, 90), (90, 90), (250, 90)]
    out = [
        [
            (d.track_id, d.afterwards)
            for d in judged(book, k, cell(1, area_px=a), cell(2, area_px=b))
        ]
        for k, (a, b) in enumerate(steps)
    ]
    assert out == [[], [(1, False)], [], [(2, False)], [], [(2, True)], [], [(1, False)]]


def test_a_cell_that_is_lost_ends_what_it_began() -> None:
    book = RuleBook([rule("area > 200", afterwards={"kind": "stop"})])
    assert fired(judged(book, 0, cell(1, area_px=250), cell(2))) == [1]
    said = [judged(book, k, cell(2)) for k in range(1, 20)]
    assert [k for k, found in enumerate(said, 1) if found and found[0].afterwards] == [10]


def test_while_true_fires_in_every_frame() -> None:
    book = RuleBook([rule("id = 7", while_true=True)])
    assert [fired(judged(book, k, cell(7), cell(8))) for k in range(3)] == [[7]] * 3


def test_count_fires_once_for_all_of_them() -> None:
    book = RuleBook([rule("class = 'mitotic'", count=2)])
    mitotic = {"class_id": 1, "class_probability": 0.9}
    assert judged(book, 0, cell(1, **mitotic), cell(2)) == []
    (decision,) = judged(book, 1, cell(1, **mitotic), cell(2), cell(3, **mitotic))
    assert decision.objects == (1, 3)
    assert decision.because.startswith("2 objects fulfil class = 'mitotic'")
    assert judged(book, 2, cell(1, **mitotic), cell(2), cell(3, **mitotic)) == []


def test_a_rule_per_frame_has_the_stage_as_its_place() -> None:
    book = RuleBook([rule("count(*) >= 2 AND max(area) > 100", per="frame")])
    assert judged(book, 0) == []
    assert judged(book, 1, cell(1, area_px=150)) == []
    (decision,) = judged(book, 2, cell(1, area_px=150), cell(2))
    assert (decision.track_id, decision.objects) == (0, ())
    assert (decision.x_um, decision.y_um) == (500.0, 600.0)


def test_held_back_is_said_once_and_tried_again() -> None:
    book = RuleBook([rule("area > 100", cooldown_s=3)])
    big = [cell(1, area_px=150), cell(2, area_px=150)]
    first, second = judged(book, 1, *big)
    assert (first.action, second.action) == (Action.BURST, Action.HOLD)
    assert judged(book, 2, *big) == []
    assert judged(book, 3, *big) == []
    assert fired(judged(book, 5, *big)) == [2]


def test_entering_a_region_needs_to_have_been_outside() -> None:
    book = RuleBook([rule("entered_roi", roi={"box": [40, 40, 60, 60], "unit": "px"})])
    assert judged(book, 0, cell(1, x_px=50), cell(2, x_px=10)) == []
    assert fired(judged(book, 1, cell(1, x_px=50), cell(2, x_px=45))) == [2]
    assert judged(book, 2, cell(1, x_px=10), cell(2, x_px=46)) == []
    assert fired(judged(book, 3, cell(1, x_px=50), cell(2, x_px=47))) == [1]


def test_a_polygon_contains_what_is_inside() -> None:
    triangle = RoiSettings(polygon=((0, 0), (10, 0), (0, 10)))
    inside = triangle.contains([1, 6, -1, np.nan], [1, 6, 1, 1])
    assert inside.tolist() == [True, False, False, False]


def test_a_spike_is_seen_against_the_cell_s_own_baseline_which_it_does_not_move() -> None:
    book = RuleBook([rule("mean_change > 1.5", until="mean_change < 1.2")])
    noise = np.random.default_rng(0).normal(1, 0.02, 200)
    out = []
    for k in range(200):
        flash = 3.0 if 100 <= k < 120 or 150 <= k < 170 else 1.0
        bright = cell(1, mean_intensity=1000 * flash * noise[k])
        dim = cell(2, mean_intensity=100 * noise[-k])
        # another exposure is another baseline and no spike
        longer = {"exposure_ms": 40.0} if k % 10 == 9 else {}
        if longer:
            bright["mean_intensity"] *= 2
        out += [(k, track) for track in fired(judged(book, k, bright, dim, **longer))]
    assert out == [(100, 1), (150, 1)]


def test_the_best_of_each_position() -> None:
    found = {}
    book = RuleBook([rule("area > 10", best={"count": 2, "by": "mean"}, max_evidence_age_ms=1e6)])
    for seq in range(9):
        place = {"index": {"p": seq // 3}, "pos_name": f"W{seq // 3}"}
        cells = [cell(10 * seq + k, mean_intensity=100 * ((seq * 7 + k * 3) % 11)) for k in (1, 2)]
        found[seq] = fired(judged(book, seq, *cells, **place))
    assert [seq for seq, tracks in found.items() if tracks] == [3, 6]
    assert all(len(found[seq]) == 2 for seq in (3, 6))
    scores = {10 * s + k: (s * 7 + k * 3) % 11 for s in range(3) for k in (1, 2)}
    assert [scores[t] for t in found[3]] == sorted(scores.values(), reverse=True)[:2]
    early = rule("area > 10", best={"count": 1, "by": "mean", "after_frames": 2})
    book = RuleBook([early])
    out = [fired(judged(book, k, cell(k + 1, mean_intensity=k))) for k in range(4)]
    assert out == [[], [2], [], [4]]


def test_a_condition_that_fails_switches_its_rule_off_and_no_other() -> None:
    book = RuleBook(
        [rule("power(10, area)::INTEGER > 3", name="bad"), rule("area > 100", name="good")]
    )
    bad, good = judged(book, 0, cell(1, area_px=150))
    assert (bad.rule, bad.action) == ("bad", Action.HOLD)
    assert "cannot be worked out" in bad.because
    assert (good.rule, good.action) == ("good", Action.BURST)
    assert [armed for _, _, _, armed in book.status()] == [False, True]
    assert judged(book, 1, cell(1, area_px=150)) == []


@pytest.mark.parametrize(
    ("when", "changes", "why"),
    [
        ("in_roi", {}, "need a region; give the rule"),
        ("divided", {"until": "area > 1"}, "is an event and takes no until"),
        ("divided", {"for_frames": 2}, "takes min_age_frames instead"),
        ("area > 1", {"while_true": True, "until": "area < 1"}, "contradict"),
        ("confluence > 1", {"per": "frame", "count": 2}, "count is about objects"),
        ("area > 1", {"best": {"count": 1, "by": "divided"}}, "need a number"),
        ({"plugin": "nothing-such"}, {}, "no installed package has a condition"),
        ("area > 1", {"roi": {"unit": "px"}}, "give either box"),
    ],
)
def test_what_does_not_fit_together_is_refused(when: Any, changes: Any, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        rule(when, **changes)


RULES = st.fixed_dictionaries(
    {
        "when": st.sampled_from(
            ["area > 100", "divided", "appeared", "mean > 1000 OR divided", "n > 2 AND id > 1",
             "area_change > 1.5", "age > 2"]
        ),
        "max_firings": st.integers(1, 4),
        "cooldown_s": st.sampled_from([0, 2.5, 20]),
        "max_per_hour": st.none() | st.integers(1, 3),
        "max_per_object": st.none() | st.integers(1, 2),
    }
)  # fmt: skip
FRAMES = st.lists(
    st.tuples(
        st.integers(0, 60),
        st.lists(
            st.tuples(st.integers(1, 5), st.sampled_from([50, 150, 400]), st.booleans()),
            max_size=5,
            unique_by=lambda one: one[0],
        ),
    ),
    max_size=25,
)


@given(st.lists(RULES, min_size=1, max_size=3), FRAMES)
@settings(max_examples=40, deadline=None)
def test_limits_hold_and_no_frame_is_cited_out_of_turn(rules: Any, frames: Any) -> None:
    given_ = [rule(name=f"r{k}", **{"min_separation": 0, **one}) for k, one in enumerate(rules)]

    def run() -> list[Decision]:
        book, out, newest = RuleBook(given_), [], -1
        for seq, rows in frames:
            cells = [
                cell(t, area_px=a, mean_intensity=10 * a, divided=d, parent_id=9 if d else 0,
                     age_frames=1 + seq % 4)
                for t, a, d in rows
            ]  # fmt: skip
            found = judged(book, seq, *cells)
            assert not found or seq > newest
            newest = max(newest, seq)
            assert all(d.seq == seq for d in found)
            out += found
        return out

    decisions = run()
    assert decisions == run()  # the same frames, the same decisions
    for one in given_:
        mine = [d for d in decisions if d.rule == one.name and d.action is Action.BURST]
        assert len(mine) <= one.max_firings
        times = [d.decided_ns for d in mine]
        assert all(b - a >= one.cooldown_s * SECOND for a, b in pairwise(times))
        if one.max_per_hour is not None:
            assert len(mine) <= one.max_per_hour  # the frames span a minute
        if one.max_per_object is not None:
            tracks = [d.track_id for d in mine]
            assert all(tracks.count(track) <= one.max_per_object for track in tracks)
