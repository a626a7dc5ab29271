"""Which track may be which object: pairs that lie near each other, by a grid.

The cost is linear in objects. A cell of the grid gives at most ``PER_CELL`` objects, so that
thousands of objects on one spot cost no more than a crowd; what is left out is counted.
"""

from __future__ import annotations

import numpy as np

from models.tracking.bodies import Ints, Reals

PER_CELL = 24
MOST_CELLS = 16
"""Cells of the grid for each body, up to which every cell is written down."""


def near_pairs(expected: Reals, gate: Reals, found: Reals) -> tuple[Ints, Ints, int]:
    """Pairs (track, object) closer than the track's gate.

    Parameters
    ----------
    expected
        (m, 2) where the tracks should be.
    gate
        (m,) how far an object may be from there.
    found
        (n, 2) where the objects are.

    Returns
    -------
    Rows of ``expected``, rows of ``found``, and how many objects were passed over because more
    than ``PER_CELL`` lay in one cell.
    """
    none = np.zeros(0, dtype=np.intp)
    if len(expected) == 0 or len(found) == 0:
        return none, none, 0
    # a few very long objects must not make the cells of all others large
    size = max(float(np.partition(gate, 9 * len(gate) // 10)[9 * len(gate) // 10]), 1e-9)
    rings = int(np.clip(np.ceil(gate.max() / size), 1, 3))
    origin = np.minimum(expected.min(axis=0), found.min(axis=0)) - size * (rings + 1)
    cell = np.floor((found - origin) / size).astype(np.int64)
    home = np.floor((expected - origin) / size).astype(np.int64)
    lines, columns = (int(max(cell[:, a].max(), home[:, a].max())) + rings + 2 for a in (0, 1))
    key = cell[:, 0] * columns + cell[:, 1]
    order = np.argsort(key, kind="stable")
    # neighbours along x are neighbours in the order: one search for each row of cells
    steps = np.arange(-rings, rings + 1)
    row_key = (home[:, 0, None] + steps) * columns + home[:, 1, None]
    if lines * columns <= MOST_CELLS * (len(expected) + len(found)):
        start = np.zeros(lines * columns + 1, dtype=np.intp)
        np.cumsum(np.bincount(key, minlength=lines * columns), out=start[1:])
        first, last = start[row_key - rings], start[row_key + rings + 1]
    else:
        key = key[order]
        first = np.searchsorted(key, row_key - rings, "left")
        last = np.searchsorted(key, row_key + rings, "right")
    count = np.minimum(last - first, PER_CELL * (2 * rings + 1))
    passed_over = int((last - first - count).sum())
    track = np.repeat(np.arange(len(expected)), count.sum(axis=1))
    count, first = count.ravel(), first.ravel()
    within = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    obj = order[np.repeat(first, count) + within]
    (dy, dx), (y, x) = (np.ascontiguousarray(found.T).take(obj, axis=1), expected.T)
    dy -= y.take(track)
    dx -= x.take(track)
    dy *= dy
    dx *= dx
    dy += dx
    near = np.flatnonzero(dy <= (gate * gate).take(track))
    return track[near], obj[near], passed_over
