"""How likely each track is to divide or to end, from its size and its age.

Cells of most kinds divide when they have grown and not soon after they were born, and those that
die or leave a tissue shrink before; how strongly differs, so it is counted while the movie runs.
Rate, size and age multiply; each factor is what was observed over what the other two foresaw
(proportional fitting, one frame at a time), drawn towards what is assumed before anything is seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.tracking.bodies import Ints, Reals

SIZES = (-0.8, -0.4, -0.15, 0.15, 0.4, 0.8)
"""Bounds of the size classes: base 2 logarithm of the area over the median of all."""
AGES = (1, 2, 3, 5, 8)
"""Last frame, counted from its birth, of each age class; a last class is older."""
YOUNG = (0.2, 0.35, 0.6, 0.8, 1.0, 1.0)
"""What is assumed of each age class: sisters that part are seldom a division each."""
FIRM = 3.0
"""What is assumed weighs as much as so many observed events."""
STEADY = 10.0
"""What is usual weighs as much as so many events of one frame."""
MEMORY = 4000.0
"""Tracks that the counts go back to; older ones fade."""
UNKNOWN = -1


class Tally(msgspec.Struct):
    """Events counted against the number that was foreseen, by class."""

    events: list[float]
    foreseen: list[float]

    def factors(self, assumed: tuple[float, ...]) -> Reals:
        """Times as likely (classes,) as without knowing the class."""
        events, foreseen = np.array(self.events), np.array(self.foreseen)
        # a class that is expected to see few events still counts as evidence when it sees none
        return np.asarray(np.array(assumed) * (events + FIRM) / (foreseen + FIRM))

    def add(self, of: Ints, event: Reals, foreseen: Reals, keep: float) -> None:
        """Count one frame's tracks, by their class ``of``."""
        size = len(self.events)
        known = of != UNKNOWN
        new = np.bincount(of[known], weights=event[known], minlength=size)
        old = np.bincount(of[known], weights=foreseen[known], minlength=size)
        self.events = (keep * np.array(self.events) + new).tolist()
        self.foreseen = (keep * np.array(self.foreseen) + old).tolist()


def _empty(classes: int) -> Tally:
    return Tally([0.0] * classes, [0.0] * classes)


class Odds(msgspec.Struct):
    """What sizes and ages have meant so far."""

    division_by_size: Tally = msgspec.field(default_factory=lambda: _empty(len(SIZES) + 1))
    division_by_age: Tally = msgspec.field(default_factory=lambda: _empty(len(YOUNG)))
    end_by_size: Tally = msgspec.field(default_factory=lambda: _empty(len(SIZES) + 1))


@dataclass(frozen=True, slots=True)
class Fates:
    """For each track (m,): its classes, and how likely it divides or ends in this frame."""

    size: Ints
    age: Ints
    divides: Reals
    ends: Reals

    @property
    def goes_on(self) -> Reals:
        """(m,) what remains."""
        return np.maximum(1.0 - self.divides - self.ends, 0.05)

    def of(self, rows: Ints) -> Fates:
        """Some of them, a copy."""
        return Fates(self.size[rows], self.age[rows], self.divides[rows], self.ends[rows])

    def scaled(self, divides: Reals, ends: Reals, use: NDArray[np.bool_]) -> Fates:
        """The same, as busy as this frame is: by how likely its tracks ``use`` divided and ended.

        A tenth of the tracks divide in some frames and none in others, when the cells keep time
        together or the frames do not come evenly.
        """
        more = (divides[use].sum() + STEADY) / (self.divides[use].sum() + STEADY)
        fewer = (ends[use].sum() + STEADY) / (self.ends[use].sum() + STEADY)
        return Fates(
            self.size,
            self.age,
            np.clip(self.divides * more, 0.0005, 0.6),
            np.clip(self.ends * fewer, 0.002, 0.7),
        )


def foresee(
    odds: Odds,
    area: Reals,
    sized: NDArray[np.bool_],
    median: float,
    seen: NDArray[np.int32],
    daughter: NDArray[np.bool_],
    division: float,
    end: Reals,
) -> Fates:
    """Fates of tracks (m,) from last area and frames seen.

    ``median`` is the usual area, 0 where none is known; ``division`` and ``end`` (m,) the rates
    of all.
    """
    size = np.full(len(area), UNKNOWN, dtype=np.intp)
    if median > 0:
        size[sized] = np.searchsorted(SIZES, np.log2(area[sized] / median))
    age = np.where(daughter, np.searchsorted(AGES, seen), UNKNOWN).astype(np.intp)
    # one place more, for what is not known
    by_size = np.append(odds.division_by_size.factors((1.0,) * (len(SIZES) + 1)), 1.0)
    by_age = np.append(odds.division_by_age.factors(YOUNG), 1.0)
    ends = np.append(odds.end_by_size.factors((1.0,) * (len(SIZES) + 1)), 1.0)
    return Fates(
        size,
        age,
        np.clip(division * by_size[size] * by_age[age], 0.0005, 0.6),
        np.clip(end * ends[size], 0.002, 0.7),
    )


def count(
    odds: Odds,
    fates: Fates,
    divided: Reals,
    ended: Reals,
    use: NDArray[np.bool_],
) -> None:
    """Learn from how likely the tracks ``use`` (m,) divided or ended, now that it is known."""
    size, age = fates.size[use], fates.age[use]
    keep = MEMORY / (MEMORY + int(use.sum()))
    ones = (1.0,) * (len(SIZES) + 1)
    by_size = np.append(odds.division_by_size.factors(ones), 1.0)[size]
    by_age = np.append(odds.division_by_age.factors(YOUNG) / np.array(YOUNG), 1.0)[age]
    by_end = np.append(odds.end_by_size.factors(ones), 1.0)[size]
    divides, ends = fates.divides[use], fates.ends[use]
    odds.division_by_size.add(size, divided[use], divides / by_size, keep)
    odds.division_by_age.add(age, divided[use], divides / by_age, keep)
    odds.end_by_size.add(size, ended[use], ends / by_end, keep)
