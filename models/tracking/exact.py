"""The cheapest decision for a handful of tracks that quarrel, by looking at all that could be.

Where three cells divide into places that all of them want, prices may go round for ever; there are
few enough hypotheses then to try them, the cheapest first, leaving every branch that can no longer
win (branch and bound).
"""

from __future__ import annotations

import numpy as np

from models.tracking.bodies import Ints, Reals

MOST_TRACKS = 5
"""Tracks of a group that is decided so."""
MOST_STEPS = 2000
"""Branches looked at, after which the best so far stands: some milliseconds."""

_Hypothesis = tuple[float, tuple[int, ...]]


def decide(obj: Ints, one: Reals, two: Reals, end: Reals, birth: Reals) -> tuple[Ints, Ints]:
    """Objects (t,) of each track and of its second daughter, -1 for none.

    Parameters
    ----------
    obj, one, two, end
        Candidates (t, k) and prices (t, k), (t, k, k), (t,) of a group, as in ``joint.Choices``.
    birth
        (n,) price of an object that no track takes.
    """
    offers = [_hypotheses(*row, birth) for row in zip(obj, one, two, end, strict=True)]
    order = sorted(range(len(offers)), key=lambda row: len(offers[row]))
    # what the tracks after each one can save at best
    rest = [0.0]
    for row in reversed(order):
        rest.append(rest[-1] + offers[row][0][0])
    rest.reverse()
    best_total = np.inf
    best: list[tuple[int, ...]] = [()] * len(offers)
    taken: set[int] = set()
    chosen: list[tuple[int, ...]] = [()] * len(offers)
    steps = 0

    def branch(depth: int, total: float) -> None:
        nonlocal best_total, best, steps
        if depth == len(order):
            if total < best_total:
                best_total, best = total, list(chosen)
            return
        row = order[depth]
        for price, objects in offers[row]:
            if steps >= MOST_STEPS or total + price + rest[depth + 1] >= best_total:
                return
            if taken.isdisjoint(objects):
                steps += 1
                taken.update(objects)
                chosen[row] = objects
                branch(depth + 1, total + price)
                taken.difference_update(objects)

    branch(0, 0.0)
    first = [objects[0] if objects else -1 for objects in best]
    second = [objects[1] if len(objects) > 1 else -1 for objects in best]
    return np.array(first, dtype=np.intp), np.array(second, dtype=np.intp)


def _hypotheses(obj: Ints, one: Reals, two: Reals, end: float, birth: Reals) -> list[_Hypothesis]:
    """What one track may do and what it costs beyond its objects being new; cheapest first."""
    found: list[_Hypothesis] = [(float(end), ())]
    found += [
        (float(one[slot] - birth[obj[slot]]), (int(obj[slot]),))
        for slot in np.flatnonzero(np.isfinite(one)).tolist()
    ]
    for a, b in np.argwhere(np.isfinite(two)).tolist():
        if a < b:
            price = float(two[a, b] - birth[obj[a]] - birth[obj[b]])
            found.append((price, (int(obj[a]), int(obj[b]))))
    found.sort()
    # nothing dearer than ending is ever taken
    return found[: found.index((float(end), ())) + 1]
