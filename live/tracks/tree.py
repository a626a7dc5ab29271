"""Where each object of a family tree goes on paper: time to the right, daughters above each other.

Ends have a row each; a piece that divides lies in the middle of its daughters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from live.tracks.lineage import families_of


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """One tree, laid out."""

    members: NDArray[np.int64]
    """Places of its objects, in order of time."""
    row: NDArray[np.float64]
    """Row of each, from 0; between rows where it is in the middle of its daughters."""
    rows: int


class Wood:
    """Lays out the trees of one set of tracks.

    Parameters
    ----------
    before
        (n,) place of the object that each came from, -1 for none; objects in order of time.
    """

    def __init__(self, before: NDArray[np.int64]) -> None:
        self._before = before
        self._piece, lineage = families_of(before)
        order = np.argsort(lineage, kind="stable")
        self.roots, starts = np.unique(lineage[order], return_index=True)
        """Number of each family."""
        self._members = np.split(order, starts)[1:]
        self.lineage = lineage
        """(n,) number of the family of each object."""

    def sizes(self) -> NDArray[np.int64]:
        """Objects of each family, in the order of ``roots``."""
        return np.array([len(one) for one in self._members], np.int64)

    def rows(self) -> NDArray[np.int64]:
        """Ends of each family, which is the number of rows that it takes."""
        ends = np.ones(len(self._before), np.bool_)
        ends[self._before[self._before >= 0]] = False
        at = np.searchsorted(self.roots, self.lineage[ends])
        return np.bincount(at, minlength=len(self.roots))

    def family(self, root: int, rank: NDArray[np.float64] | None = None) -> Family:
        """Lay out one family.

        Parameters
        ----------
        root
            One of ``roots``.
        rank
            (n,) by which sisters are ordered from the top; NaN says nothing. None: as they come.
        """
        members = self._members[int(np.searchsorted(self.roots, root))]
        pieces, first, piece_of = np.unique(
            self._piece[members], return_index=True, return_inverse=True
        )
        wish = _means(piece_of, len(pieces), None if rank is None else rank[members])
        mother = self._before[members[first]]
        children: dict[int, list[int]] = {}
        for one in np.argsort(wish, kind="stable").tolist():
            if mother[one] >= 0:
                at = int(np.searchsorted(pieces, self._piece[mother[one]]))
                children.setdefault(at, []).append(one)
        row = np.zeros(len(pieces))
        seen: list[int] = []
        open_: list[int] = [0]  # a piece is numbered by its first object, so the root is the first
        ends = 0
        while open_:
            piece = open_.pop()
            seen.append(piece)
            if piece in children:
                open_ += reversed(children[piece])
            else:
                row[piece] = ends
                ends += 1
        for piece in reversed(seen):
            if piece in children:
                row[piece] = float(np.mean(row[children[piece]]))
        return Family(members, row[piece_of], ends)


def _means(
    piece_of: NDArray[np.int64], count: int, rank: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Mean rank of each piece; those without one come in the order that they are in."""
    if rank is None:
        return np.zeros(count)
    known = ~np.isnan(rank)
    sums = np.bincount(piece_of[known], weights=rank[known], minlength=count)
    number = np.bincount(piece_of[known], minlength=count)
    return np.asarray(np.divide(sums, number, out=np.full(count, np.inf), where=number > 0))
