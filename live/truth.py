"""Were the rules right? Decisions held against what really happened in the simulated sample. Pure.

*Precision* is the share of fired bursts that a real division caused. *Recall* is the share of real
divisions in view that the rule recognised: it fired, or only its own guards (cool-down, border,
number of firings) held it back. Both are None where there is nothing to count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from drivers import TrueDivision
from live.rules import Action, Decision

EARLIEST_FRAMES = 2
"""A split can be seen this many frames before the truth calls it one: an elongated nucleus."""
LATEST_FRAMES = 12
NEAREST_UM = 15.0
"""Farther apart than about one cell, decision and division are not the same event."""


@dataclass(frozen=True, slots=True)
class TruthScore:
    """Decisions on divisions against real ones."""

    fired: int
    fired_right: int
    recognised: int
    """Real divisions that a decision, fired or held back, belongs to."""
    wrong: int
    """Decisions, fired or held back, that no real division belongs to."""
    divisions: int
    """Real divisions in view."""

    def to_json(self) -> dict[str, float | int | None]:
        """Keys of the report."""
        return {
            "precision": self.fired_right / self.fired if self.fired else None,
            "recall": self.recognised / self.divisions if self.divisions else None,
            "fired": self.fired,
            "fired_right": self.fired_right,
            "recognised": self.recognised,
            "wrong": self.wrong,
            "divisions": self.divisions,
        }


def score_divisions(decisions: Sequence[Decision], divisions: Sequence[TrueDivision]) -> TruthScore:
    """Match decisions to real divisions, nearest first, each used once."""
    pairs = []
    for d, decision in enumerate(decisions):
        for t, division in enumerate(divisions):
            late = decision.seq - division.seq
            apart = math.hypot(decision.x_um - division.x_um, decision.y_um - division.y_um)
            if -EARLIEST_FRAMES <= late <= LATEST_FRAMES and apart <= NEAREST_UM:
                pairs.append((abs(late), apart, d, t))
    matched: dict[int, int] = {}
    taken: set[int] = set()
    for _, _, d, t in sorted(pairs):
        if d not in matched and t not in taken:
            matched[d] = t
            taken.add(t)
    fired = [d for d, decision in enumerate(decisions) if decision.action is Action.BURST]
    return TruthScore(
        fired=len(fired),
        fired_right=sum(d in matched for d in fired),
        recognised=len(taken),
        wrong=len(decisions) - len(matched),
        divisions=len(divisions),
    )
