"""The whole question: a recorded run and rules in, what they would have done out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from live.actions.ability import then_of
from live.experiment.settings import ExperimentSettings
from live.recording.journal_reader import JournalReader
from live.recording.runfolder import RunFolder
from live.rules.decisions import Action, Decision
from live.whatif.cost import Cost, Costs, light_of
from live.whatif.recorded import RecordedDecision, RecordedFrame, RecordedRun, Seen
from live.whatif.replay import (
    Replayed,
    differences,
    happenings_of,
    numbered_as,
    replay,
)
from live.whatif.rulefile import own_rules, with_rules_of

MOST_DIFFERENCES = 100


@dataclass(frozen=True, slots=True)
class Firing:
    """A decision that fires, and what it would have come to."""

    decision: Decision
    action: str
    """Kinds of its actions, such as ``burst`` or ``goto+zstack``."""
    at_s: float
    """When it was decided, since the first frame."""
    cost: Cost
    outcome: str
    """As in the run where the run decided the same, else what would have been ordered."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What rules would have done in a run."""

    rules: tuple[str, ...]
    firings: tuple[Firing, ...]
    held: tuple[tuple[float, Decision], ...]
    """Those that a guard held back, with the seconds since the first frame."""
    replayed: Replayed
    frames: int
    planned: int
    """Frames of the plan, without those that the run's rules asked for."""
    planned_bytes: int
    span_s: float
    own: bool
    """The rules are the run's own, nothing was analysed anew."""
    differences: tuple[str, ...]
    light: dict[str, Any]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values; ``rules`` as in a run's report, with what each firing costs beside it."""
        taken = sum(one.cost.frames for one in self.firings)
        return {
            "frames": {
                "captured": self.frames, "planned": self.planned,
                "judged": self.replayed.judged, "by_rules": taken,
            },
            "not_judged": self.replayed.skipped,
            "rules": [_firing_json(one) for one in self.firings],
            "held_back": [
                {
                    "rule": one.rule, "seq": one.seq, "object": one.track_id,
                    "because": one.because, "at_s": round(at_s, 3),
                }
                for at_s, one in self.held
            ],
            "light": self.light,
            "disk_mb": {
                "plan": self.planned_bytes / 1e6,
                "rules": sum(one.cost.nbytes for one in self.firings) / 1e6,
            },
            "own_rules": self.own,
            "differences": list(self.differences),
            "notes": list(self.notes),
        }  # fmt: skip


def ask(run: Path, rules: str | None = None, *, analyse: bool = False) -> Answer:
    """What rules would have done in a recorded run.

    Parameters
    ----------
    run
        Its folder; also of one that was killed.
    rules
        File or shipped name as for `with_rules_of`; None for the run's own.
    analyse
        Run the pipeline over the raw frames again instead of taking the recorded objects.

    Raises
    ------
    SettingsError
        When the folder is no run, or the rules are wrong.
    ScopeError
        When the journal cannot be read, or the frames cannot be analysed.
    """
    folder = RunFolder.open(run)
    with JournalReader(folder.journal) as journal:
        recorded = RecordedRun(folder, journal)
        before = recorded.settings()
        settings = before if rules is None else with_rules_of(before, rules)
        if not analyse:
            return _answer(recorded, before, settings, lambda f: recorded.seen(f.meta.seq), False)
        from live.whatif.analyse import analysed

        with analysed(recorded, settings) as seen:
            return _answer(recorded, before, settings, seen, True)


def _answer(
    run: RecordedRun,
    before: ExperimentSettings,
    settings: ExperimentSettings,
    look: Callable[[RecordedFrame], Seen | None],
    anew: bool,
) -> Answer:
    frames, then = run.frames(), run.decisions()
    same = own_rules(settings, before)
    own = tuple(settings.rules) == tuple(before.rules) and not anew
    costs, last = Costs(settings), _Last(look)
    spent: dict[int, Cost] = {}

    def ends(decision: Decision, frame: RecordedFrame) -> int | None:
        assert last.seen is not None
        cost = spent[decision.number] = costs.of(decision, frame, last.seen)
        if (own and same[decision.rule]) or not cost.frames:
            return None
        return decision.decided_ns + round(cost.seconds * 1e9)

    replayed = replay(
        settings.rules,
        frames,
        last,
        happenings_of(run, [rule for rule in settings.rules if own and same[rule.name]]),
        ends,
        {row.seq: row.decided_ns for row in then} if own else {},
    )
    first_ns = min((frame.meta.captured_ns for frame in frames), default=0)
    last_ns = max((frame.meta.captured_ns for frame in frames), default=0)
    outcomes = {row.number: row for row in then} if own else {}
    firings = []
    for decision in replayed.decisions:
        if decision.action is Action.BURST:
            cost = spent[decision.number]
            named = numbered_as(decision, then) if own else decision
            row = outcomes.get(named.number)
            at_s = (decision.decided_ns - first_ns) / 1e9
            firings.append(_firing(settings, named, at_s, cost, row))
    planned = [frame for frame in frames if frame.meta.decision < 0]
    judged = {frame.meta.seq for frame in frames if frame.decided_ns}
    told = differences(then, replayed.decisions, judged) if own else []
    return Answer(
        rules=tuple(rule.name for rule in settings.rules),
        firings=tuple(firings),
        held=tuple(
            ((one.decided_ns - first_ns) / 1e9, one)
            for one in replayed.decisions
            if one.action is Action.HOLD
        ),
        replayed=replayed,
        frames=len(frames),
        planned=len(planned),
        planned_bytes=sum(frame.nbytes for frame in planned),
        span_s=(last_ns - first_ns) / 1e9,
        own=own,
        differences=tuple(told[:MOST_DIFFERENCES]),
        light=light_of(settings, frames, [one.cost for one in firings]),
        notes=(*_notes(frames, before, own, len(told)), *_ended(firings)),
    )


class _Last:
    """Remembers what was seen of the newest frame: a firing's cost needs it again."""

    def __init__(self, look: Callable[[RecordedFrame], Seen | None]) -> None:
        self._look = look
        self.seen: Seen | None = None

    def __call__(self, frame: RecordedFrame) -> Seen | None:
        self.seen = self._look(frame)
        return self.seen


def _firing(
    settings: ExperimentSettings,
    decision: Decision,
    at_s: float,
    cost: Cost,
    row: RecordedDecision | None,
) -> Firing:
    rule = next(one for one in settings.rules if one.name == decision.rule)
    part = "afterwards" if decision.afterwards else "then"
    action = "+".join(one.kind for one in then_of(rule, part))
    if row is not None:
        outcome = row.outcome
    elif cost.problem:
        outcome = f"would not be carried out: {cost.problem}"
    else:
        words = {"observe": "would be observed", "suggest": "would be suggested"}
        outcome = words.get(rule.mode, "would be ordered")
    return Firing(decision, action, at_s, cost, outcome)


def _firing_json(one: Firing) -> dict[str, Any]:
    decision = one.decision
    return {
        "rule": decision.rule,
        "seq": decision.seq,
        "object": decision.track_id,
        "action": one.action,
        "because": decision.because,
        "objects": list(decision.objects),
        "evidence_age_ms": round(decision.evidence_age_ms, 3),
        "decision": decision.number,
        "outcome": one.outcome,
        "at_s": round(one.at_s, 3),
        "frames": one.cost.frames,
        "disk_mb": one.cost.nbytes / 1e6,
    }


def _ended(firings: list[Firing]) -> list[str]:
    """Say when the rules would have ended the run: what comes later would not have been."""
    for one in firings:
        if "stop" in one.action.split("+") and one.outcome.startswith("would be ordered"):
            return [
                f"rule '{one.decision.rule}' would have ended the run at {one.at_s:.2f} s; what is "
                "told of later frames would not have happened"
            ]
    return []


def _notes(
    frames: list[RecordedFrame], before: ExperimentSettings, own: bool, told: int
) -> list[str]:
    notes = []
    bursts = sum(frame.meta.decision >= 0 for frame in frames)
    if not own and bursts:
        notes.append(
            f"{bursts} frames were asked for by the run's own rules; the rules asked about see "
            "them too, and their own bursts are not in the recording"
        )
    if getattr(before.rig, "driver", "") == "replay":
        notes.append(
            "the run was over recorded data: conditions on time (t_s, rate_divisions) go by the "
            "clock of the run here, not by that of the movie"
        )
    if told > MOST_DIFFERENCES:
        notes.append(f"{told} differences; the first {MOST_DIFFERENCES} are told")
    return notes
