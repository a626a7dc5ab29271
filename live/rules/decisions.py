"""From objects to decisions: pure, so that a recorded run gives the same decisions again.

A rule looks at the object table of one frame. It fires when its condition holds and nothing guards
against it; a firing that a guard holds back is a decision too (*hold*), with the reason, so that
the log can say why nothing happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import useq
from numpy.typing import NDArray
from useq._mda_event import Channel as EventChannel
from useq._mda_event import ReadOnlyDict

from drivers import FrameMeta
from live.actions.settings import BurstAction
from live.plan.plan import Burst
from live.rules.candidates import Candidate, of_frame
from live.rules.classes import Doubts
from live.rules.conditions import Conditions
from live.rules.events import event_candidates
from live.rules.guards import RuleMemory, View, age_ms, guard
from live.rules.settings import RuleSettings
from models.result import Verdict


class Action(StrEnum):
    """What is done."""

    BURST = "burst"
    """What the rule asks for: a burst, or whatever else its ``then`` says."""
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a rule made of one frame, and why."""

    number: int
    rule: str
    action: Action
    seq: int
    """The frame that it rests on."""
    track_id: int
    """The dividing mother for ``divided``, else the object itself."""
    objects: tuple[int, ...]
    """Tracks that were the evidence."""
    x_um: float
    y_um: float
    y_px: float
    x_px: float
    because: str
    evidence_age_ms: float
    decided_ns: int
    uncertainty: float | None = None
    """Of the least sure of ``objects`` when it was last checked; None where none ever was."""
    afterwards: bool = False
    """The condition has ended: what is to be done is the rule's ``afterwards``."""


class RuleBook:
    """The rules of one run and what they remember. One thread uses it.

    Parameters
    ----------
    rules
        In the order of their precedence.
    """

    def __init__(self, rules: Sequence[RuleSettings]) -> None:
        self._rules = tuple(rules)
        self._memory = {rule.name: RuleMemory() for rule in rules}
        self._conditions = Conditions(rules)
        self._doubts = Doubts()
        self._count = 0
        self._last_seq = -1

    def judge(
        self,
        objects: NDArray[np.void],
        meta: FrameMeta,
        shape: tuple[int, int],
        now_ns: int,
        classes: Sequence[str] = (),
        verdict: Verdict | None = None,
    ) -> list[Decision]:
        """Decide on one frame.

        Parameters
        ----------
        objects
            (n,) rows of ``models.OBJECT_DTYPE`` of this frame.
        meta
            How the frame was taken. Frames come in order; one that is older than the last is
            ignored, so that a decision never rests on a frame out of turn.
        shape
            (y, x) of the frame, pixels.
        now_ns
            The clock that ``meta.captured_ns`` is of.
        classes
            Names that ``class_id`` of the objects counts into.
        verdict
            The newest check of trust; None where none was made.
        """
        if meta.seq <= self._last_seq:
            return []
        self._last_seq = meta.seq
        self._doubts.take(objects)
        view = View(meta, shape, (now_ns - meta.captured_ns) / 1e6, now_ns, classes, verdict)
        met = self._conditions.judge(objects, meta, shape, classes)
        decisions: list[Decision] = []
        for rule, why in self._conditions.broken().items():
            if self._memory[rule].armed:
                self.disarm(rule, why)
                nothing = of_frame(why, objects, meta, shape)
                decisions.append(self._decision(self._settings(rule), nothing, "", view))
        for rule_ in self._rules:
            memory = self._memory[rule_.name]
            candidates = (
                event_candidates(rule_, memory.events, objects, classes)
                if rule_.is_event
                else met.get(rule_.name, [])
            )
            for candidate in candidates:
                decision = self._decide(rule_, candidate, view)
                if decision is not None:
                    decisions.append(decision)
        return decisions

    def finished(self, rule: str, now_ns: int) -> None:
        """Count the cool-down of a rule from now: its action has ended."""
        self._memory[rule].last_ns = now_ns

    def disarm(self, rule: str, why: str) -> None:
        """Let a rule fire no more in this run."""
        self._memory[rule].armed = False
        self._memory[rule].last_because = why

    def arm(self, rule: str) -> None:
        """Let a rule fire again."""
        self._memory[rule].armed = True
        self._conditions.mend(rule)

    def change(self, rule: RuleSettings) -> None:
        """Go on with other settings of a rule; what it remembers stays."""
        self._rules = tuple(rule if old.name == rule.name else old for old in self._rules)
        self._conditions.change(rule)

    def status(self) -> list[tuple[str, int, str, bool]]:
        """Rule, times fired, last cause, armed."""
        return [
            (name, memory.fired, memory.last_because, memory.armed)
            for name, memory in self._memory.items()
        ]

    def _settings(self, name: str) -> RuleSettings:
        return next(rule for rule in self._rules if rule.name == name)

    def _decide(self, rule: RuleSettings, candidate: Candidate, view: View) -> Decision | None:
        """Fire or hold; None where the same was held back in the frame before."""
        memory = self._memory[rule.name]
        uncertainty = self._doubts.of(candidate.objects)
        why = guard(rule, memory, candidate, uncertainty, view)
        if why is None:
            self._conditions.fired(rule.name, candidate)
            if not candidate.leaving:
                memory.note(rule, candidate, view.now_ns)
            memory.last_because = f"frame {view.meta.seq}: {candidate.what}"
        elif self._conditions.hold(rule.name, candidate):
            return None
        return self._decision(rule, candidate, why, view)

    def _decision(
        self, rule: RuleSettings, candidate: Candidate, why: str | None, view: View
    ) -> Decision:
        """A decision; held back unless ``why`` is None."""
        self._count += 1
        return Decision(
            number=self._count,
            rule=rule.name,
            action=Action.BURST if why is None else Action.HOLD,
            seq=view.meta.seq,
            track_id=candidate.track_id,
            objects=candidate.objects,
            uncertainty=self._doubts.of(candidate.objects),
            x_um=candidate.x_um,
            y_um=candidate.y_um,
            y_px=candidate.y_px,
            x_px=candidate.x_px,
            because=f"{candidate.what}; held back: {why}" if why else candidate.what,
            evidence_age_ms=age_ms(candidate, view),
            decided_ns=view.now_ns,
            afterwards=candidate.leaving,
        )


def burst_for(
    decision: Decision, action: BurstAction, meta: FrameMeta, group: str, interval_s: float
) -> Burst:
    """Make the events of a burst.

    Parameters
    ----------
    decision
        What was decided; its number, rule and cause frame go into each event's metadata.
    action
        Frames, rate and whether the stage centres on the object.
    meta
        The cause frame; the burst keeps its focus, exposure and preset.
    group
        Configuration group of the channel presets; empty where the rig has none.
    interval_s
        Of the plan, seconds; 0 when the plan runs as fast as it can.
    """
    if action.interval_ms is not None:
        spacing = action.interval_ms / 1000.0
    else:
        spacing = interval_s / (action.rate_factor or 1.0)
    place = (meta.x_um, meta.y_um)
    if action.centre and np.isfinite(decision.x_um) and np.isfinite(decision.y_um):
        place = (decision.x_um, decision.y_um)
    origin = {"decision": decision.number, "rule": decision.rule, "cause_seq": decision.seq}
    event = useq.MDAEvent(
        index=ReadOnlyDict(meta.index),
        channel=EventChannel(config=meta.channel, group=group) if meta.channel and group else None,
        exposure=meta.exposure_ms,
        x_pos=place[0],
        y_pos=place[1],
        z_pos=meta.z_um,
        pos_name=meta.pos_name or None,
        metadata={"parfocal": origin},
    )
    return Burst(decision.number, (event,) * action.frames, spacing)


def held(decision: Decision, why: str) -> Decision:
    """The same decision, not carried out."""
    return replace(decision, action=Action.HOLD, because=f"{decision.because}; held back: {why}")
