"""How much light each followed cell got. Pure, and without a loop over cells."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from live.light.map import Field

MOST_CELLS = 20_000
"""Cells remembered; beyond it those that left view first are forgotten."""

Floats = NDArray[np.float64]


class CellDoses:
    """Dose of the cells, kept from frame to frame. One thread at a time."""

    def __init__(self) -> None:
        self._ids = np.zeros(0, np.int64)  # ascending
        self._dose = np.zeros(0)
        self._x = np.zeros(0)
        self._y = np.zeros(0)
        self._here = np.zeros(0, np.bool_)
        self.greatest = 0.0
        """Of all cells so far."""
        self.total = 0
        """Cells seen so far."""

    def shine(self, field: Field, dose: float) -> None:
        """Light fell on a field: every cell in it, where it was last seen, got its part."""
        lit = self._inside(field)
        self._dose[lit] += dose
        if lit.any():
            self.greatest = max(self.greatest, float(self._dose[lit].max()))

    def most(self, field: Field) -> float:
        """Greatest dose of the cells in a field; 0 without any."""
        return float(self._dose[self._inside(field)].max(initial=0.0))

    def see(
        self,
        objects: NDArray[np.void],
        field: Field,
        dose_at: Callable[[Floats, Floats], Floats],
    ) -> None:
        """Take the cells that were found in one frame.

        Parameters
        ----------
        objects
            (n,) rows of ``models.result.OBJECT_DTYPE``; those without a track or a place on the
            stage are left out.
        field
            Of the frame: a cell that was there and is not any more has left.
        dose_at
            Dose of places (x_um, y_um). A cell without a known mother is taken to have had all
            the light that fell where it is: more than the truth for a wanderer, and never less
            for a cell whose track was lost and found again.
        """
        usable = (objects["track_id"] > 0) & np.isfinite(objects["x_um"] + objects["y_um"])
        rows = objects[usable]
        ids, first = np.unique(rows["track_id"].astype(np.int64), return_index=True)
        rows = rows[first]
        x, y = rows["x_um"].astype(float), rows["y_um"].astype(float)
        self._here &= ~self._inside(field)
        known, place = self._find(ids)
        self._x[place[known]], self._y[place[known]] = x[known], y[known]
        self._here[place[known]] = True
        new = ~known
        if new.any():
            mothers, at = self._find(rows["parent_id"][new].astype(np.int64))
            dose = dose_at(x[new], y[new])
            dose[mothers] = self._dose[at[mothers]]
            self._add(ids[new], dose, x[new], y[new])

    def of(self, ids: NDArray[np.int64]) -> Floats:
        """Dose of each of these tracks; NaN for one that is not known."""
        known, place = self._find(ids)
        found = np.full(len(ids), np.nan)
        found[known] = self._dose[place[known]]
        return found

    def table(self) -> tuple[NDArray[np.int64], Floats]:
        """Tracks, ascending, and the dose of each."""
        return self._ids.copy(), self._dose.copy()

    def _inside(self, field: Field) -> NDArray[np.bool_]:
        if field.width_um <= 0 or field.height_um <= 0:
            return self._here.copy()
        near_x = np.abs(self._x - field.x_um) <= field.width_um / 2
        near_y = np.abs(self._y - field.y_um) <= field.height_um / 2
        found: NDArray[np.bool_] = self._here & near_x & near_y
        return found

    def _find(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
        """Which are known, and where; the place of an unknown one means nothing."""
        if not len(self._ids):
            return np.zeros(len(ids), np.bool_), np.zeros(len(ids), np.intp)
        place = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        return self._ids[place] == ids, place

    def _add(self, ids: NDArray[np.int64], dose: Floats, x: Floats, y: Floats) -> None:
        self.total += len(ids)
        self.greatest = max(self.greatest, float(dose.max(initial=0.0)))
        order = np.argsort(np.concatenate([self._ids, ids]), kind="stable")
        self._ids = np.concatenate([self._ids, ids])[order]
        self._dose = np.concatenate([self._dose, dose])[order]
        self._x, self._y = np.concatenate([self._x, x])[order], np.concatenate([self._y, y])[order]
        self._here = np.concatenate([self._here, np.ones(len(ids), np.bool_)])[order]
        if len(self._ids) > MOST_CELLS:
            self._forget(len(self._ids) - MOST_CELLS)

    def _forget(self, count: int) -> None:
        """Let go of the oldest tracks, of those that left view first."""
        order = np.lexsort((self._ids, self._here))
        keep = np.sort(order[count:])
        self._ids, self._dose, self._here = self._ids[keep], self._dose[keep], self._here[keep]
        self._x, self._y = self._x[keep], self._y[keep]
