"""Images too large to label at once: in tiles that overlap, gathered without seams.

Each tile has a core, and around it a halo as wide as the network can see. The cores part the image;
an object belongs to the tile whose core holds its centre, and comes from there whole, halo and all.
Memory is that of one tile and of the label image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.tasks.light import STRIDE_PX, limits_of

CORE_PX = 1024
"""Longest side of a core, in network pixels."""

HALO_PX = 96
"""Width of the halo: what the network sees round a pixel is 88 px."""

STEP_PX = 16
"""Tiles begin at multiples of this, so that every tile halves the image at the same places."""

CONTESTED_PX = 16.0
"""An object this near to a core may be nobody's, as two tiles can differ on where its centre is."""

TAKEN = 0.5
"""An object of which others hold this part is one that they know already."""

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile, half-open spans in network pixels."""

    core: tuple[Span, Span]
    """(y, x) of what it alone answers for."""
    seen: tuple[Span, Span]
    """(y, x) of what it is shown: the core and its halo, as far as the image goes."""


def tiles_of(shape: tuple[int, int], core_px: int = 0) -> Iterator[Tile]:
    """Tiles of an image (y, x) of ``shape`` network pixels, in raster order.

    ``core_px`` is the longest side of a core; 0: `CORE_PX`.
    """
    rows, columns = (_cut(length, core_px or CORE_PX) for length in shape)
    for y in rows:
        for x in columns:
            yield Tile((y, x), (_widened(y, shape[0]), _widened(x, shape[1])))


def _cut(length: int, core_px: int) -> list[Span]:
    count = -(-length // core_px)
    step = -(-length // (count * STEP_PX)) * STEP_PX
    return [(start, min(start + step, length)) for start in range(0, length, step)]


def _widened(span: Span, length: int) -> Span:
    return max(span[0] - HALO_PX, 0), min(span[1] + HALO_PX, length)


@dataclass(slots=True)
class _Contested:
    """An object that no core held when its tile was read."""

    places: NDArray[np.int64]
    """Its pixels in the flat label image."""
    area: int
    confidence: float


@dataclass(slots=True)
class Mosaic:
    """Label image that tiles are laid into.

    Parameters
    ----------
    shape
        (y, x) of the label image, camera pixels.
    network_shape
        (y, x) of the same image in the pixels that the tiles count in.
    """

    shape: tuple[int, int]
    network_shape: tuple[int, int]
    labels: NDArray[np.int32] = field(init=False)
    """(y, x) at ``shape``; objects count from 1 in the order in which they came."""
    _area: list[int] = field(init=False, default_factory=lambda: [0])
    _confidence: list[float] = field(init=False, default_factory=lambda: [0.0])
    _open: list[_Contested] = field(init=False, default_factory=list)
    _lines: tuple[NDArray[np.int64], NDArray[np.int64]] = field(init=False)
    """For each row and column of ``labels``, that of the network under its middle."""

    def __post_init__(self) -> None:
        self.labels = np.zeros(self.shape, np.int32)
        rows, columns = (
            (2 * np.arange(new, dtype=np.int64) + 1) * old // (2 * new)
            for new, old in zip(self.shape, self.network_shape, strict=True)
        )
        self._lines = rows, columns

    def lay(self, tile: Tile, labels: NDArray[np.int32], probability: NDArray[np.float32]) -> None:
        """Take what belongs to a tile.

        Parameters
        ----------
        tile
            Where it lies.
        labels
            (y, x) of ``tile.seen``, 0 is background; numbers may have gaps.
        probability
            (y, x) of ``tile.seen``, of being in an object.
        """
        y, x = np.nonzero(labels)
        flat = labels[y, x]
        area = np.bincount(flat, minlength=1)
        if len(area) == 1:
            return
        there = np.maximum(area, 1)
        off = [
            _outside(np.bincount(flat, place) / there + seen[0], core)
            for place, seen, core in zip((y, x), tile.seen, tile.core, strict=True)
        ]
        away = np.maximum(*off)
        mean = np.bincount(flat, probability[y, x]) / there
        rows, columns = (
            slice(*np.searchsorted(line, seen))
            for line, seen in zip(self._lines, tile.seen, strict=True)
        )
        part = labels[
            np.ix_(
                self._lines[0][rows] - tile.seen[0][0], self._lines[1][columns] - tile.seen[1][0]
            )
        ]
        view = self.labels[rows, columns]
        size = np.bincount(part.ravel(), minlength=len(area))
        taken = np.bincount(part[view > 0], minlength=len(area)) / np.maximum(size, 1)
        owned = (area > 0) & (size > 0) & (away <= 0) & (taken < TAKEN)
        owned[0] = False
        number = np.zeros(len(area), np.int32)
        number[owned] = len(self._area) + np.arange(np.count_nonzero(owned))
        new = number[part]
        np.copyto(view, new, where=(new > 0) & (view == 0))
        self._area += area[owned].tolist()
        self._confidence += mean[owned].tolist()
        doubtful = (area > 0) & (size > 0) & (away > 0) & (away <= CONTESTED_PX)
        self._keep_open(part, doubtful, (rows.start, columns.start), area, mean)

    def _keep_open(
        self,
        part: NDArray[np.int32],
        doubtful: NDArray[np.bool_],
        corner: tuple[int, int],
        area: NDArray[np.int64],
        mean: NDArray[np.float64],
    ) -> None:
        doubtful[0] = False
        if not doubtful.any():
            return
        y, x = np.nonzero(doubtful[part])
        flat = (y + corner[0]) * self.shape[1] + x + corner[1]
        order = np.argsort(part[y, x], kind="stable")
        names, first = np.unique(part[y, x][order], return_index=True)
        for name, places in zip(names, np.split(flat[order], first[1:]), strict=True):
            self._open.append(_Contested(places, int(area[name]), float(mean[name])))

    def finish(self) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]:
        """Give what nobody owned a place where it is free.

        Returns
        -------
        labels
            (y, x) int32 at ``shape``.
        area
            (n + 1,) network pixels of each object; [0] is 0.
        confidence
            (n + 1,) mean probability in each object; [0] is 0.
        """
        flat = self.labels.reshape(-1)
        for one in self._open:
            free = one.places[flat[one.places] == 0]
            if len(free) > (1 - TAKEN) * len(one.places):
                flat[free] = len(self._area)
                self._area.append(one.area)
                self._confidence.append(one.confidence)
        self._open.clear()
        return self.labels, np.array(self._area), np.array(self._confidence)


def _outside(place: NDArray[np.float64], core: Span) -> NDArray[np.float64]:
    """How far places lie outside a span; 0 or less inside, the end being outside."""
    return np.maximum(core[0] - place, np.where(place < core[1], 0.0, place - core[1] + 1e-9))


def label_in_tiles(
    shape: tuple[int, int],
    network_shape: tuple[int, int],
    run: Callable[[Tile], tuple[NDArray[np.int32], NDArray[np.float32]]],
    core_px: int = 0,
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]:
    """Label an image tile by tile.

    Parameters
    ----------
    shape, network_shape
        As of `Mosaic`.
    run
        Labels and probability (y, x) of what a tile is shown.
    core_px
        As of `tiles_of`.

    Returns
    -------
    As of `Mosaic.finish`.
    """
    mosaic = Mosaic(shape, network_shape)
    for tile in tiles_of(network_shape, core_px):
        mosaic.lay(tile, *run(tile))
    return mosaic.finish()


def busiest_part(pixels: NDArray[Any], side: float) -> NDArray[Any]:
    """The part of an image that has most light above the ground, as a view.

    Parameters
    ----------
    pixels
        (y, x) uint8 or uint16 camera counts.
    side
        The image is parted into a grid of parts about this wide, in its own pixels.
    """
    spans = [
        np.linspace(0, length, max(round(length / side), 1) + 1).astype(int)
        for length in pixels.shape
    ]
    parts = [
        pixels[top:bottom, left:right]
        for top, bottom in pairwise(spans[0])
        for left, right in pairwise(spans[1])
    ]
    coarse = [part[::STRIDE_PX, ::STRIDE_PX] for part in parts]
    low, high = limits_of(np.concatenate([part.ravel() for part in coarse]))
    return parts[int(np.argmax([np.clip(part, low, high).mean() for part in coarse]))]
