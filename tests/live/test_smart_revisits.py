"""Where frames that a rule asked for really were, against the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from live.rules.decisions import Action, Decision
from live.scoring.revisits import AskedFrame, revisits, summary


def decided(number: int, x_um: float, objects: tuple[int, ...] = (1,)) -> Decision:
    return Decision(
        number=number, rule="r", action=Action.BURST, seq=0, track_id=1, objects=objects,
        x_um=x_um, y_um=0.0, y_px=0.0, x_px=0.0, because="", evidence_age_ms=0.0, decided_ns=0,
    )  # fmt: skip


def shown(**places: float):
    ids = np.array([int(name[1:]) for name in places], np.int32)
    at = np.array([[x_um, 0.0] for x_um in places.values()], np.float64).reshape(-1, 2)
    return ids, at


def found(before, after, *, x_um: float = 1.0, at_um: float = 0.0, objects=(1,), daughters=None):
    frames = [AskedFrame(5, 1, at_um, 0.0), AskedFrame(6, 1, 99.0, 0.0)]
    cells = {0: before, 5: after}.get
    return revisits([decided(1, x_um, objects)], frames, cells, daughters or {})


@pytest.mark.parametrize(
    ("before", "after", "daughters", "cell", "off_um"),
    [
        pytest.param(shown(c7=0, c8=9), shown(c7=3), {}, 7, 3.0, id="moved"),
        pytest.param(shown(c7=0), shown(c8=0), {}, 7, None, id="not-in-the-image"),
        pytest.param(shown(c7=40), shown(c7=0), {}, 0, None, id="nothing-was-there"),
        pytest.param(shown(c7=0), shown(c8=-6, c9=10), {7: (8, 9)}, 7, 2.0, id="divided"),
        pytest.param(shown(c7=0), shown(c8=-6), {7: (8, 9)}, 7, None, id="one-daughter-lost"),
    ],
)
def test_targets(before, after, daughters, cell, off_um):
    (one,) = found(before, after, daughters=daughters)
    assert (one.cell, one.off_um, one.seq) == (cell, off_um, 5)


def test_a_ranked_target_is_looked_for_where_it_was_seen():
    cells = {0: shown(c7=0), 1: shown(c8=500), 5: shown(c7=2)}.get
    (one,) = revisits([replace(decided(1, 0), seq=1)], [AskedFrame(5, 1, 0, 0)], cells, {})
    assert (one.cell, one.off_um) == (7, 2.0)


def test_decisions_on_pairs_and_without_frames_have_no_target():
    assert found(shown(c7=0), shown(c7=0), objects=(1, 2)) == []
    assert revisits([decided(3, 0)], [AskedFrame(5, 1, 0, 0)], lambda _: shown(c7=0), {}) == []


def test_summary_counts_what_was_not_found_as_missed():
    one = found(shown(c7=0), shown(c7=3)) + found(shown(c7=0), shown(c8=0))
    assert summary(one) == {"revisits": 2, "revisits_close": 0.5, "revisits_off_um": 3.0}
    assert summary([]) == {}
