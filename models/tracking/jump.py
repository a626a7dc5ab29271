"""A jump of the whole field: the stage slipped, or somebody pushed it.

All cells then move alike and farther than any would by itself. Pairs of a track and an object of
like size vote for the displacement between them; a true jump gathers one vote of nearly every
track in one place, chance does not.
"""

from __future__ import annotations

import numpy as np

from models.tracking.bodies import Bodies, Ints, Reals

UPSET = 0.25
"""Part of the tracks that must end in a frame before a jump is thought of."""
AGREED = 0.5
"""Part of the tracks that must vote for it."""
RARE = 8.0
"""Price of a jump: once in some thousand frames."""
LIKE = 0.35
"""Largest difference of the logarithm of the areas of a pair that votes."""
FAR = 0.75
"""Radii of the usual cell below which the tracker follows without help."""
MOST_TRACKS = 128
BIN = 0.7
"""Side of a ballot box, in radii of the usual cell."""
MOST_BOXES = 4_000_000


def jump_of(
    expected: Bodies, found: Bodies, rows: Ints, limit: tuple[float, float]
) -> Reals | None:
    """Displacement (y, x) that most of the tracks ``rows`` agree on, or None.

    Parameters
    ----------
    expected
        (m,) where the tracks should be.
    found
        (n,) objects.
    rows
        (k,) tracks that were found in the frame before; of many, every so-many-th votes.
    limit
        Pixels along y and x that a jump may be: cells that have left the field tell nothing.
    """
    if len(rows) < 2 or len(found) < 2:
        return None
    rows = rows[:: -(-len(rows) // MOST_TRACKS)]
    ratio = np.abs(np.log(found.area[None, :] / expected.area[rows, None]))
    known = expected.sized[rows, None] & found.sized[None, :]
    track, obj = np.nonzero((ratio < LIKE) | ~known)
    apart = np.abs(found.place[obj] - expected.place[rows[track]])
    near = (apart <= limit).all(axis=1)
    track, obj = track[near], obj[near]
    if len(track) == 0:
        return None
    moved = found.place[obj] - expected.place[rows[track]]
    radius = max(float(np.median(expected.radius[rows])), 1.0)
    size = BIN * radius
    box = np.floor((moved - moved.min(axis=0)) / size).astype(np.int64)
    height, width = (box.max(axis=0) + 2).tolist()
    if height * width > MOST_BOXES:
        return None
    votes = np.zeros((height, width), dtype=np.int64)
    # a vote counts in the boxes beside it too, so that a border between boxes parts none
    key = np.unique((track * height + box[:, 0]) * width + box[:, 1])
    np.add.at(votes, (key // width % height, key % width), 1)
    four = votes[:-1, :-1] + votes[1:, :-1] + votes[:-1, 1:] + votes[1:, 1:]
    y, x = np.unravel_index(int(four.argmax()), four.shape)
    if four[y, x] < max(AGREED * len(rows), 2):
        return None
    inside = ((box[:, 0] - y) >> 1 == 0) & ((box[:, 1] - x) >> 1 == 0)
    jump: Reals = np.median(moved[inside], axis=0)
    return jump if np.hypot(*jump) > FAR * radius else None
