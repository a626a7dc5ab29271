"""Scoring of decisions against what really happened."""

from __future__ import annotations

import pytest

from drivers import TrueDivision
from live.rules.decisions import Action, Decision
from live.scoring.truth import score_divisions


def said(number: int, seq: int, x_um: float, action: Action = Action.BURST) -> Decision:
    return Decision(
        number=number, rule="r", action=action, seq=seq, track_id=1, objects=(), x_um=x_um,
        y_um=0.0, y_px=0.0, x_px=0.0, because="", evidence_age_ms=0.0, decided_ns=0,
    )  # fmt: skip


def real(seq: int, x_um: float) -> TrueDivision:
    return TrueDivision(seq=seq, captured_ns=0, x_um=x_um, y_um=0.0, parent=1, daughters=(2, 3))


@pytest.mark.parametrize(
    ("decisions", "divisions", "precision", "recall", "wrong"),
    [
        pytest.param([said(1, 11, 5)], [real(10, 0)], 1.0, 1.0, 0, id="right"),
        pytest.param([said(1, 30, 0)], [real(10, 0)], 0.0, 0.0, 1, id="too-late"),
        pytest.param([said(1, 10, 90)], [real(10, 0)], 0.0, 0.0, 1, id="elsewhere"),
        pytest.param([said(1, 5, 0)], [real(10, 0)], 0.0, 0.0, 1, id="before-it-happened"),
        pytest.param([], [real(10, 0)], None, 0.0, 0, id="missed"),
        pytest.param([said(1, 10, 0)], [], 0.0, None, 1, id="invented"),
        pytest.param(
            [said(1, 10, 0), said(2, 11, 0)], [real(10, 0)], 0.5, 1.0, 1, id="twice-is-once-wrong"
        ),
        pytest.param(
            [said(1, 10, 0), said(2, 12, 50, Action.HOLD)], [real(10, 0), real(12, 50)],
            1.0, 1.0, 0, id="held-back-is-recognised",
        ),
        pytest.param([said(1, 10, float("nan"))], [real(10, 0)], 0.0, 0.0, 1, id="uncalibrated"),
    ],
)  # fmt: skip
def test_scores(decisions, divisions, precision, recall, wrong):
    found = score_divisions(decisions, divisions).to_json()
    assert (found["precision"], found["recall"], found["wrong"]) == (precision, recall, wrong)


def seen(seq: int, x_um: float, mother_seq: int, margin_px: float) -> TrueDivision:
    return TrueDivision(seq, 0, x_um, 0.0, 1, (2, 3), mother_seq=mother_seq, margin_px=margin_px)


def test_what_no_camera_could_show_is_left_out_and_counted():
    divisions = [
        seen(10, 0, 9, 100.0),
        seen(10, 100, 9, 15.0),  # cut by the border
        seen(40, 200, 20, 100.0),  # nobody looked for 20 frames
        seen(40, 300, -1, -1.0),  # never seen before
        seen(40, 400, 27, 16.0),  # during a burst elsewhere
    ]
    found = score_divisions([said(1, 11, 0), said(2, 40, 200)], divisions).to_json()
    assert (found["countable"], found["countable_recognised"]) == (2, 1)
    assert (found["unseen"], found["at_border"], found["divisions"]) == (2, 1, 5)
    assert found["recall"] == 0.5
    assert found["recall_all"] == 0.4
    assert found["latency_frames"] == 0.5
