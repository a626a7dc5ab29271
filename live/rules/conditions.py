"""Rules whose ``when`` is a condition: asks all of them at once, and says which objects are meant.

Pure: what comes out depends on the frames that went in, and on which candidates fired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers import FrameMeta
from live.rules.best import Ranking
from live.rules.candidates import Candidate, of_frame, of_rows
from live.rules.columns import COLUMNS, FRAME_COLUMNS, OBJECT_COLUMNS, ROI_COLUMNS
from live.rules.expression import Expression, read_expression
from live.rules.plugins import Condition, ask, load_condition
from live.rules.queries import Asked, Engine, QueryError, needed
from live.rules.settings import PluginCondition, RoiSettings, RuleSettings
from live.rules.states import RuleState, Step
from live.rules.table import Table

MOST_CANDIDATES = 64
"""Of one rule in one frame; further objects have their turn in the next ones."""
MOST_EVIDENCE = 1000
"""Objects that a decision of a rule with ``count`` names."""
TOLD_VALUES = 5
_ALL = frozenset(COLUMNS) - frozenset(ROI_COLUMNS)


@dataclass(slots=True)
class _Rule:
    settings: RuleSettings
    state: RuleState
    condition: Condition | None = None
    when: int = -1
    """Place among what is asked of the engine; -1 for a plug-in."""
    until: int = -1
    by: int = -1
    ranking: Ranking | None = None
    broken: str = ""
    columns: tuple[str, ...] = ()

    @property
    def single(self) -> bool:
        """Whether it is about the frame, not about each object."""
        return self.settings.per == "frame" or self.settings.count is not None


class Conditions:
    """The rules of a run that have a condition. One thread uses it.

    Parameters
    ----------
    rules
        Those with a word for an event are passed over.
    """

    def __init__(self, rules: Sequence[RuleSettings]) -> None:
        self._rules = {rule.name: _state(rule) for rule in rules if not rule.is_event}
        self._classes: tuple[str, ...] | None = None
        self._engine: Engine | None = None
        self._asked: list[Asked] = []
        self._owners: list[str] = []
        self._rois: list[RoiSettings] = []
        for one in self._rules.values():
            if one.settings.roi is not None:
                self._rois.append(one.settings.roi)
        self._table = Table(self._rois)
        self._wanted: frozenset[str] = frozenset()
        self._follows = True
        if self._rules:
            self._compile()  # not only with the first frame, which would be judged late

    def judge(
        self,
        objects: NDArray[np.void],
        meta: FrameMeta,
        shape: tuple[int, int],
        classes: Sequence[str],
    ) -> dict[str, list[Candidate]]:
        """Candidates of every rule for one frame; frames come in order."""
        if not self._rules:
            return {}
        if self._engine is None or tuple(classes) != (self._classes or ()):
            self._classes = tuple(classes)
            self._compile()
        values, places, fresh = self._table.take(
            objects, meta, shape, self._wanted, follow=self._follows
        )
        answers = self._answers(len(objects), values)
        found = {}
        for name, rule in self._rules.items():
            if not rule.single:
                rule.state.forget(fresh)
            if rule.broken:
                continue
            try:
                found[name] = self._candidates(rule, answers, objects, meta, shape, values, places)
            except ValueError as error:
                rule.broken = f"condition cannot be worked out: {error}"
        return found

    def broken(self) -> dict[str, str]:
        """Rules whose condition failed, and why; they are passed over until `mend`."""
        return {name: rule.broken for name, rule in self._rules.items() if rule.broken}

    def mend(self, name: str) -> None:
        """Try a rule again."""
        if name in self._rules and self._rules[name].broken:
            self._rules[name].broken = ""
            self._engine = None

    def change(self, rule: RuleSettings) -> None:
        """Go on with other settings of a rule; where its condition stays, so does its state."""
        old = self._rules.get(rule.name)
        if rule.is_event:
            self._rules.pop(rule.name, None)
        else:
            same = old is not None and all(
                getattr(old.settings, key) == getattr(rule, key)
                for key in ("when", "until", "per", "count", "for_frames", "while_true", "best")
            )
            if old is not None and same:
                old.settings = rule
            else:
                self._rules[rule.name] = _state(rule)
        self._engine = None

    def fired(self, name: str, candidate: Candidate) -> None:
        """A rule fires for a candidate of the last frame."""
        rule = self._rules.get(name)
        if rule is not None and rule.ranking is None and not candidate.leaving:
            place = self._place(rule, candidate)
            if place >= 0:
                rule.state.fired(place)

    def hold(self, name: str, candidate: Candidate) -> bool:
        """A candidate is held back; whether that was so before, since its condition holds."""
        rule = self._rules.get(name)
        if rule is None or rule.ranking is not None or candidate.leaving:
            return False
        place = self._place(rule, candidate)
        return place >= 0 and rule.state.hold(place)

    # --- engine -----------------------------------------------------------------------------

    def _compile(self) -> None:
        if self._engine is not None:
            self._engine.close()
        self._asked, self._owners = [], []
        regions: list[RoiSettings] = []
        plugins = False
        for name, rule in self._rules.items():
            region = -1
            if rule.settings.roi is not None:
                region = len(regions)
                regions.append(rule.settings.roi)
            rule.when = rule.until = rule.by = -1
            if rule.broken:
                continue
            plugins |= rule.condition is not None
            settings = rule.settings
            if isinstance(settings.when, str):
                rule.when = self._ask(name, settings, settings.when, region)
                asked = self._asked[rule.when]
                names = asked.expression.columns
                rule.columns = tuple(
                    sorted(n if n in ROI_COLUMNS else asked.column(n) for n in names)
                )
            if settings.until is not None:
                rule.until = self._ask(name, settings, settings.until, region)
            if settings.best is not None:
                expression = read_expression(settings.best.by, "object", number=True)
                on = settings.decide_on == "denoised"
                rule.by = self._add(name, Asked(expression, number=True, roi=region, denoised=on))
        if regions != self._rois:
            self._rois = regions
            self._table.set_rois(regions)
        self._wanted = needed(self._asked) | (_ALL if plugins else frozenset())
        self._follows = plugins or any(r.settings.per != "frame" for r in self._rules.values())
        self._engine = Engine(self._asked, self._classes or ())

    def _ask(self, name: str, settings: RuleSettings, text: str, region: int) -> int:
        expression: Expression = read_expression(text, settings.per)
        on = settings.decide_on == "denoised"
        return self._add(name, Asked(expression, settings.per == "frame", roi=region, denoised=on))

    def _add(self, name: str, asked: Asked) -> int:
        self._asked.append(asked)
        self._owners.append(name)
        return len(self._asked) - 1

    def _answers(self, count: int, values: dict[str, Any]) -> list[NDArray[Any]]:
        """What the engine says; rules whose condition fails are taken out first."""
        for _ in range(len(self._rules) + 1):
            assert self._engine is not None
            try:
                return self._engine.answer(count, values)
            except QueryError as error:
                for place, said in error.culprits.items():
                    self._rules[
                        self._owners[place]
                    ].broken = f"condition cannot be worked out: {said}"
                self._compile()
        return []

    # --- candidates -------------------------------------------------------------------------

    def _candidates(
        self,
        rule: _Rule,
        answers: list[NDArray[Any]],
        objects: NDArray[np.void],
        meta: FrameMeta,
        shape: tuple[int, int],
        values: dict[str, Any],
        places: NDArray[np.int64],
    ) -> list[Candidate]:
        settings = rule.settings
        if rule.condition is not None and isinstance(settings.when, PluginCondition):
            rows = 1 if settings.per == "frame" else len(objects)
            table = self._for_plugin(values, len(objects))
            holds = ask(rule.condition, table, settings.when.params, rows)
        else:
            holds = answers[rule.when].astype(bool)
        ends = answers[rule.until].astype(bool) if rule.until >= 0 else None
        evidence = np.flatnonzero(holds) if settings.per == "object" else np.zeros(0, np.int64)
        if rule.single:
            if settings.count is not None:
                evidence = evidence[places[evidence] >= 0]
                holds = np.array([len(evidence) >= settings.count])
            step = rule.state.take(np.zeros(1, np.int64), holds, ends)
            return self._of_frame(rule, step, evidence, objects, meta, shape, values)
        step = rule.state.take(places, holds, ends)
        # A ranking compares all; the others can wait for the next frame.
        ready = step.ready if rule.ranking is not None else step.ready[:MOST_CANDIDATES]
        found = []
        for row in ready.tolist():
            what = f"fulfils {_told(settings, rule.columns, values, row)}"
            track = int(objects["track_id"][row])
            found.append(of_rows(track, what, objects[row : row + 1], (track,)))
        if rule.ranking is not None:
            if meta.decision >= 0:
                return []
            score = answers[rule.by]
            scored = [
                (float(score[row]), replace(one, captured_ns=meta.captured_ns))
                for row, one in zip(ready.tolist(), found, strict=True)
            ]
            return rule.ranking.take(meta, scored)
        if rule.state.ended(places[step.left]) and settings.afterwards is not None:
            found.append(self._left(objects, step.left, meta, shape, settings))
        return found

    def _of_frame(
        self,
        rule: _Rule,
        step: Step,
        evidence: NDArray[np.int64],
        objects: NDArray[np.void],
        meta: FrameMeta,
        shape: tuple[int, int],
        values: dict[str, Any],
    ) -> list[Candidate]:
        settings = rule.settings
        found = []
        if len(step.ready):
            told = _told(settings, rule.columns, values, None)
            if len(evidence):
                rows = objects[evidence[:MOST_EVIDENCE]]
                tracks = tuple(int(track) for track in rows["track_id"])
                what = f"fulfil {told}"
                found.append(of_rows(tracks[0], what, rows, tracks, f"{len(evidence)} objects"))
            else:
                found.append(of_frame(f"frame fulfils {told}", objects, meta, shape))
        if rule.state.ended(np.zeros(len(step.left), np.int64)) and settings.afterwards is not None:
            found.append(self._left(objects, np.zeros(0, np.int64), meta, shape, settings))
        return found

    def _left(
        self,
        objects: NDArray[np.void],
        rows: NDArray[np.int64],
        meta: FrameMeta,
        shape: tuple[int, int],
        settings: RuleSettings,
    ) -> Candidate:
        told = settings.until or f"no longer {_condition(settings)}"
        if len(rows):
            row = int(rows[-1])
            track = int(objects["track_id"][row])
            one = of_rows(track, f"ended: {told}", objects[row : row + 1], (track,))
        else:
            one = of_frame(f"ended: {told}", objects, meta, shape)
        return replace(one, leaving=True)

    def _for_plugin(self, values: dict[str, Any], count: int) -> dict[str, NDArray[Any]]:
        """Every column as (n,) array, classes by name."""
        table = {}
        for name in _ALL:
            value = values[name]
            if name == "class":
                names = np.array([*(self._classes or ()), ""])
                value = names[np.asarray(value)]
            table[name] = np.full(count, value) if name in FRAME_COLUMNS else np.asarray(value)
        return table

    def _place(self, rule: _Rule, candidate: Candidate) -> int:
        return 0 if rule.single else self._table.tracks.place_of(candidate.track_id)


def _state(rule: RuleSettings) -> _Rule:
    single = rule.per == "frame" or rule.count is not None
    state = (
        RuleState(rule.for_frames, rule.while_true, 1)
        if single
        else RuleState(rule.for_frames, rule.while_true)
    )
    condition = load_condition(rule.when.plugin) if isinstance(rule.when, PluginCondition) else None
    ranking = None if rule.best is None else Ranking(rule.best)
    return _Rule(rule, state, condition, ranking=ranking)


def _condition(rule: RuleSettings) -> str:
    text = rule.when if isinstance(rule.when, str) else f"condition '{rule.when.plugin}'"
    return " ".join(text.split())


def _told(
    rule: RuleSettings, columns: Sequence[str], values: dict[str, Any], row: int | None
) -> str:
    """The condition, and what its columns were."""
    said = []
    for name in columns:
        column = COLUMNS[name]
        if name in ROI_COLUMNS or column.type in ("VARCHAR", "BOOLEAN"):
            continue
        if name in OBJECT_COLUMNS and row is None:
            continue
        value = values[name] if name in FRAME_COLUMNS else values[name][row or 0]
        known = value == value
        said.append(f"{name} {float(value):.4g}" if known else f"{name} not known")
    text = _condition(rule)
    return f"{text} ({', '.join(said[:TOLD_VALUES])})" if said else text
