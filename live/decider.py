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
from drivers.ring import FILLED_S
from live.acquire import Pace
from live.actions.ability import then_of
from live.actions.carrier import EVERY_FRAME, NOTHING_TO_DO, Carrier, Equipment
from live.experiment.settings import RuleSettings
from live.ledger import LatencyAlarm, Ledger
from live.plan.plan import Plan
from live.processes.messages import Result, objects_from_bytes
from live.recording.journal import Journal
from live.recording.journal_schema import DecisionRow
from live.recording.recorder import Recorder
from live.rules.arming import Mode
from live.rules.change import changed_rule
from live.rules.decisions import Action, Decision, RuleBook
from models import EngineInfo
from models.result import Verdict

KEPT_DECISIONS = 10_000


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
    repairs: Counter[str] = field(default_factory=Counter)
    """Kind -> changes that tracking made to the segmentation."""
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
        Channel group of the rig and interval of the plan, for the bursts; ``equipment`` says these
        and more.
    latency_budget_ms
        For ``alarm``.
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
        group: str = "",
        interval_s: float = 0.0,
        equipment: Equipment | None = None,
        latency_budget_ms: float | None = None,
        on_rule_failed: Callable[[RuleSettings, str], None],
        on_event: Callable[[str], None],
    ) -> None:
        self._settings = {rule.name: rule for rule in rules}
        self._book = RuleBook(rules)
        self._recorder = recorder
        self._journal = journal
        self._ledger = ledger
        self._pace = pace
        self._on_event = on_event
        self._rings = RingReader()
        self._lock = threading.Lock()
        self.carrier = Carrier(
            rules,
            plan=plan,
            book=self._book,
            lock=self._lock,
            journal=journal,
            ledger=ledger,
            equipment=equipment or Equipment(group, interval_s),
            carry_out=carry_out,
            on_rule_failed=on_rule_failed,
            on_event=on_event,
        )
        self.engine = EngineInfo(name="", precision="", device="")
        self.seen = Seen()
        self.alarm = LatencyAlarm(latency_budget_ms)
        self.decisions: deque[Decision] = deque(maxlen=KEPT_DECISIONS)
        self._classes: tuple[str, ...] = ()
        self._verdict: Verdict | None = None
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
        # A quick answer may come before the acquisition has noted its own stations.
        self._ledger.mark(
            seq,
            captured=result.meta.captured_ns,
            popped=result.meta.popped_ns,
            in_ring=result.ring_ns,
            received=result.received_ns,
            inference_start=result.start_ns,
            inference_end=result.end_ns - tracking_ns,
            tracked=result.end_ns,
            result_received=received_ns,
        )
        self._keep(result, objects)
        times = self._ledger.times(seq)
        self._journal.add_times(seq, times)
        if sentence := self.alarm.take(seq, times):
            self._on_event(sentence)
        self._count(seq, objects)
        self._journal.add_repairs(seq, result.repairs)
        self.seen.repairs.update(repair.kind for repair in result.repairs)
        self._note_verdict(result.verdict)
        self._answered(seq)

    def burst_started(self, number: int) -> None:
        """The first of what a decision asks for is about to be done."""
        self.carrier.started(number)

    def burst_ended(self, number: int, problem: str | None) -> None:
        """What a decision asks for is done, or could not be done for the reason given."""
        self.carrier.ended(number, problem)

    @property
    def target_um(self) -> tuple[float, float] | None:
        """Where the burst that runs looks at, (x, y) on the stage; None while none does."""
        return self.carrier.target_um

    def rule_names(self) -> list[str]:
        """Names of the rules, in their order."""
        return list(self._settings)

    def arm(self, rule: str, mode: Mode | None) -> Mode:
        """Let a rule fire again, from now on in ``mode``; the mode that it has now."""
        with self._lock:
            self._book.arm(rule)
            if mode is not None:
                self.carrier.arming.set_mode(rule, mode)
            return self.carrier.arming.mode(rule)

    def disarm(self, rule: str, why: str) -> None:
        """Let a rule fire no more until it is armed."""
        with self._lock:
            self._book.disarm(rule, why)

    def change(self, rule: str, key: str, value: str) -> str:
        """Set one key of a rule as YAML would; ``ValueError`` when it is wrong."""
        with self._lock:
            new = changed_rule(self._settings[rule], key, value)
            self._book.change(new)
            self.carrier.change(new)
            self._settings[rule] = new
        return f"rule '{rule}': {key} is {getattr(new, key)} now"

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
                "action": self._asked_for(decision),
                "because": decision.because,
                "objects": list(decision.objects),
                "evidence_age_ms": round(decision.evidence_age_ms, 3),
                "decision": decision.number,
                "outcome": self.carrier.outcomes.get(decision.number, ""),
            }
            for decision in self.decisions
            if decision.action is Action.BURST
        ]

    def _asked_for(self, decision: Decision) -> str:
        """Kinds of the actions that a decision asks for, such as ``burst`` or ``goto+zstack``."""
        part = "afterwards" if decision.afterwards else "then"
        return "+".join(action.kind for action in then_of(self._settings[decision.rule], part))

    def close(self) -> None:
        """Let go of the rings; what was not carried out is written down as such."""
        self.carrier.close()
        self._rings.close()

    def _decide(self, result: Result, objects: np.ndarray, shape: tuple[int, int]) -> None:
        """Judge and carry out."""
        self.carrier.motion.take(objects, result.meta.captured_ns)
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
                row = replace(row, action=self.carrier.what(decision))
                outcome = self.carrier.order(decision, row, result, objects)
                if outcome != NOTHING_TO_DO and row.action != EVERY_FRAME:
                    self._on_event(
                        f"rule '{decision.rule}', frame {decision.seq}: {decision.because}; "
                        f"{outcome}"
                    )
            else:
                self.carrier.held(row)

    def _keep(self, result: Result, objects: np.ndarray) -> None:
        labels = denoised = None
        if result.ref is not None:
            try:
                planes = self._rings.copy(result.ref, FILLED_S)
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
