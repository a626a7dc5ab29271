"""Feeds the recorded frames to the rules as the run did: same code, same order, same clock.

The clock is the recorded one. What happened between two frames and concerns the rules is told to
them at its time: an action that ended (the cool-down counts from there), one that failed, and what
people commanded. Where a rule is not the run's own nothing of that is known; then its action ends
as long after the decision as its frames take.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from live.experiment.settings import RuleSettings
from live.rules.change import changed_rule
from live.rules.decisions import Action, Decision, RuleBook
from live.steering.commands import Command, parse
from live.whatif.recorded import RecordedDecision, RecordedFrame, RecordedRun, Seen


@dataclass(frozen=True, slots=True)
class Happening:
    """Something between two frames that the rules are told of."""

    at_ns: int
    tell: Callable[[RuleBook], None]


@dataclass(slots=True)
class Replayed:
    """What the rules would have done."""

    decisions: list[Decision] = field(default_factory=list)
    """With ``decided_ns`` of the recorded clock; those that a guard held back too."""
    judged: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    """Why frames were not judged -> how many."""


def replay(
    rules: Sequence[RuleSettings],
    frames: Sequence[RecordedFrame],
    seen: Callable[[RecordedFrame], Seen | None],
    happenings: Iterable[Happening],
    ends: Callable[[Decision, RecordedFrame], int | None],
    moments: dict[int, int],
) -> Replayed:
    """Judge every frame that the run decided on.

    Parameters
    ----------
    rules
        To ask about.
    frames
        Those of the run.
    seen
        What the analysis says of a frame; None where nothing was kept.
    happenings
        What the rules are told beside frames.
    ends
        Given a decision that fires: when its action will have ended, ns; None where that is among
        the happenings, or never.
    moments
        Frame -> the very moment at which it was judged, where a recorded decision tells it. The
        ledger's is some µs later.
    """
    book, found = RuleBook(rules), Replayed()
    waiting = deque(sorted(happenings, key=lambda one: one.at_ns))
    foreseen: list[tuple[int, str]] = []
    for frame in sorted(frames, key=lambda one: one.decided_ns):
        if not frame.decided_ns:
            _skip(found, "never analysed in the run")
            continue
        now_ns = moments.get(frame.meta.seq, frame.decided_ns)
        while waiting and waiting[0].at_ns <= now_ns:
            waiting.popleft().tell(book)
        for end in sorted(one for one in foreseen if one[0] <= now_ns):
            foreseen.remove(end)
            book.finished(end[1], end[0])
        what = seen(frame)
        if what is None:
            _skip(found, "analysed, but its objects were not kept")
            continue
        found.judged += 1
        made = book.judge(what.objects, frame.meta, frame.shape, now_ns, what.classes, what.verdict)
        for decision in made:
            found.decisions.append(decision)
            if decision.action is Action.BURST and (end_ns := ends(decision, frame)) is not None:
                foreseen.append((end_ns, decision.rule))
    return found


def _skip(found: Replayed, why: str) -> None:
    found.skipped[why] = found.skipped.get(why, 0) + 1


def happenings_of(run: RecordedRun, rules: Sequence[RuleSettings]) -> list[Happening]:
    """What the run's journal says that happened to these rules, which are the run's own."""
    named = {rule.name: rule for rule in rules}
    found: list[Happening] = []
    for row in run.decisions():
        if row.rule in named and row.done_ns:
            found += _ended(row, named[row.rule])
    for at_ns, words, by in run.commands():
        if words[0] in ("arm", "disarm", "disarm-all", "set"):
            command = parse(words, tuple(named))
            found.append(Happening(at_ns, _commanded(command, by, named)))
    return found


def _ended(row: RecordedDecision, rule: RuleSettings) -> list[Happening]:
    told = [Happening(row.done_ns, lambda book: book.finished(row.rule, row.done_ns))]
    if row.outcome.startswith("failed: ") and rule.on_error == "disarm":
        why = row.outcome.removeprefix("failed: ")
        told.append(Happening(row.done_ns, lambda book: book.disarm(row.rule, why)))
    return told


def _commanded(
    command: Command, by: str, named: dict[str, RuleSettings]
) -> Callable[[RuleBook], None]:
    def tell(book: RuleBook) -> None:
        match command.name:
            case "arm":
                book.arm(command.rule)
            case "disarm":
                book.disarm(command.rule, f"disarmed by {by}")
            case "disarm-all":
                for name in named:
                    book.disarm(name, f"disarmed by {by}")
            case _:
                new = changed_rule(named[command.rule], command.key, command.value)
                named[command.rule] = new
                book.change(new)

    return tell


def differences(
    run: Sequence[RecordedDecision], replayed: Sequence[Decision], judged: set[int]
) -> list[str]:
    """Where the rules decided otherwise than in the run, one sentence each; empty when nowhere.

    Parameters
    ----------
    run, replayed
        Decisions then and now.
    judged
        Frames that were judged now.
    """
    then = {(row.seq, row.rule, row.track_id): row for row in run}
    now = {(one.seq, one.rule, one.track_id): one for one in replayed}
    told: list[str] = []
    for key in sorted(then.keys() | now.keys()):
        before, after = then.get(key), now.get(key)
        what = f"frame {key[0]}, rule '{key[1]}', object {key[2]}"
        if after is None:
            why = "" if key[0] in judged else "; what was seen in that frame was not kept"
            told.append(f"{what}: only the run decided{why}")
        elif before is None:
            told.append(f"{what}: only now; the journal has no such decision")
        elif before.held != (after.action is Action.HOLD):
            words = ("fired", "held back")
            told.append(f"{what}: {words[before.held]} then, {words[not before.held]} now")
        elif _cause(before.because) != after.because:
            told.append(f"{what}: then because {before.because}; now because {after.because}")
    return told


def _cause(because: str) -> str:
    """As decided, without who accepted it."""
    return because.split("; accepted by ")[0]


def numbered_as(decision: Decision, run: Sequence[RecordedDecision]) -> Decision:
    """The decision under the number that the run gave it, where it made the same one."""
    for row in run:
        if (row.seq, row.rule, row.track_id) == (decision.seq, decision.rule, decision.track_id):
            return replace(decision, number=row.number)
    return decision
