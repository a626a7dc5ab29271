"""Rules that ask for a class, and what holds them back when nothing is to be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import useq
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers import FrameMeta
from drivers.settings import MicroManagerSettings
from live.experiment.settings import ExperimentSettings, RuleSettings
from live.experiment.yamlfile import key_text
from live.plan.facts import plan_facts, plan_problems
from live.rules.classnames import classes_of
from live.rules.decisions import Action, Decision, RuleBook
from models import OBJECT_DTYPE, PipelineSettings
from models.result import Verdict

SHAPE = (100, 100)
CLASSES = ("interphase", "mitotic", "dead")
UNLIKE = Verdict(4, 2.5, "objects are 4 times larger than in training")


def meta(seq: int) -> FrameMeta:
    return FrameMeta(seq=seq, captured_ns=seq, popped_ns=seq, exposure_ms=20.0, x_um=0.0, y_um=0.0,
                     z_um=0.0, channel="DAPI", pixel_size_um=0.5)  # fmt: skip


def cell(track: int, name: str = "", probability: float = 0.9, **changes: Any) -> np.ndarray:
    row = np.zeros(1, OBJECT_DTYPE)
    row["label"] = row["track_id"] = track
    row["age_frames"], row["confidence"], row["area_px"] = 1, 0.9, 80
    row["y_px"] = row["x_px"] = 50
    row["class_id"] = CLASSES.index(name) if name else -1
    row["class_probability"], row["uncertainty"] = probability if name else 0, -1
    for key, value in changes.items():
        row[key] = value
    return row


def rule(**changes: Any) -> RuleSettings:
    start = {"name": "r", "when": "became", "of_class": "mitotic", "then": {"frames": 2},
             "max_firings": 1000}  # fmt: skip
    return RuleSettings.model_validate(start | changes)


def judged(
    book: RuleBook, seq: int, *cells: np.ndarray, verdict: Verdict | None = None,
    classes: tuple[str, ...] = CLASSES,
) -> list[Decision]:  # fmt: skip
    objects = np.concatenate(cells) if cells else np.zeros(0, OBJECT_DTYPE)
    return book.judge(objects, meta(seq), SHAPE, seq + 1000, classes, verdict)


def test_a_cell_that_becomes_mitotic_fires_once() -> None:
    book = RuleBook([rule()])
    assert judged(book, 1, cell(7, "interphase"), cell(8, "interphase")) == []
    (decision,) = judged(book, 2, cell(7, "mitotic"), cell(8, "interphase"))
    assert decision.action is Action.BURST
    assert decision.because == "cell 7 became mitotic"
    assert (decision.track_id, decision.objects, decision.seq) == (7, (7,), 2)
    assert judged(book, 3, cell(7, "mitotic"), cell(8, "interphase")) == []
    assert judged(book, 4, cell(8, "interphase")) == []  # lost for a frame
    assert judged(book, 5, cell(7, "mitotic")) == []
    assert judged(book, 6, cell(7, "interphase")) == []
    assert len(judged(book, 7, cell(7, "mitotic"))) == 1


def test_it_waits_for_frames_in_a_row_and_for_probability() -> None:
    book = RuleBook([rule(min_age_frames=3, min_probability=0.8)])
    names = ["mitotic", "mitotic", "interphase", "mitotic", "mitotic", "mitotic", "mitotic"]
    fired = [bool(judged(book, seq, cell(7, name))) for seq, name in enumerate(names)]
    assert fired == [False] * 5 + [True, False]
    book = RuleBook([rule(min_probability=0.8)])
    fired = [
        bool(judged(book, seq, cell(7, "mitotic", p)))
        for seq, p in enumerate([0.7, 0.85, 0.75, 0.9])
    ]
    assert fired == [False, True, False, False]


@given(st.lists(st.sampled_from(CLASSES), max_size=40), st.integers(1, 4))
def test_it_fires_as_often_as_there_are_long_enough_rows(names: list[str], frames: int) -> None:
    book = RuleBook([rule(min_age_frames=frames)])
    fired = sum(len(judged(book, seq, cell(7, name))) for seq, name in enumerate(names))
    text = "".join("m" if name == "mitotic" else "." for name in names)
    assert fired == sum(len(row) >= frames for row in text.split("."))


def test_other_rules_can_ask_for_a_class_too() -> None:
    asks = rule(when="appeared", of_class="dead", min_probability=0.6)
    (fires,) = judged(RuleBook([asks]), 1, cell(7, "dead"))
    assert fires.action is Action.BURST
    (other,) = judged(RuleBook([asks]), 1, cell(7, "interphase"))
    assert other.because == "cell 7 appeared; held back: 7 is interphase (0.90), need dead"
    (unsure,) = judged(RuleBook([asks]), 1, cell(7, "dead", 0.5))
    assert "7 is dead with 0.50, need 0.60" in unsure.because
    (none,) = judged(RuleBook([asks]), 1, cell(7))
    assert "7 is of no class" in none.because
    (unknown,) = judged(RuleBook([asks]), 1, cell(7, "dead"), classes=("a", "b"))
    assert "no class 'dead' is told apart; there are: a, b" in unknown.because


def test_both_daughters_must_be_of_the_class() -> None:
    asks = rule(when="divided", of_class="interphase", min_separation=0)
    pair = [
        cell(track, name, parent_id=3, divided=True, y_px=50 + 8 * track)
        for track, name in ((1, "interphase"), (2, "dead"))
    ]
    (decision,) = judged(RuleBook([asks]), 1, *pair)
    assert "2 is dead" in decision.because
    pair[1]["class_id"] = 0
    (decision,) = judged(RuleBook([asks]), 1, *pair)
    assert decision.action is Action.BURST


def test_frames_unlike_training_hold_every_rule_back_unless_it_says_otherwise() -> None:
    rules = [rule(name="careful"), rule(name="bold", unlike="act")]
    careful, bold = judged(RuleBook(rules), 5, cell(7, "mitotic"), verdict=UNLIKE)
    assert careful.action is Action.HOLD
    assert "4 times larger than in training (strangeness 2.50 at frame 4)" in careful.because
    assert bold.action is Action.BURST
    fine = judged(RuleBook(rules), 5, cell(7, "mitotic"), verdict=Verdict(4, 1.0, ""))
    assert [decision.action for decision in fine] == [Action.BURST] * 2


def test_what_the_last_check_doubted_is_held_back_between_checks_too() -> None:
    book = RuleBook([rule(max_uncertainty=0.3)])
    judged(book, 0, cell(7, "interphase", uncertainty=0.6), cell(8, "interphase", uncertainty=0.1))
    seven, eight = judged(book, 1, cell(7, "mitotic"), cell(8, "mitotic"))
    assert "uncertainty 0.60, at most 0.30" in seven.because
    assert (seven.action, eight.action) == (Action.HOLD, Action.BURST)
    assert (seven.uncertainty, eight.uncertainty) == (pytest.approx(0.6), pytest.approx(0.1))
    (never,) = judged(book, 2, cell(9, "mitotic"))
    assert (never.action, never.uncertainty) == (Action.BURST, None)


def test_without_classifier_and_checks_nothing_changes() -> None:
    (decision,) = judged(RuleBook([rule(when="appeared", of_class=None)]), 1, cell(7), classes=())
    assert decision.because == "cell 7 appeared"
    assert judged(RuleBook([rule()]), 1, cell(7), classes=()) == []


def test_became_needs_to_know_what() -> None:
    with pytest.raises(ValidationError, match="when: became needs of_class"):
        rule(of_class=None)


# --- before a run -------------------------------------------------------------------------------


def network(folder: Path) -> str:
    (folder / "mine.onnx").write_bytes(b"read only by its card here")
    card = "---\nname: mine\ntask: classify\ncrop_px: 32\nclasses: [interphase, mitotic]\n---\n"
    (folder / "mine.md").write_text(card)
    return str(folder / "mine.onnx")


def problems(pipeline: dict[str, Any], **rule_changes: Any) -> list[str]:
    whole = {"name": "p", "segment": {"kind": "threshold"}, "track": {}} | pipeline
    settings = ExperimentSettings(
        rig=MicroManagerSettings(),
        pipeline=PipelineSettings.model_validate(whole),
        plan=useq.MDASequence(channels=["DAPI"]),
        rules=(rule(**rule_changes),),
    )
    # what is written down is what is read again
    assert ExperimentSettings.model_validate(settings.model_dump(mode="json")) == settings
    found = plan_problems(settings, plan_facts(settings.plan), None)
    return [f"{key_text(key)}: {message}" for key, message in found]


def test_an_unknown_class_is_refused_with_the_one_that_was_meant(tmp_path: Path) -> None:
    known = {"classify": {"model": network(tmp_path)}}
    assert problems(known) == []
    (found,) = problems(known, of_class="mitotc")
    assert found.startswith("rules[0].of_class: no class 'mitotc' in the pipeline; did you mean")
    assert "'mitotic'" in found


def test_a_class_needs_a_pipeline_that_sorts_and_a_limit_one_that_checks(tmp_path: Path) -> None:
    found = problems({}, max_uncertainty=0.2)
    assert [line.split(":")[0] for line in found] == [
        "rules[0].of_class",
        "rules[0].max_uncertainty",
    ]
    assert "pipeline 'p' tells none apart" in found[0]
    # a network that is missing is told when the pipeline is loaded, and once is enough
    assert problems({"classify": {"model": str(tmp_path / "gone.onnx")}}) == []
    gone = PipelineSettings(name="p", classify={"model": "gone.onnx"})  # type: ignore[arg-type]
    assert classes_of(gone) is None
