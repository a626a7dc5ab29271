"""Carries decisions out: asks where a rule only suggests, queues blocks, keeps what came of it.

Decisions arrive on the supervisor's thread, the acquisition calls `started` and `ended`, and people
answer suggestions from the window or another terminal.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from drivers import RigInfo
from drivers.geometry import Affine
from live.actions.ability import plugin_names, then_of
from live.actions.blocks import Cause, Plugin, block_for
from live.actions.motion import Motion
from live.actions.plugins import load_plugins
from live.experiment.settings import ExperimentSettings, RuleSettings
from live.ledger import Ledger
from live.plan.blocks import Recentre
from live.plan.plan import Block, Plan
from live.processes.messages import Result
from live.recording.journal import Journal
from live.recording.journal_schema import DecisionRow
from live.rules.arming import Arming, Suggestion
from live.rules.decisions import Decision, RuleBook

ORDERED = "{} ordered"
EVERY_FRAME = "exposure"
"""Kind of action that a closed loop asks for with each frame: the journal has it, the log not."""
NOTHING_TO_DO = "nothing to move: the object is near enough to the middle"
WAIT_ALLOWED_S = 60.0
"""A block that waited longer for its turn is not begun: what it was for is over."""
MOST_OUTCOMES = 20_000


@dataclass(frozen=True, slots=True)
class Equipment:
    """What actions need to know of the rig and the plan."""

    group: str = ""
    """Channel group."""
    interval_s: float = 0.0
    experiment: str = ""
    slms: dict[str, tuple[int, int]] = field(default_factory=dict)
    slm_affine: Affine | None = None
    plugins: dict[str, Plugin] = field(default_factory=dict)
    axes: str = "xyz"
    """Those that can be moved."""


def equipment_of(settings: ExperimentSettings, info: RigInfo, interval_s: float) -> Equipment:
    """What the actions of an experiment need to know of an opened rig."""
    plugins, _ = load_plugins(plugin_names(settings.rules))
    return Equipment(
        info.channel_group,
        interval_s,
        settings.name,
        dict(info.slms),
        getattr(settings.rig, "slm_affine", None),
        plugins,
        info.axes,
    )


class Carrier:
    """Between the rules and the plan.

    Parameters
    ----------
    rules
        The experiment's rules.
    plan
        Takes the blocks.
    book
        Told when an action has ended; used under ``lock``.
    lock
        Guards the book and the rows.
    carry_out
        False for recorded data.
    on_rule_failed
        Called with a rule and a sentence when its action failed.
    """

    def __init__(
        self,
        rules: Sequence[RuleSettings],
        *,
        plan: Plan,
        book: RuleBook,
        lock: threading.Lock,
        journal: Journal,
        ledger: Ledger,
        equipment: Equipment,
        carry_out: bool,
        on_rule_failed: Callable[[RuleSettings, str], None],
        on_event: Callable[[str], None],
    ) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._plan = plan
        self._book = book
        self._lock = lock
        self._journal = journal
        self._ledger = ledger
        self._equipment = equipment
        self._carry_out = carry_out
        self._on_rule_failed = on_rule_failed
        self._on_event = on_event
        self._rows: dict[int, DecisionRow] = {}
        self._places: dict[int, tuple[float, float]] = {}
        self._asked: dict[int, tuple[Block, str]] = {}
        self._what: dict[int, str] = {}
        self.motion = Motion()
        self.arming = Arming(rules)
        self.outcomes: dict[int, str] = {}
        self.target_um: tuple[float, float] | None = None

    def what(self, decision: Decision) -> str:
        """Kinds of the actions that a decision asks for, such as ``burst``."""
        rule = self._rules[decision.rule]
        actions = then_of(rule, "afterwards" if decision.afterwards else "then")
        return ", ".join(action.kind for action in actions)

    def order(
        self, decision: Decision, row: DecisionRow, result: Result, objects: NDArray[np.void]
    ) -> str:
        """Do, or suggest, what the decision's rule asks for; what came of it, in words."""
        rule = self._rules[decision.rule]
        mode = self.arming.mode(rule.name)
        if mode == "observe":
            return self._not_done(row, "observed: the rule only watches")
        try:
            actions = then_of(rule, "afterwards" if decision.afterwards else "then")
            block = block_for(actions, self._cause(rule, decision, result, objects))
        except ValueError as error:
            return self._not_done(row, f"not carried out: {error}")
        if _is_near(block, decision, result):
            return self._not_done(row, NOTHING_TO_DO)
        what = self.what(decision)
        if mode == "auto":
            return self._queue(row, block, what)
        if not self._carry_out:
            return self._not_done(row, "not carried out: recorded data")
        ask_s = rule.ask_s or rule.max_evidence_age_ms / 1000.0
        with self._lock:
            text = f"{decision.because}: {what}?"
            until = time.monotonic() + ask_s
            dropped = self.arming.ask(Suggestion(decision.number, rule.name, text, until))
            self._asked[decision.number] = (block, what)
            self._write(replace(row, outcome="suggested"))
            self._let_go(dropped, "not answered: too many suggestions")
        return f"suggested as number {decision.number} for {ask_s:g} s"

    def accept(self, number: int, by: str) -> str:
        """Carry a suggestion out; what came of it. ``KeyError`` when there is none such."""
        with self._lock:
            self.arming.answer(number)
            (block, what), row = self._asked.pop(number), self._rows[number]
        return self._queue(replace(row, because=f"{row.because}; accepted by {by}"), block, what)

    def refuse(self, number: int, by: str) -> str:
        """Turn a suggestion down. ``KeyError`` when there is none such."""
        with self._lock:
            self.arming.answer(number)
            self._let_go([number], f"refused by {by}")
        return f"suggestion {number} refused"

    def tick(self) -> None:
        """Let suggestions that nobody answered go."""
        with self._lock:
            gone = self.arming.expired(time.monotonic())
            self._let_go(gone, "not answered in time")
        for number in gone:
            self._on_event(f"suggestion {number} was not answered in time")

    def started(self, number: int) -> None:
        """The first of what a decision asks for is about to be done."""
        now = time.monotonic_ns()
        with self._lock:
            row = self._rows.get(number)
            if row is None:
                return
            self.target_um = self._places.get(number)
            self._write(replace(row, started_ns=now, outcome="running"))
        self._ledger.mark(row.seq, event_started=now)
        self._journal.add_times(row.seq, self._ledger.times(row.seq))

    def ended(self, number: int, problem: str | None) -> None:
        """What a decision asks for is done, or could not be done for the reason given."""
        now = time.monotonic_ns()
        with self._lock:
            self.target_um = None
            row = self._rows.pop(number, None)
            self._places.pop(number, None)
            what = self._what.pop(number, "")
            if row is None:
                return
            rule = self._rules[row.rule]
            self._book.finished(row.rule, now)
            outcome = "done" if problem is None else f"failed: {problem}"
            self._write(replace(row, done_ns=now, outcome=outcome), ended=True)
            if problem is not None and rule.on_error == "disarm":
                self._book.disarm(row.rule, problem)
        self._ledger.mark(row.seq, done=now)
        if problem is None and what == EVERY_FRAME:
            return
        if problem is None:
            self._on_event(f"{what} of decision {number} is done; back to the plan")
        else:
            self._on_rule_failed(rule, problem)

    def held(self, row: DecisionRow) -> None:
        """Keep a decision that a guard held back."""
        with self._lock:
            self._write(replace(row, outcome="held back"), ended=True)

    def change(self, rule: RuleSettings) -> None:
        """Go on with other settings of a rule; the caller holds the lock."""
        before = self._rules[rule.name]
        self._rules[rule.name] = rule
        if before.mode != rule.mode:
            self.arming.set_mode(rule.name, rule.mode)

    def refuse_all(self, why: str) -> int:
        """Turn every suggestion down; how many those were."""
        with self._lock:
            numbers = [asked.number for asked in self.arming.waiting()]
            for number in numbers:
                self.arming.answer(number)
            self._let_go(numbers, why)
        return len(numbers)

    def close(self) -> None:
        """Write down what was not carried out as such."""
        with self._lock:
            for row in list(self._rows.values()):
                self._write(replace(row, outcome="not carried out: the run ended"), ended=True)
            self._rows.clear()
            self._asked.clear()

    def _cause(
        self, rule: RuleSettings, decision: Decision, result: Result, objects: NDArray[np.void]
    ) -> Cause:
        equipment, plane = self._equipment, result.ref
        assert plane is not None
        shape = (plane.planes[0].height, plane.planes[0].width)
        return Cause(
            decision=decision.number,
            rule=rule.name,
            because=decision.because,
            meta=result.meta,
            shape=shape,
            place_um=(decision.x_um, decision.y_um),
            place_px=(decision.y_px, decision.x_px),
            rows=objects[np.isin(objects["track_id"], decision.objects)],
            velocity_um_s=self.motion.velocity(decision.track_id),
            group=equipment.group,
            axes=equipment.axes,
            interval_s=equipment.interval_s,
            priority=rule.priority,
            expires_s=time.monotonic() + WAIT_ALLOWED_S,
            experiment=equipment.experiment,
            slms=equipment.slms,
            slm_affine=equipment.slm_affine,
            plugins=equipment.plugins,
        )

    def _queue(self, row: DecisionRow, block: Block, what: str) -> str:
        """Put a block before the plan; what came of it."""
        queued_ns = time.monotonic_ns()
        self._ledger.mark(row.seq, event_queued=queued_ns)
        with self._lock:
            # Written before the block is queued: the acquisition may start it in the same instant.
            if block.events and block.events[0].x_pos is not None:
                event = block.events[0]
                self._places[row.number] = (event.x_pos or 0.0, event.y_pos or 0.0)
            self._what[row.number] = what
            self._write(replace(row, outcome=ORDERED.format(what), queued_ns=queued_ns))
        placed = self._plan.insert(block) if self._carry_out else None
        if placed is None:
            return self._not_done(
                row,
                "not carried out: "
                + (
                    "too many actions wait, or the run is ending"
                    if self._carry_out
                    else "recorded data"
                ),
            )
        if placed.merged_into is not None:
            return f"one {what} together with decision {placed.merged_into}"
        return ORDERED.format(what)

    def _not_done(self, row: DecisionRow, outcome: str) -> str:
        with self._lock:
            self._rows.pop(row.number, None)
            self._places.pop(row.number, None)
            self._what.pop(row.number, None)
            self._write(replace(row, outcome=outcome), ended=True)
        return outcome

    def _let_go(self, numbers: Sequence[int], outcome: str) -> None:
        for number in numbers:
            self._asked.pop(number, None)
            row = self._rows.pop(number, None)
            if row is not None:
                self._write(replace(row, outcome=outcome), ended=True)

    def _write(self, row: DecisionRow, *, ended: bool = False) -> None:
        if not ended:
            self._rows[row.number] = row
        self.outcomes[row.number] = row.outcome
        if len(self.outcomes) > MOST_OUTCOMES:
            self.outcomes.pop(next(iter(self.outcomes)))
        self._journal.add_decision(row)


def _is_near(block: Block, decision: Decision, result: Result) -> bool:
    effect, meta = block.effect, result.meta
    if not isinstance(effect, Recentre) or block.following is not None:
        return False
    away_um = math.hypot(decision.x_um - meta.x_um, decision.y_um - meta.y_um)
    return away_um < effect.min_shift_um
