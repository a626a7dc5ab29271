"""From objects to decisions: pure, so that a recorded run gives the same decisions again.

A rule looks at the object table of one frame. It fires when its condition holds and nothing guards
against it; a firing that a guard holds back is a decision too (*hold*), with the reason, so that
the log can say why nothing happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
import useq
from numpy.typing import NDArray
from useq._mda_event import Channel as EventChannel
from useq._mda_event import ReadOnlyDict

from drivers import FrameMeta
from live.classrules import Became, Doubts, another_class, class_number, distrust
from live.plan import Burst
from live.settings import BurstAction, RuleSettings
from models.result import Verdict


class Action(StrEnum):
    """What is done."""

    BURST = "burst"
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


WATCHED_FRAMES = 8
"""Frames after a division in which its daughters must part, or it is taken for a flicker."""
MOST_WATCHED = 1000


@dataclass(slots=True)
class _Memory:
    fired: int = 0
    last_ns: int | None = None
    armed: bool = True
    last_because: str = ""
    watched: dict[int, _Division] = field(default_factory=dict)
    """Mother -> her division, while it is not sure."""
    became: Became = field(default_factory=Became)


@dataclass(frozen=True, slots=True)
class _Division:
    daughters: tuple[int, ...]
    left: int
    """Frames in which it can still become sure."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    track_id: int
    objects: tuple[int, ...]
    y_px: float
    x_px: float
    y_um: float
    x_um: float
    confidence: float
    what: str
    rows: NDArray[np.void]
    """The evidence, rows of this frame."""


@dataclass(frozen=True, slots=True)
class _View:
    """All that is known of one frame beside its objects."""

    meta: FrameMeta
    shape: tuple[int, int]
    age_ms: float
    now_ns: int
    classes: Sequence[str]
    verdict: Verdict | None


class RuleBook:
    """The rules of one run and what they remember. One thread uses it.

    Parameters
    ----------
    rules
        In the order of their precedence.
    """

    def __init__(self, rules: Sequence[RuleSettings]) -> None:
        self._rules = tuple(rules)
        self._memory = {rule.name: _Memory() for rule in rules}
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
        view = _View(meta, shape, (now_ns - meta.captured_ns) / 1e6, now_ns, classes, verdict)
        decisions: list[Decision] = []
        for rule in self._rules:
            decisions.extend(
                self._decide(rule, candidate, view)
                for candidate in _candidates(rule, self._memory[rule.name], objects, classes)
            )
        return decisions

    def finished(self, rule: str, now_ns: int) -> None:
        """Count the cool-down of a rule from now: its action has ended."""
        self._memory[rule].last_ns = now_ns

    def disarm(self, rule: str, why: str) -> None:
        """Let a rule fire no more in this run."""
        self._memory[rule].armed = False
        self._memory[rule].last_because = why

    def status(self) -> list[tuple[str, int, str, bool]]:
        """Rule, times fired, last cause, armed."""
        return [
            (name, memory.fired, memory.last_because, memory.armed)
            for name, memory in self._memory.items()
        ]

    def _decide(self, rule: RuleSettings, candidate: _Candidate, view: _View) -> Decision:
        memory = self._memory[rule.name]
        uncertainty = self._doubts.of(candidate.objects)
        guard = _guard(rule, memory, candidate, uncertainty, view)
        because = candidate.what if guard is None else f"{candidate.what}; held back: {guard}"
        if guard is None:
            memory.fired += 1
            memory.last_ns = view.now_ns
            memory.last_because = f"frame {view.meta.seq}: {because}"
        self._count += 1
        return Decision(
            number=self._count,
            rule=rule.name,
            action=Action.BURST if guard is None else Action.HOLD,
            seq=view.meta.seq,
            track_id=candidate.track_id,
            objects=candidate.objects,
            uncertainty=uncertainty,
            x_um=candidate.x_um,
            y_um=candidate.y_um,
            y_px=candidate.y_px,
            x_px=candidate.x_px,
            because=because,
            evidence_age_ms=view.age_ms,
            decided_ns=view.now_ns,
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


def _candidates(
    rule: RuleSettings, memory: _Memory, objects: NDArray[np.void], classes: Sequence[str]
) -> list[_Candidate]:
    if rule.when == "divided":
        _watch(memory, objects)
        return _parted(rule, memory, objects)
    if rule.when == "became":
        number = class_number(rule.of_class or "", classes)
        tracks = [] if number is None else memory.became.take(objects, number, rule)
        what = f"became {rule.of_class}"
        return [_candidate(track, what, objects, (track,)) for track in tracks]
    rows = objects[objects["age_frames"] == rule.min_age_frames]
    rows = rows[rows["parent_id"] == 0]
    return [_candidate(int(row["track_id"]), "appeared", objects, (int(row["track_id"]),))
            for row in rows]  # fmt: skip


def _watch(memory: _Memory, objects: NDArray[np.void]) -> None:
    """Take note of new divisions: one a mother, however many daughters are seen."""
    daughters = objects[objects["divided"]]
    for mother in np.unique(daughters["parent_id"]):
        pair = daughters["track_id"][daughters["parent_id"] == mother]
        ids = tuple(int(track) for track in pair)
        if len(memory.watched) < MOST_WATCHED:
            memory.watched[int(mother)] = _Division(ids, WATCHED_FRAMES)


def _parted(rule: RuleSettings, memory: _Memory, objects: NDArray[np.void]) -> list[_Candidate]:
    """Watched divisions whose daughters are apart in this frame; each comes once."""
    found = []
    for mother, division in list(memory.watched.items()):
        rows = objects[np.isin(objects["track_id"], division.daughters)]
        if _separation(rows) >= rule.min_separation:
            del memory.watched[mother]
            names = " and ".join(map(str, division.daughters))
            found.append(_candidate(mother, f"divided into {names}", rows, division.daughters))
        elif division.left <= 1:
            del memory.watched[mother]
        else:
            memory.watched[mother] = replace(division, left=division.left - 1)
    return found


def _separation(rows: NDArray[np.void]) -> float:
    """Distance of the two farthest daughters in the sum of their radii; 0 unless both are there."""
    if len(rows) < 2:
        return 0.0
    y, x = rows["y_px"].astype(float), rows["x_px"].astype(float)
    apart = np.hypot(y[:, None] - y[None, :], x[:, None] - x[None, :])
    one, two = np.unravel_index(int(apart.argmax()), apart.shape)
    radius = np.sqrt(rows["area_px"].astype(float) / np.pi)
    return float(apart[one, two] / max(radius[one] + radius[two], 1e-9))


def _candidate(
    track: int, what: str, objects: NDArray[np.void], evidence: tuple[int, ...]
) -> _Candidate:
    rows = objects[np.isin(objects["track_id"], evidence)]
    return _Candidate(
        track_id=track,
        objects=evidence,
        y_px=float(rows["y_px"].mean()),
        x_px=float(rows["x_px"].mean()),
        y_um=float(rows["y_um"].mean()),
        x_um=float(rows["x_um"].mean()),
        confidence=float(rows["confidence"].min()),
        what=f"cell {track} {what}",
        rows=rows,
    )


def _guard(
    rule: RuleSettings,
    memory: _Memory,
    candidate: _Candidate,
    uncertainty: float | None,
    view: _View,
) -> str | None:
    """Why the rule may not fire, or None."""
    if not memory.armed:
        return "rule is disarmed"
    if view.age_ms > rule.max_evidence_age_ms:
        return f"evidence is {view.age_ms:.0f} ms old, limit {rule.max_evidence_age_ms:.0f}"
    if candidate.confidence < rule.min_confidence:
        return f"confidence {candidate.confidence:.2f}, need {rule.min_confidence:.2f}"
    doubt = another_class(rule, candidate.rows, view.classes) or distrust(
        rule, uncertainty, view.verdict
    )
    if doubt is not None:
        return doubt
    shape = view.shape
    margin = rule.edge_margin_px
    inside = (
        margin <= candidate.y_px < shape[0] - margin
        and margin <= candidate.x_px < shape[1] - margin
    )
    if not inside:
        return f"nearer than {margin} px to the image border"
    if memory.fired >= rule.max_firings:
        return f"fired {memory.fired} times, the most allowed"
    if memory.last_ns is not None:
        left_s = rule.cooldown_s - (view.now_ns - memory.last_ns) / 1e9
        if left_s > 0:
            return f"cooling down for {left_s:.1f} s more"
    return None
