"""The ladder that a rule climbs: observe, then suggest, then act by itself. Pure; callers lock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from live.experiment.settings import RuleSettings

Mode = Literal["observe", "suggest", "auto"]
MODES: tuple[Mode, ...] = ("observe", "suggest", "auto")
MOST_SUGGESTIONS = 8


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What a rule would do, waiting for an answer."""

    number: int
    """Of the decision."""
    rule: str
    text: str
    until_s: float
    """Monotonic clock; later an answer comes too late."""


class Arming:
    """Mode of each rule, and the suggestions that wait.

    Parameters
    ----------
    rules
        Their ``mode`` is where they begin.
    """

    def __init__(self, rules: Sequence[RuleSettings]) -> None:
        self._modes: dict[str, Mode] = {rule.name: rule.mode for rule in rules}
        self._waiting: dict[int, Suggestion] = {}

    def mode(self, rule: str) -> Mode:
        """What the rule may do."""
        return self._modes.get(rule, "auto")

    def set_mode(self, rule: str, mode: Mode) -> None:
        """Move a rule up or down the ladder."""
        self._modes[rule] = mode

    def modes(self) -> dict[str, Mode]:
        """Rule -> mode."""
        return dict(self._modes)

    def ask(self, suggestion: Suggestion) -> list[int]:
        """Let a suggestion wait; numbers of older ones that give way to it."""
        # Of one rule the newest is what can still be acted on.
        gone = [n for n, old in self._waiting.items() if old.rule == suggestion.rule]
        for number in gone:
            del self._waiting[number]
        while len(self._waiting) >= MOST_SUGGESTIONS:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            gone.append(oldest)
        self._waiting[suggestion.number] = suggestion
        return gone

    def answer(self, number: int) -> Suggestion:
        """Take a suggestion out; ``KeyError`` when it does not wait (any more)."""
        return self._waiting.pop(number)

    def expired(self, now_s: float) -> list[int]:
        """Take out what was not answered in time."""
        gone = [number for number, asked in self._waiting.items() if asked.until_s < now_s]
        for number in gone:
            del self._waiting[number]
        return gone

    def waiting(self) -> list[Suggestion]:
        """Suggestions that wait, oldest first."""
        return list(self._waiting.values())
