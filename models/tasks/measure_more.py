"""Measurements that a pipeline asks for: outline, intensity statistics, texture, neighbours.

Everything is counted over the whole image at once; what concerns outlines looks at border pixels
alone. Perimeter, standard deviation and minimum are those of ``skimage.measure.regionprops``.
Roughness is, for pixels that know nothing of each other, their standard deviation, and for a smooth
object less: grain, whatever the brightness does over the whole object.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.tasks.measure import _runs

_AROUND: Final = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
_PER_CELL: Final = 2.0
"""Objects in a cell of the grid that the nearest one is looked for in."""


@dataclass(frozen=True, slots=True)
class Outline:
    """Pixels of objects with a side on something else; the image is padded by one pixel."""

    border: NDArray[np.int32]
    """(y + 2, x + 2) label of the border pixels, 0 elsewhere."""
    at: NDArray[np.intp]
    """(k,) their places in it, flat."""
    label: NDArray[np.int32]
    """(k,)"""


def measure_more(
    objects: NDArray[np.void],
    labels: NDArray[np.int32],
    pixels: NDArray[Any],
    *,
    texture: bool = True,
    neighbours: bool = True,
) -> None:
    """Write the columns `models.result.MORE_COLUMNS` into the rows of an object table.

    Parameters
    ----------
    objects
        (n,) of ``OBJECT_DTYPE`` in order of label, as `models.tasks.measure.measure` gives it.
    labels
        (y, x), 0 is background, objects count from 1 without gaps.
    pixels
        (y, x) raw camera counts.
    texture
        Perimeter, minimum, standard deviation and roughness.
    neighbours
        How many touch, and how far the nearest is.
    """
    n = len(objects)
    if n == 0 or not (texture or neighbours):
        return
    outline = outline_of(labels)
    if texture:
        objects["perimeter_px"] = perimeters(outline, n)
        _spread(objects, labels, pixels)
    if neighbours:
        objects["neighbours"] = touching(outline, n)
        place = np.stack([objects["y_px"], objects["x_px"]], axis=1).astype(np.float64)
        objects["nearest_px"] = nearest(place)


def channel_intensities(
    objects: NDArray[np.void], labels: NDArray[np.int32], channel: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and highest counts (n,) of objects in another channel (y, x) of the same field."""
    n = len(objects)
    inside = np.flatnonzero(labels)
    own, values = labels.ravel()[inside], channel.ravel()[inside]
    total = np.bincount(own, values, minlength=n + 1)[1:]
    most = np.zeros(n + 1, dtype=channel.dtype)
    np.maximum.at(most, own, values)
    return total / objects["area_px"], most[1:].astype(np.float64)


def outline_of(labels: NDArray[np.int32]) -> Outline:
    """Border pixels: those with one of four neighbours, or the image's end, that is not theirs."""
    wide = np.pad(labels, 1)
    inner = wide[1:-1, 1:-1]
    same = inner == wide[:-2, 1:-1]
    for other in (wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:]):
        same &= inner == other
    at = np.flatnonzero((inner > 0) & ~same)
    y, x = np.divmod(at, labels.shape[1])
    at = (y + 1) * wide.shape[1] + x + 1
    border = np.zeros_like(wide)
    label = wide.ravel()[at]
    border.ravel()[at] = label
    return Outline(border, at, label)


def perimeters(outline: Outline, n: int) -> NDArray[np.float64]:
    """(n,) lengths of outlines, after Benkrid and Crookes (2000), as scikit-image has it.

    Each border pixel counts by how many border pixels lie beside it and across its corners.
    """
    flat, width = outline.border.ravel(), outline.border.shape[1]
    beside = np.zeros(len(outline.at), dtype=np.intp)
    corner = np.zeros(len(outline.at), dtype=np.intp)
    for dy, dx in _AROUND:
        count = corner if dy and dx else beside
        count += flat[outline.at + dy * width + dx] == outline.label
    weight = np.zeros(50)
    weight[[5, 7, 15, 17, 25, 27]] = 1.0
    weight[[21, 33]] = math.sqrt(2)
    weight[[13, 23]] = (1 + math.sqrt(2)) / 2
    length = weight[1 + 2 * beside + 10 * corner]
    return np.asarray(np.bincount(outline.label, length, minlength=n + 1)[1:])


def _spread(objects: NDArray[np.void], labels: NDArray[np.int32], pixels: NDArray[Any]) -> None:
    """Minimum, standard deviation and roughness, from the stretches of one object along x."""
    n = len(objects)
    runs = _runs(labels)
    of, length = runs.label, runs.length
    # the pixels of all objects one after the other, and where each stretch begins among them
    inside = labels.ravel() > 0
    counts = pixels.ravel()[inside]
    start = np.cumsum(length) - length

    def total(values: NDArray[Any]) -> NDArray[np.float64]:
        sums = np.add.reduceat(values, start, dtype=np.float64)
        return np.asarray(np.bincount(of, sums, minlength=n + 1)[1:])

    least = np.full(n + 1, np.iinfo(pixels.dtype).max, dtype=pixels.dtype)
    np.minimum.at(least, of, np.minimum.reduceat(counts, start))
    objects["min_intensity"] = least[1:]
    # about a mean that is near: squares of the differences lose no digits
    off = counts - np.repeat(objects["mean_intensity"][of - 1], length)
    area = objects["area_px"].astype(np.float64)
    objects["std_intensity"] = np.sqrt(
        np.maximum(total(off * off) / area - (total(off) / area) ** 2, 0)
    )

    step = np.diff(counts.astype(np.float32), prepend=np.float32(0))
    step[start] = 0
    squares, pairs = total(step * step), area - np.bincount(of, minlength=n + 1)[1:]
    above = np.zeros(labels.shape, bool)
    np.equal(labels[1:], labels[:-1], out=above[1:])
    lower = above.ravel()[inside]
    upper = np.zeros(labels.shape, pixels.dtype)
    upper[1:] = pixels[:-1]
    down = np.where(lower, counts.astype(np.float32) - upper.ravel()[inside], np.float32(0))
    squares += total(down * down)
    pairs += total(lower)
    objects["roughness"] = np.sqrt(squares / np.maximum(2 * pairs, 1))


def touching(outline: Outline, n: int) -> NDArray[np.intp]:
    """(n,) how many other objects each has a pixel beside, corners included."""
    flat, width = outline.border.ravel(), outline.border.shape[1]
    keys = []
    for dy, dx in _AROUND:
        # what lies across a side of a border pixel, or its corner, is a border pixel too
        other = flat[outline.at + dy * width + dx]
        meets = (other > 0) & (other != outline.label)
        keys.append(outline.label[meets].astype(np.int64) * (n + 1) + other[meets])
    pairs = np.unique(np.concatenate(keys))
    return np.bincount(pairs // (n + 1), minlength=n + 1)[1:]


def nearest(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) distance of each place (n, 2) to the nearest other one, by a grid."""
    n = len(place)
    if n < 2:
        return np.full(n, np.inf)
    extent = np.maximum(np.ptp(place, axis=0), 1.0)
    size = math.sqrt(float(extent[0] * extent[1]) * _PER_CELL / n)
    cell = np.floor((place - place.min(axis=0)) / size).astype(np.int64) + 1
    columns = int(cell[:, 1].max()) + 2
    key = cell[:, 0] * columns + cell[:, 1]
    order = np.argsort(key, kind="stable")
    ranked = key[order]
    best = np.full(n, np.inf)
    for dy in (-1, 0, 1):
        # three cells side by side are one stretch of the order
        first = np.searchsorted(ranked, key + dy * columns - 1, "left")
        count = np.searchsorted(ranked, key + dy * columns + 1, "right") - first
        for step in range(int(min(count.max(initial=0), 64))):
            rows = np.flatnonzero(count > step)
            other = order[first[rows] + step]
            apart = np.hypot(*(place[rows] - place[other]).T)
            apart[other == rows] = np.inf
            best[rows] = np.minimum(best[rows], apart)
    # beyond the cells around nothing was looked at, nor in a crowd of more than 64
    for row in np.flatnonzero((best > size) | (best == np.inf)).tolist():
        apart = np.hypot(*(place - place[row]).T)
        apart[row] = np.inf
        best[row] = apart.min()
    return best
