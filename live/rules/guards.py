"""What holds a rule back although its condition is fulfilled, and what it counts for that. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from drivers import FrameMeta
from live.rules.candidates import Candidate
from live.rules.classes import another_class, distrust
from live.rules.events import EventMemory
from live.rules.settings import RuleSettings
from models.result import Verdict

MOST_OBJECTS = 20_000
HOUR_NS = 3_600_000_000_000


@dataclass(slots=True)
class RuleMemory:
    """What is remembered of one rule."""

    fired: int = 0
    last_ns: int | None = None
    armed: bool = True
    last_because: str = ""
    events: EventMemory = field(default_factory=EventMemory)
    times: deque[int] = field(default_factory=deque)
    """Of the firings within the last hour; no more than ``max_per_hour``."""
    objects: OrderedDict[int, int] = field(default_factory=OrderedDict)
    """Object -> times fired for it, where that is limited."""

    def note(self, rule: RuleSettings, candidate: Candidate, now_ns: int) -> None:
        """The rule fires."""
        self.fired += 1
        self.last_ns = now_ns
        if rule.max_per_hour is not None:
            self.times.append(now_ns)
            while len(self.times) > rule.max_per_hour:
                self.times.popleft()
        if rule.max_per_object is not None:
            for track in {candidate.track_id, *candidate.objects}:
                self.objects[track] = self.objects.pop(track, 0) + 1
            while len(self.objects) > MOST_OBJECTS:
                self.objects.popitem(last=False)


@dataclass(frozen=True, slots=True)
class View:
    """All that is known of one frame beside its objects."""

    meta: FrameMeta
    shape: tuple[int, int]
    age_ms: float
    now_ns: int
    classes: Sequence[str]
    verdict: Verdict | None


def age_ms(candidate: Candidate, view: View) -> float:
    """How long ago the evidence was imaged."""
    if candidate.captured_ns is None:
        return view.age_ms
    return (view.now_ns - candidate.captured_ns) / 1e6


def guard(
    rule: RuleSettings,
    memory: RuleMemory,
    candidate: Candidate,
    uncertainty: float | None,
    view: View,
) -> str | None:
    """Why the rule may not fire, or None."""
    if not memory.armed:
        return "rule is disarmed"
    if candidate.leaving:
        return None  # what was changed is changed back, whatever the limits of changing it are
    age = age_ms(candidate, view)
    if age > rule.max_evidence_age_ms:
        return f"evidence is {age:.0f} ms old, limit {rule.max_evidence_age_ms:.0f}"
    return (
        _of_the_evidence(rule, candidate, uncertainty, view)
        or _of_often(rule, memory, candidate, view)
    )  # fmt: skip


def _of_the_evidence(
    rule: RuleSettings, candidate: Candidate, uncertainty: float | None, view: View
) -> str | None:
    if candidate.whole_frame and not len(candidate.rows):
        return distrust(rule, uncertainty, view.verdict)
    if candidate.confidence < rule.min_confidence:
        return f"confidence {candidate.confidence:.2f}, need {rule.min_confidence:.2f}"
    doubt = another_class(rule, candidate.rows, view.classes) or distrust(
        rule, uncertainty, view.verdict
    )
    if doubt is not None:
        return doubt
    margin = rule.edge_margin_px
    inside = (
        margin <= candidate.y_px < view.shape[0] - margin
        and margin <= candidate.x_px < view.shape[1] - margin
    )
    return None if inside else f"nearer than {margin} px to the image border"


def _of_often(
    rule: RuleSettings, memory: RuleMemory, candidate: Candidate, view: View
) -> str | None:
    if memory.fired >= rule.max_firings:
        return f"fired {memory.fired} times, the most allowed"
    most = rule.max_per_hour
    if most is not None:
        recent = sum(view.now_ns - time < HOUR_NS for time in memory.times)
        if recent >= most:
            return f"fired {recent} times within the hour, the most allowed"
    most = rule.max_per_object
    if most is not None:
        tracks = {candidate.track_id, *candidate.objects}
        times = max(memory.objects.get(track, 0) for track in tracks)
        if times >= most:
            return f"fired {times} times for this object, the most allowed"
    if memory.last_ns is not None:
        left_s = rule.cooldown_s - (view.now_ns - memory.last_ns) / 1e9
        if left_s > 0:
            return f"cooling down for {left_s:.1f} s more"
    return None
