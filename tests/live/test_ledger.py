"""The latency ledger."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.ledger import HOPS, LEGS, Ledger


def test_legs_are_the_differences_of_their_stations() -> None:
    ledger = Ledger()
    for seq in range(100):
        base = 10**9 + seq * 10**7
        ledger.mark(seq, captured=base, popped=base + 100_000)
        ledger.mark(seq, in_ring=base + 300_000, inference_start=base + 1_300_000)
        ledger.mark(seq, inference_end=base + 1_300_000 + (seq + 1) * 10_000)
        ledger.mark(seq, decided=base + 5_000_000)
    found = ledger.summary()
    assert found["camera_to_ring"] == pytest.approx({"p50": 0.3, "p95": 0.3, "p99": 0.3})
    assert found["ring_to_inference"]["p50"] == pytest.approx(1.0)
    assert found["inference"]["p50"] == pytest.approx(0.505)
    assert found["inference"]["p95"] == pytest.approx(np.percentile(np.arange(1, 101) / 100, 95))
    assert found["camera_to_decision"]["p99"] == pytest.approx(5.0)
    assert "event" not in found


def test_the_report_has_the_names_that_others_rely_on() -> None:
    names = {"camera_to_ring", "ring_to_inference", "inference", "camera_to_decision"}
    assert names <= LEGS.keys()
    order = {hop: number for number, hop in enumerate(HOPS)}
    assert all(order[start] < order[end] for start, end in LEGS.values())


def test_a_frame_that_never_came_to_a_decision_is_not_counted() -> None:
    ledger = Ledger()
    ledger.mark(0, captured=1, decided=2_000_001)
    ledger.mark(1, captured=1)
    assert ledger.legs_ms()["camera_to_decision"].tolist() == [2.0]


def test_old_frames_give_way_and_late_marks_are_counted() -> None:
    ledger = Ledger(capacity=4)
    for seq in range(10):
        ledger.mark(seq, captured=seq + 1)
    assert ledger.times(5) == {}
    assert ledger.times(9) == {"captured": 10}
    ledger.mark(5, decided=99)
    assert ledger.late == 1
    assert ledger.times(9) == {"captured": 10}


def test_an_unknown_station_is_refused() -> None:
    with pytest.raises(KeyError, match="captrued"):
        Ledger().mark(0, captrued=1)


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.sampled_from(HOPS), st.integers(1, 2**62)), max_size=200
    )
)
def test_it_remembers_what_a_dictionary_would(marks: list[tuple[int, str, int]]) -> None:
    ledger = Ledger(capacity=16)
    known: dict[int, dict[str, int]] = {}
    newest: dict[int, int] = {}
    late = 0
    for seq, hop, time_ns in marks:
        ledger.mark(seq, **{hop: time_ns})
        slot = seq % 16
        if newest.get(slot, -1) > seq:
            late += 1
            continue
        if newest.get(slot) != seq:
            known[seq] = {}
        newest[slot] = seq
        known[seq][hop] = time_ns
    assert ledger.late == late
    for seq in newest.values():
        assert ledger.times(seq) == known[seq]
    assert all(np.isfinite(ms).all() for ms in ledger.legs_ms().values())
