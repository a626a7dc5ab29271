"""What each track bids for each object, given what the objects ask.

Arrays have the tracks last: then every operation runs along memory over all tracks at once, where
sums over eight candidates would be many short ones. That is three times as fast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.tracking.bodies import Ints, Reals


@dataclass(frozen=True, slots=True, eq=False)
class Offers:
    """Prices of m tracks with at most k candidates, tracks last."""

    one: Reals
    """(k, m) of taking one object."""
    two: Reals
    """(k, k, m) of dividing into two."""
    end: Reals
    """(m,) of taking none."""

    @classmethod
    def of(cls, one: Reals, two: Reals, end: Reals) -> Offers:
        """From tables with the tracks first: (m, k), symmetric (m, k, k) and (m,)."""
        return cls(np.ascontiguousarray(one.T), np.ascontiguousarray(two.transpose(1, 2, 0)), end)

    def bids(self, ask: Reals) -> tuple[Reals, tuple[Ints, Ints]]:
        """What having each object (k, m) is worth beyond not having it, and the slots wanted most.

        ``ask`` (k, m) is what the objects ask. Wanted are two slots (m,) each in order, -1 for
        none.
        """
        k = len(ask)
        # with what the other daughter earns, without what this one earns
        least, partner, runner = _least_of(self.two - ask[None])
        first, runner = least - ask, runner - ask
        single = self.one - ask
        having = np.minimum(self.one, least)
        lacking = np.empty_like(ask)
        for slot in range(k):
            # the best hypothesis that leaves this slot out
            rest = np.where(partner == slot, runner, first)
            np.minimum(rest, single, out=rest)
            rest[slot] = self.end
            lacking[slot] = rest.min(axis=0)
        total = having - ask
        low, top, _ = _least_of(total[None])
        best, top = low[0], top[0]
        none = best >= self.end
        at = np.arange(len(self.end))
        double = ~none & (first[top, at] < single[top, at])
        mate = np.where(double, partner[top, at], -1)
        top = np.where(none, -1, top)
        small, large = np.minimum(top, mate), np.maximum(top, mate)
        return having - lacking, (np.where(double, small, large), np.where(double, large, -1))


def _least_of(values: Reals) -> tuple[Reals, Ints, Reals]:
    """Least value along axis 1 of (a, k, m), the first place of it, and the next least."""
    least = values[:, 0].copy()
    place = np.zeros(least.shape, dtype=np.intp)
    runner = np.full(least.shape, np.inf)
    for k in range(1, values.shape[1]):
        new = values[:, k]
        np.minimum(runner, np.maximum(least, new), out=runner)
        place[new < least] = k
        np.minimum(least, new, out=least)
    return least, place, runner
