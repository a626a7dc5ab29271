"""What happens when inference answers: decide, then keep, then pass on to the window.

The decision comes first because everything after it adds to the reaction time. All of it runs on
the supervisor's thread; only ``burst_started`` and ``burst_ended`` are called by the acquisition.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from drivers import RingReader, StaleSlot, WireError
from live.acquire import Pace
from live.journal import Journal
from live.journal_schema import DecisionRow
from live.ledger import Ledger
from live.messages import Result, objects_from_bytes
from live.plan import Plan
from live.recorder import Recorder
from live.rules import Action, Decision, RuleBook, burst_for
from live.settings import RuleSettings
from models import EngineInfo
from models.result import Verdict

KEPT_DECISIONS = 10_000
ORDERED = "burst ordered"


@dataclass(slots=True)
class Seen:
    """Counts of what inference found."""

    analysed: int = 0
    failed: int = 0
    objects: int = 0
    tracks: int = 0
    divisions: int = 0
    last_seq: int = -1
    last_failure: str = ""
    classes: Counter[str] = field(default_factory=Counter)
    """Class -> objects of it, summed over the frames."""
    checked: int = 0
    """Frames that were checked for being of the kind that the networks know."""
    unlike: int = 0
    """Of these, the frames that were not."""
    strangest: Verdict | None = None
    drops: Counter[str] = field(default_factory=Counter)


class Decider:
    """Takes results, applies the rules and carries their decisions to the plan.

    Parameters
    ----------
    rules
        The experiment's rules.
    plan
        Takes the bursts.
    carry_out
        False for recorded data: decisions are made and logged, but nothing can be imaged again.
    group, interval_s
        Channel group of the rig and interval of the plan, for the bursts.
    on_rule_failed
        Called with a rule and a sentence when its action failed.
    """

    def __init__(
        self,
        rules: Sequence[RuleSettings],
        *,
        plan: Plan,
        recorder: Recorder,
        journal: Journal,
        ledger: Ledger,
        pace: Pace | None,
        carry_out: bool,
        group: str,
        interval_s: float,
        on_rule_failed: Callable[[RuleSettings, str], None],
        on_event: Callable[[str], None],
    ) -> None:
        self._settings = {rule.name: rule for rule in rules}
        self._book = RuleBook(rules)
        self._plan = plan
        self._recorder = recorder
        self._journal = journal
        self._ledger = ledger
        self._pace = pace
        self._carry_out = carry_out
        self._group = group
        self._interval_s = interval_s
        self._on_rule_failed = on_rule_failed
        self._on_event = on_event
        self._rings = RingReader()
        self._lock = threading.Lock()
        self._rows: dict[int, DecisionRow] = {}
        self._places: dict[int, tuple[float, float]] = {}
        self.engine = EngineInfo(name="", precision="", device="")
        self.seen = Seen()
        self.decisions: deque[Decision] = deque(maxlen=KEPT_DECISIONS)
        self.outcomes: dict[int, str] = {}
        self._classes: tuple[str, ...] = ()
        self._verdict: Verdict | None = None
        self.target_um: tuple[float, float] | None = None
        self.state = b""

    def take(self, result: Result) -> None:
        """Deal with one answer."""
        received_ns = time.monotonic_ns()
        seq = result.meta.seq
        if result.state:
            self.state = result.state
        if result.failed or result.ref is None:
            self.seen.failed += 1
            self.seen.last_failure = result.failed
            self._on_event(f"frame {seq} was not analysed: {result.failed}")
            self._answered(seq)
            return
        objects = objects_from_bytes(result.objects)
        self._note_classes(result.classes)
        plane = result.ref.planes[0]
        self._decide(result, objects, (plane.height, plane.width))
        tracking_ns = int(result.stage_ms.get("track", 0.0) * 1e6)
        self._ledger.mark(
            seq,
            in_ring=result.ring_ns,
            received=result.received_ns,
            inference_start=result.start_ns,
            inference_end=result.end_ns - tracking_ns,
            tracked=result.end_ns,
            result_received=received_ns,
        )
        self._keep(result, objects)
        self._journal.add_times(seq, self._ledger.times(seq))
        self._count(seq, objects)
        self._note_verdict(result.verdict)
        self._answered(seq)

    def burst_started(self, number: int) -> None:
        """The first frame of a decision's burst is about to be exposed."""
        now = time.monotonic_ns()
        with self._lock:
            row = self._rows.get(number)
            if row is None:
                return
            self.target_um = self._places.get(number)
            self._write(replace(row, started_ns=now, outcome="running"))
        self._ledger.mark(row.seq, event_started=now)
        self._journal.add_times(row.seq, self._ledger.times(row.seq))

    def burst_ended(self, number: int, problem: str | None) -> None:
        """A burst is done, or could not be done for the reason given."""
        now = time.monotonic_ns()
        with self._lock:
            self.target_um = None
            row = self._rows.pop(number, None)
            self._places.pop(number, None)
            if row is None:
                return
            rule = self._settings[row.rule]
            self._book.finished(row.rule, now)
            outcome = "done" if problem is None else f"failed: {problem}"
            self._write(replace(row, done_ns=now, outcome=outcome), ended=True)
            if problem is not None and rule.on_error == "disarm":
                self._book.disarm(row.rule, problem)
        self._ledger.mark(row.seq, done=now)
        if problem is None:
            self._on_event(f"burst of decision {number} is done; back to the plan")
        else:
            self._on_rule_failed(rule, problem)

    def status(self) -> list[tuple[str, int, str, bool]]:
        """Rule, times fired, last cause, armed."""
        with self._lock:
            return self._book.status()

    def about(self, when: str) -> list[Decision]:
        """Decisions of the rules that watch for one kind of event, such as ``divided``."""
        return [d for d in self.decisions if self._settings[d.rule].when == when]

    def firings(self) -> list[dict[str, Any]]:
        """The decisions that fired, for the report: what, when, why and what came of it."""
        return [
            {
                "rule": decision.rule,
                "seq": decision.seq,
                "object": decision.track_id,
                "action": str(decision.action),
                "because": decision.because,
                "objects": list(decision.objects),
                "evidence_age_ms": round(decision.evidence_age_ms, 3),
                "decision": decision.number,
                "outcome": self.outcomes.get(decision.number, ""),
            }
            for decision in self.decisions
            if decision.action is Action.BURST
        ]

    def close(self) -> None:
        """Let go of the rings; what was not carried out is written down as such."""
        with self._lock:
            for row in list(self._rows.values()):
                self._write(replace(row, outcome="not carried out: the run ended"), ended=True)
            self._rows.clear()
        self._rings.close()

    def _decide(self, result: Result, objects: np.ndarray, shape: tuple[int, int]) -> None:
        """Judge and carry out."""
        with self._lock:
            now_ns = time.monotonic_ns()
            decisions = self._book.judge(
                objects, result.meta, shape, now_ns, result.classes, result.verdict
            )
        self._ledger.mark(result.meta.seq, decided=time.monotonic_ns())
        for decision in decisions:
            self.decisions.append(decision)
            row = _row(decision, objects, result)
            if decision.action is Action.BURST:
                outcome = self._order(decision, row, result)
                self._on_event(
                    f"rule '{decision.rule}', frame {decision.seq}: {decision.because}; {outcome}"
                )
            else:
                with self._lock:
                    self._write(replace(row, outcome="held back"), ended=True)

    def _order(self, decision: Decision, row: DecisionRow, result: Result) -> str:
        """Put the decision's burst before the plan; what came of it."""
        rule = self._settings[decision.rule]
        burst = burst_for(decision, rule.then, result.meta, self._group, self._interval_s)
        place = burst.events[0]
        queued_ns = time.monotonic_ns()
        self._ledger.mark(decision.seq, event_queued=queued_ns)
        with self._lock:
            # Written before the burst is queued: the acquisition may start it in the same instant.
            self._places[decision.number] = (place.x_pos or 0.0, place.y_pos or 0.0)
            self._write(replace(row, outcome=ORDERED, queued_ns=queued_ns))
        if self._carry_out and self._plan.insert(burst):
            return ORDERED
        outcome = "not carried out: " + (
            "too many bursts wait, or the run is ending" if self._carry_out else "recorded data"
        )
        with self._lock:
            self._rows.pop(decision.number, None)
            self._places.pop(decision.number, None)
            self._write(replace(row, outcome=outcome), ended=True)
        return outcome

    def _keep(self, result: Result, objects: np.ndarray) -> None:
        labels = denoised = None
        if result.ref is not None:
            try:
                planes = self._rings.copy(result.ref)
                labels, denoised = planes.get("labels"), planes.get("denoised")
            except StaleSlot:
                self.seen.drops["result_stale"] += 1
            except WireError:
                # The ring went with a process that was killed; its objects are kept.
                self.seen.drops["result_ring_gone"] += 1
        self._recorder.submit_result(
            result.meta.seq,
            labels=labels,
            objects=objects,
            denoised=denoised,
            engine=self.engine,
            stage_ms=result.stage_ms,
            verdict=result.verdict,
        )

    def _note_classes(self, classes: tuple[str, ...]) -> None:
        """Journal the names once; they come again with every result."""
        if classes != self._classes:
            self._classes = classes
            self._journal.set_classes(classes)

    def _note_verdict(self, verdict: Verdict | None) -> None:
        """Count a check once, and say when the images begin or cease to be unlike."""
        before = self._verdict
        if verdict is None or (before is not None and before.seq == verdict.seq):
            return
        self._verdict, seen = verdict, self.seen
        seen.checked += 1
        seen.unlike += verdict.unlike
        if seen.strangest is None or verdict.strangeness > seen.strangest.strangeness:
            seen.strangest = verdict
        if verdict.unlike and not (before is not None and before.unlike):
            self._on_event(
                f"frame {verdict.seq} is unlike what the network was trained on: {verdict.reason} "
                f"(strangeness {verdict.strangeness:.2f})"
            )
        elif before is not None and before.unlike and not verdict.unlike:
            self._on_event(f"frame {verdict.seq} is like what the network was trained on again")

    def _count(self, seq: int, objects: np.ndarray) -> None:
        seen = self.seen
        seen.analysed += 1
        seen.objects += len(objects)
        seen.tracks += int(np.count_nonzero(objects["age_frames"] == 1))
        seen.divisions += len(np.unique(objects["parent_id"][objects["divided"]]))
        for number, name in enumerate(self._classes):
            seen.classes[name] += int(np.count_nonzero(objects["class_id"] == number))
        seen.last_seq = max(seen.last_seq, seq)

    def _answered(self, seq: int) -> None:
        if self._pace is not None:
            self._pace.answered(seq)

    def _write(self, row: DecisionRow, *, ended: bool = False) -> None:
        if not ended:
            self._rows[row.number] = row
        self.outcomes[row.number] = row.outcome
        self._journal.add_decision(row)


def _row(decision: Decision, objects: np.ndarray, result: Result) -> DecisionRow:
    label = 0
    if decision.objects:
        match = objects["label"][objects["track_id"] == decision.objects[0]]
        label = int(match[0]) if len(match) else 0
    inputs = {
        "tracks": decision.objects,
        "x_um": _finite(decision.x_um),
        "y_um": _finite(decision.y_um),
        "x_px": decision.x_px,
        "y_px": decision.y_px,
        "classes": _classes_seen(decision, objects, result.classes),
        "uncertainty": decision.uncertainty,
        "strangeness": _finite(result.verdict.strangeness) if result.verdict else None,
    }
    return DecisionRow(
        number=decision.number,
        seq=decision.seq,
        rule=decision.rule,
        action=str(decision.action),
        because=decision.because,
        label=label,
        track_id=decision.track_id,
        evidence_age_ms=decision.evidence_age_ms,
        decided_ns=decision.decided_ns,
        inputs_json=json.dumps(inputs),
    )


def _classes_seen(
    decision: Decision, objects: np.ndarray, classes: tuple[str, ...]
) -> dict[str, list[object]]:
    """Track -> class and its probability, of the objects that were the evidence."""
    rows = objects[np.isin(objects["track_id"], decision.objects) & (objects["class_id"] >= 0)]
    return {
        str(row["track_id"]): [
            classes[row["class_id"]] if row["class_id"] < len(classes) else "",
            round(float(row["class_probability"]), 4),
        ]
        for row in rows
    }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
