"""The cheapest way to give objects to tracks, one connected group at a time.

Each track takes one object or ends, each object goes to one track or is new; ending and appearing
have a price. Groups that share no candidate are solved by themselves (Jonker and Volgenant,
Computing 1987, in ``lap``), and the many groups of one track and one object without a solver.
"""

from __future__ import annotations

import lap
import numpy as np

from models.tracking.bodies import Ints, Reals

DENSE = 1000
"""Largest side of a group that is solved exactly, in a table: a tissue that hangs together is not
decided here, so larger groups are crowds on one spot."""


def assign(track: Ints, obj: Ints, cost: Reals, end: Reals, birth: Reals) -> tuple[Ints, Reals]:
    """Object of each track.

    Parameters
    ----------
    track, obj, cost
        Candidate pairs and their prices.
    end, birth
        Price of leaving a track (m,) or an object (n,) alone.

    Returns
    -------
    taken
        (m,) object of each track, -1 for none.
    price
        (m,) what that pair costs, ``end`` where there is none.
    """
    taken = np.full(len(end), -1, dtype=np.intp)
    price = end.copy()
    use = cost < end[track] + birth[obj]
    track, obj, cost = track[use], obj[use], cost[use]
    if len(track) == 0:
        return taken, price
    alone = (np.bincount(track, minlength=len(end))[track] == 1) & (
        np.bincount(obj, minlength=len(birth))[obj] == 1
    )
    taken[track[alone]] = obj[alone]
    price[track[alone]] = cost[alone]
    track, obj, cost = track[~alone], obj[~alone], cost[~alone]
    if len(track) == 0:
        return taken, price
    group = groups(track, obj, len(end), len(birth))
    order = np.argsort(group, kind="stable")
    track, obj, cost, group = track[order], obj[order], cost[order], group[order]
    cuts = np.flatnonzero(np.diff(group)) + 1
    starts, ends = np.concatenate(([0], cuts)), np.concatenate((cuts, [len(group)]))
    for a, b in zip(starts, ends, strict=True):
        rows, row = np.unique(track[a:b], return_inverse=True)
        columns, column = np.unique(obj[a:b], return_inverse=True)
        best = solve if max(len(rows), len(columns)) <= DENSE else greedy
        for i, j, c in best(row, column, cost[a:b], end[rows], birth[columns]):
            taken[rows[i]] = columns[j]
            price[rows[i]] = c
    return taken, price


def solve(
    row: Ints, column: Ints, cost: Reals, end: Reals, birth: Reals
) -> list[tuple[int, int, float]]:
    """Best pairs of one group, rows and columns counted from 0."""
    m, n = len(end), len(birth)
    table = np.full((m, n), np.inf)
    table[row, column] = cost - end[row] - birth[column]
    # taking nothing costs 0 now, so a pair is worth taking when it is below
    gain = np.minimum(table, 0.0)
    _, taken, _ = lap.lapjv(gain, extend_cost=True)
    return [
        (i, int(j), float(table[i, j] + end[i] + birth[j]))
        for i, j in enumerate(taken)
        if j >= 0 and table[i, j] < 0
    ]


def greedy(
    row: Ints, column: Ints, cost: Reals, end: Reals, birth: Reals
) -> list[tuple[int, int, float]]:
    """Good pairs of one large group: again and again those that are best for both sides."""
    gain = cost - end[row] - birth[column]
    order = np.lexsort((column, row, gain))
    row, column, cost = row[order], column[order], cost[order]
    chosen: list[tuple[int, int, float]] = []
    while len(row):
        # the first pair of a row, and of a column, is its best
        first_row, first_column = np.zeros(len(row), dtype=bool), np.zeros(len(row), dtype=bool)
        first_row[np.unique(row, return_index=True)[1]] = True
        first_column[np.unique(column, return_index=True)[1]] = True
        take = first_row & first_column
        chosen += zip(row[take].tolist(), column[take].tolist(), cost[take].tolist(), strict=True)
        left = ~np.isin(row, row[take]) & ~np.isin(column, column[take])
        row, column, cost = row[left], column[left], cost[left]
    return chosen


def groups(track: Ints, obj: Ints, m: int, n: int) -> Ints:
    """Number of the connected group of each pair: the least number spreads along the pairs."""
    mark = np.arange(m + n)
    a, b = track, obj + m
    while True:
        low = np.minimum(mark[a], mark[b])
        new = mark.copy()
        np.minimum.at(new, a, low)
        np.minimum.at(new, b, low)
        new = new[new]
        if np.array_equal(new, mark):
            return mark[a]
        mark = new
