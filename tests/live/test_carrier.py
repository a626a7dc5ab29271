"""From decision to block: the arming ladder, suggestions, and what is written of each."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import useq

from drivers import FrameRing
from drivers.frame import FrameMeta
from live.actions.carrier import Carrier, Equipment
from live.experiment.settings import RuleSettings
from live.ledger import Ledger
from live.plan.plan import Home, Plan
from live.processes.messages import Result
from live.recording.journal import Journal
from live.recording.journal_reader import JournalReader
from live.recording.journal_schema import DecisionRow
from live.rules.arming import MOST_SUGGESTIONS, Arming, Suggestion
from live.rules.decisions import Action, Decision, RuleBook
from models import OBJECT_DTYPE

HERE = Home(0.0, 0.0, 0.0, 5.0)


def rule(name: str = "r", **more) -> RuleSettings:
    data = {"name": name, "when": "appeared", "then": {"frames": 2, "interval_ms": 0}, **more}
    return RuleSettings.model_validate(data)


class Bench:
    """A carrier with a real plan, book and journal."""

    def __init__(self, folder: Path, *rules: RuleSettings, carry_out: bool = True) -> None:
        self.path = folder / "journal.sqlite"
        self.journal = Journal(self.path)
        self.journal.__enter__()
        self.ring = FrameRing(1)
        self.plan = Plan(useq.MDASequence(time_plan={"interval": 1, "loops": 3}))
        self.book = RuleBook(rules)
        self.failed: list[str] = []
        self.events: list[str] = []
        self.carrier = Carrier(
            rules,
            plan=self.plan,
            book=self.book,
            lock=threading.Lock(),
            journal=self.journal,
            ledger=Ledger(),
            equipment=Equipment("Channel", 1.0, "test"),
            carry_out=carry_out,
            on_rule_failed=lambda _rule, why: self.failed.append(why),
            on_event=self.events.append,
        )

    def close(self) -> None:
        self.carrier.close()
        self.journal.__exit__(None, None, None)
        self.ring.close()

    def decide(self, number: int, name: str = "r", **more) -> str:
        now = time.monotonic_ns()
        meta = FrameMeta(
            seq=number, captured_ns=now, popped_ns=now, exposure_ms=5, channel="DAPI",
            pixel_size_um=0.5,
        )  # fmt: skip
        ref = self.ring.write({"labels": np.zeros((32, 32), np.int32)})
        result = Result(
            meta=meta, ref=ref, objects=b"", stage_ms={}, ring_ns=now, received_ns=now,
            start_ns=now, end_ns=now,
        )  # fmt: skip
        decision = Decision(
            number=number, rule=name, action=Action.BURST, seq=number, track_id=1, objects=(1,),
            x_um=10.0, y_um=20.0, y_px=16.0, x_px=16.0, because="cell 1 appeared",
            evidence_age_ms=1.0, decided_ns=now, **more,
        )  # fmt: skip
        row = DecisionRow(number, number, name, "burst", decision.because)
        return self.carrier.order(decision, row, result, np.zeros(0, OBJECT_DTYPE))

    def outcomes(self) -> dict[int, str]:
        self.journal.flush()
        with JournalReader(self.path) as journal:
            return dict(journal.rows("SELECT number, outcome FROM decisions"))


@pytest.fixture
def bench(tmp_path) -> Iterator:
    made: list[Bench] = []

    def make(*rules: RuleSettings, **more) -> Bench:
        made.append(Bench(tmp_path, *rules, **more))
        return made[0]

    yield make
    for one in made:
        one.close()


def test_auto_acts_and_the_journal_follows_it(bench):
    one = bench(rule())
    assert one.decide(1) == "burst ordered"
    job = one.plan.next(0.0, HERE)
    assert (job.decision, job.event.x_pos, job.sequence) == (1, 10.0, 2)
    one.carrier.started(1)
    assert one.carrier.target_um == (10.0, 20.0)
    assert one.outcomes() == {1: "running"}
    one.carrier.ended(1, None)
    assert one.carrier.target_um is None
    assert one.outcomes() == {1: "done"}


def test_observe_only_writes_down(bench):
    one = bench(rule(mode="observe"))
    assert "only watches" in one.decide(1)
    assert not one.plan.burst_waiting
    assert "observed" in one.outcomes()[1]


def test_a_suggestion_waits_for_yes(bench):
    one = bench(rule(mode="suggest", ask_s=20))
    assert "suggested as number 1" in one.decide(1)
    assert not one.plan.burst_waiting
    (asked,) = one.carrier.arming.waiting()
    assert asked.text == "cell 1 appeared: burst?"
    assert one.carrier.accept(1, "a test") == "burst ordered"
    assert one.plan.burst_waiting
    with pytest.raises(KeyError):
        one.carrier.accept(1, "a test")


def test_no_and_silence_do_nothing(bench):
    one = bench(rule(mode="suggest", ask_s=0.05), rule("s", mode="suggest", ask_s=20))
    one.decide(1, "s")
    one.carrier.refuse(1, "a test")
    one.decide(2)
    time.sleep(0.1)
    one.carrier.tick()
    assert one.outcomes() == {1: "refused by a test", 2: "not answered in time"}
    assert not one.plan.burst_waiting
    assert any("not answered" in text for text in one.events)


def test_a_newer_suggestion_of_the_rule_takes_the_place_of_the_old(bench):
    one = bench(rule(mode="suggest", ask_s=20))
    one.decide(1), one.decide(2)
    assert [asked.number for asked in one.carrier.arming.waiting()] == [2]
    assert "not answered" in one.outcomes()[1]
    assert one.carrier.refuse_all("red button") == 1


def test_a_failed_action_disarms_its_rule(bench):
    one = bench(rule())
    one.decide(1)
    one.carrier.ended(1, "the stage is stuck")
    assert one.failed == ["the stage is stuck"]
    assert not one.book.status()[0][3]


def test_what_cannot_be_done_for_a_cause_is_said_and_not_queued(bench):
    one = bench(rule(then={"kind": "stimulate", "radius_px": 3, "exposure_ms": 5}))
    assert "no spatial light modulator" in one.decide(1)
    assert not one.plan.burst_waiting


def test_recorded_data_is_never_imaged_again(bench):
    one = bench(rule(), carry_out=False)
    assert one.decide(1) == "not carried out: recorded data"


def test_afterwards_is_another_list_of_actions(bench):
    condition = {"when": "mean > 100", "until": "mean < 50"}
    one = bench(rule(**condition, afterwards={"kind": "interval", "seconds": None}))
    one.decide(1, afterwards=True)
    assert one.plan.next(0.0, HERE).block.effect.seconds is None


def test_two_decisions_on_one_field_share_a_burst_and_both_are_written(bench):
    one = bench(rule(), rule("s"))
    one.decide(1)
    assert one.decide(2, "s") == "one burst together with decision 1"
    job = one.plan.next(0.0, HERE)
    assert job.block.decisions == (1, 2)
    for number in job.block.decisions:
        one.carrier.ended(number, None)
    assert one.outcomes() == {1: "done", 2: "done"}


def test_suggestions_are_bounded():
    arming = Arming(())
    gone = [
        number
        for n in range(MOST_SUGGESTIONS + 3)
        for number in arming.ask(Suggestion(n, f"rule {n}", "", 1.0))
    ]
    assert gone == [0, 1, 2]
    assert len(arming.waiting()) == MOST_SUGGESTIONS
    assert len(arming.expired(2.0)) == MOST_SUGGESTIONS
