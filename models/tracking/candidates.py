"""Which track may be which object: pairs that lie near each other, by a grid.

The cost is linear in objects. A cell of the grid gives at most ``PER_CELL`` objects, so that
thousands of objects on one spot cost no more than a crowd; what is left out is counted.
"""

from __future__ import annotations

import numpy as np

from models.tracking.bodies import Ints, Reals, lowest

PER_CELL = 24
MOST_CELLS = 16
"""Cells of the grid for each body, up to which every cell is written down."""


CLEARLY = 6.0
"""Times farther than the nearest of either that a pair need not be looked at."""
AT_HOME = 0.35
"""If that nearest lies within this part of the track's radius. A drift that nobody foresaw leaves
few so near, and nothing is left out."""


def near_pairs(
    expected: Reals, gate: Reals, found: Reals, radius: Reals | None = None
) -> tuple[Ints, Ints, int]:
    """Pairs (track, object) closer than the track's gate.

    Parameters
    ----------
    expected
        (m, 2) where the tracks should be.
    gate
        (m,) how far an object may be from there.
    found
        (n, 2) where the objects are.
    radius
        (m,) of the tracks: pairs of which both have a far nearer partner, one that is where it is
        expected, are left out. None: all are given.

    Returns
    -------
    Rows of ``expected``, rows of ``found``, and how many objects were passed over because more
    than ``PER_CELL`` lay in one cell.
    """
    none = np.zeros(0, dtype=np.intp)
    if len(expected) == 0 or len(found) == 0:
        return none, none, 0
    # a few very long objects must not make the cells of all others large
    usual, longest = float(np.partition(gate, 9 * len(gate) // 10)[9 * len(gate) // 10]), gate.max()
    # three cells of the longest hold less than five of the usual, up to 5 / 3 of it
    size = max(longest if 3 * longest < 5 * usual else usual, 1e-9)
    rings = int(np.clip(np.ceil(longest / size), 1, 3))
    origin = np.minimum(lowest(expected), lowest(found)) - size * (rings + 1)
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
    count, first = count.ravel(), first.ravel()
    end = np.cumsum(count)
    # places in the order of cells, where neighbours lie side by side in memory
    place = np.arange(int(end[-1])) + np.repeat(first - (end - count), count)
    track = np.repeat(np.arange(len(expected)), count.reshape(len(expected), -1).sum(axis=1))
    (dy, dx), (y, x) = (found.T.take(order, axis=1).take(place, axis=1), expected.T)
    dy -= y.take(track)
    dx -= x.take(track)
    dy *= dy
    dx *= dx
    dy += dx
    near = np.flatnonzero(dy <= (gate * gate).take(track))
    track, obj = track.take(near), order.take(place.take(near))
    if radius is not None:
        kept = _in_question(track, obj, dy.take(near), AT_HOME * radius, len(found))
        track, obj = track.take(kept), obj.take(kept)
    return track, obj, passed_over


def _in_question(track: Ints, obj: Ints, apart: Reals, home: Reals, n: int) -> Ints:
    """Pairs that either could be; ``apart`` are squared distances, ``home`` (m,) is a distance."""
    of_track, of_obj = np.full(len(home), np.inf), np.full(n, np.inf)
    np.minimum.at(of_track, track, apart)
    np.minimum.at(of_obj, obj, apart)
    settled = of_track < home * home
    nearest = np.maximum(of_track.take(track), of_obj.take(obj))
    return np.flatnonzero((apart <= CLEARLY**2 * nearest) | ~settled.take(track))
