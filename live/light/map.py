"""How much light fell where: a map of the sample in stage coordinates. Pure.

The map is made of blocks as large as the first field of view, each of 8 x 8 cells. An exposure
adds its dose to every cell that it touches, so the greatest number on the map is never less than
what any point of the sample got, and at most an eighth of a field too wide.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CELLS = 8
"""Of a block, along each side."""
MOST_BLOCKS = 40_000
"""About 30 MB. Light on new ground beyond it is refused rather than forgotten."""
UNKNOWN_FIELD_UM = 100.0
"""Side of a field whose size is not known, because the pixel size is not."""
_NEARLY = 1e-6

Block = tuple[int, int]


class MapFull(Exception):
    """The map has no room for light on new ground."""


@dataclass(frozen=True, slots=True)
class Field:
    """A rectangle on the stage, µm."""

    x_um: float
    """Of its middle."""
    y_um: float
    width_um: float
    height_um: float


class DoseMap:
    """Dose of every place that light fell on. One thread at a time.

    Parameters
    ----------
    corner_um, block_um
        (x, y) of the map's origin and the sides of a block; taken from the first field when None.
    """

    def __init__(
        self,
        corner_um: tuple[float, float] | None = None,
        block_um: tuple[float, float] | None = None,
    ) -> None:
        self.corner_um = corner_um
        self.block_um = block_um
        self.field_um: tuple[float, float] | None = None
        """Sides of the field that light fell on last."""
        self._blocks: dict[Block, NDArray[np.float64]] = {}
        self._changed: set[Block] = set()
        self.greatest = 0.0
        """Of all cells."""

    def __len__(self) -> int:
        """Number of blocks."""
        return len(self._blocks)

    def add(self, field: Field, dose: float) -> None:
        """Light fell on ``field``; raises `MapFull` and counts nothing when there is no room."""
        self._settle(field)
        self.field_um = (field.width_um, field.height_um)
        parts = list(self._parts(field))
        new = sum(block not in self._blocks for block, _, _ in parts)
        if len(self._blocks) + new > MOST_BLOCKS:
            raise MapFull(f"light fell on {MOST_BLOCKS} fields already")
        for block, rows, columns in parts:
            cells = self._blocks.setdefault(block, np.zeros((CELLS, CELLS)))
            cells[rows, columns] += dose
            self.greatest = max(self.greatest, float(cells[rows, columns].max()))
            self._changed.add(block)

    def fits(self, fields: Iterable[Field]) -> bool:
        """Whether there is room for light on these fields."""
        new = {
            block
            for field in fields
            for block, _, _ in self._parts(field)
            if block not in self._blocks
        }
        return len(self._blocks) + len(new) <= MOST_BLOCKS

    def most(self, field: Field) -> float:
        """Greatest dose of any cell that ``field`` touches."""
        if self.corner_um is None:
            return 0.0
        found = 0.0
        for block, rows, columns in self._parts(field):
            cells = self._blocks.get(block)
            if cells is not None:
                found = max(found, float(cells[rows, columns].max()))
        return found

    def worst_after(self, wanted: Iterable[tuple[Field, float]]) -> float:
        """Greatest dose that any cell touched by these fields would have after their doses."""
        trial: dict[Block, NDArray[np.float64]] = {}
        worst = 0.0
        for field, dose in wanted:
            self._settle(field)
            for block, rows, columns in self._parts(field):
                if block not in trial:
                    known = self._blocks.get(block)
                    trial[block] = np.zeros((CELLS, CELLS)) if known is None else known.copy()
                trial[block][rows, columns] += dose
                worst = max(worst, float(trial[block][rows, columns].max()))
        return worst

    def at(self, x_um: NDArray[np.float64], y_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """Dose at points of the stage; 0 where no light fell, or a point is not a number.

        Parameters
        ----------
        x_um, y_um
            (n,) each.
        """
        found = np.zeros(len(x_um))
        if self.corner_um is None or self.block_um is None:
            return found
        with np.errstate(invalid="ignore"):
            gx = np.floor((x_um - self.corner_um[0]) / self.block_um[0] * CELLS)
            gy = np.floor((y_um - self.corner_um[1]) / self.block_um[1] * CELLS)
        fine = np.isfinite(gx) & np.isfinite(gy)
        columns, rows = gx[fine].astype(np.int64), gy[fine].astype(np.int64)
        places = np.zeros(len(columns))
        pairs = np.stack([rows // CELLS, columns // CELLS], axis=1)
        for row, column in np.unique(pairs, axis=0):
            cells = self._blocks.get((int(column), int(row)))
            if cells is not None:
                here = (pairs[:, 0] == row) & (pairs[:, 1] == column)
                places[here] = cells[rows[here] % CELLS, columns[here] % CELLS]
        found[fine] = places
        return found

    def positions(self) -> list[tuple[float, float, float]]:
        """(x, y) of the middle of each block, µm, and the greatest dose in it; highest first."""
        if self.corner_um is None or self.block_um is None:
            return []
        (x0, y0), (width, height) = self.corner_um, self.block_um
        found = [
            (x0 + (bx + 0.5) * width, y0 + (by + 0.5) * height, float(cells.max()))
            for (bx, by), cells in self._blocks.items()
        ]
        return sorted(found, key=lambda place: -place[2])

    def blocks(self) -> Iterator[tuple[Block, NDArray[np.float64]]]:
        """Every block, (column, row), and its cells (y, x)."""
        yield from self._blocks.items()

    def changed(self) -> list[tuple[Block, NDArray[np.float64]]]:
        """Copies of the blocks that changed since this was last asked."""
        found = [(block, self._blocks[block].copy()) for block in sorted(self._changed)]
        self._changed.clear()
        return found

    def put(self, block: Block, cells: NDArray[np.float64]) -> None:
        """Take a block as it was saved; it counts as changed."""
        self._blocks[block] = cells.reshape(CELLS, CELLS).copy()
        self._changed.add(block)
        self.greatest = max(self.greatest, float(cells.max(initial=0.0)))

    def _settle(self, field: Field) -> None:
        """The first field fixes the map, so that a plan that stays put fills one block."""
        if self.corner_um is None or self.block_um is None:
            width = field.width_um or UNKNOWN_FIELD_UM
            height = field.height_um or UNKNOWN_FIELD_UM
            self.block_um = (width, height)
            self.corner_um = (field.x_um - width / 2, field.y_um - height / 2)

    def _parts(self, field: Field) -> Iterator[tuple[Block, slice, slice]]:
        """Blocks that the field touches, and which of their cells."""
        if self.corner_um is None or self.block_um is None:
            return
        columns = _span(field.x_um, field.width_um, self.corner_um[0], self.block_um[0])
        rows = _span(field.y_um, field.height_um, self.corner_um[1], self.block_um[1])
        for by, row in _split(rows):
            for bx, column in _split(columns):
                yield (bx, by), row, column


def _span(middle: float, side: float, corner: float, block: float) -> tuple[int, int]:
    """First cell that is touched and the one after the last."""
    cell = block / CELLS
    half = (side or UNKNOWN_FIELD_UM) / 2
    first = math.floor((middle - half - corner) / cell + _NEARLY)
    last = math.ceil((middle + half - corner) / cell - _NEARLY)
    return first, max(last, first + 1)


def _split(span: tuple[int, int]) -> Iterator[tuple[int, slice]]:
    """Blocks of a span of cells, and the part of each."""
    first, last = span
    for block in range(first // CELLS, (last - 1) // CELLS + 1):
        start, stop = max(first - block * CELLS, 0), min(last - block * CELLS, CELLS)
        yield block, slice(start, stop)
