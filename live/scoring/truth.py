"""Were the rules right? Decisions held against what really happened in the simulated sample. Pure.

*Precision* is the share of fired actions that a real division caused. *Recall* is the share of real
divisions that the rule recognised: it fired, or only its own guards (cool-down, border, number of
firings) held it back. Both are None where there is nothing to count.

A division counts for ``recall`` when the camera could show it happen: the mother was in a captured
frame at most ``LONGEST_AWAY`` frames earlier, about one burst elsewhere, and she then and both
daughters in the first frame after were at least ``WHOLE_PX`` from the border of the image, so that
the nuclei were whole. What is left out is counted by reason (``unseen``: the stage first came when
it was over; ``at_border``), and ``recall_all`` is over every division, those included.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from drivers import TrueDivision
from live.rules.decisions import Action, Decision

EARLIEST_FRAMES = 2
"""A split can be seen this many frames before the truth calls it one: an elongated nucleus."""
LATEST_FRAMES = 12
NEAREST_UM = 15.0
"""Farther apart than about one cell, decision and division are not the same event."""
LONGEST_AWAY = 16
"""Frames since the mother was last in view; a burst elsewhere and the way there and back."""
WHOLE_PX = 16.0
"""Centre to border: about the radius of a nucleus under the 20X objective."""


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
    countable: int
    """Of these, the ones that the camera could show happen."""
    countable_recognised: int
    unseen: int
    """Not countable: the mother was not in view shortly before."""
    at_border: int
    """Not countable: mother or daughter was cut by the border, or beyond it."""
    late_frames: tuple[int, ...]
    """Of each recognised one, from the first frame that shows two daughters to the frame that the
    decision rests on."""

    def to_json(self) -> dict[str, float | int | None]:
        """Keys of the report."""
        return {
            "precision": _share(self.fired_right, self.fired),
            "recall": _share(self.countable_recognised, self.countable),
            "recall_all": _share(self.recognised, self.divisions),
            "latency_frames": float(median(self.late_frames)) if self.late_frames else None,
            "fired": self.fired,
            "fired_right": self.fired_right,
            "recognised": self.recognised,
            "wrong": self.wrong,
            "divisions": self.divisions,
            "countable": self.countable,
            "countable_recognised": self.countable_recognised,
            "unseen": self.unseen,
            "at_border": self.at_border,
        }


def score_divisions(decisions: Sequence[Decision], divisions: Sequence[TrueDivision]) -> TruthScore:
    """Match decisions to real divisions, nearest first, each used once."""
    matched = match(decisions, divisions)
    taken = set(matched.values())
    fired = [d for d, decision in enumerate(decisions) if decision.action is Action.BURST]
    countable = {t for t, one in enumerate(divisions) if not (_unseen(one) or _cut(one))}
    unseen = sum(map(_unseen, divisions))
    late = [decisions[d].seq - divisions[t].seq for d, t in matched.items()]
    return TruthScore(
        fired=len(fired),
        fired_right=sum(d in matched for d in fired),
        recognised=len(taken),
        wrong=len(decisions) - len(matched),
        divisions=len(divisions),
        countable=len(countable),
        countable_recognised=len(countable & taken),
        unseen=unseen,
        at_border=len(divisions) - len(countable) - unseen,
        late_frames=tuple(late),
    )


def match(decisions: Sequence[Decision], divisions: Sequence[TrueDivision]) -> dict[int, int]:
    """Places of decisions -> places of the real divisions that they belong to."""
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
    return matched


def _unseen(division: TrueDivision) -> bool:
    seen = division.mother_seq
    return seen is not None and (seen < 0 or division.seq - seen > LONGEST_AWAY)


def _cut(division: TrueDivision) -> bool:
    return division.margin_px is not None and division.margin_px < WHOLE_PX


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
