"""Outlines of a label image as a picture of their own, one steady colour per track or class."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray

from live.display.region import Region

COLOURS = 24
UNTRACKED = (210, 216, 222)
# bright on dark, and apart for most people who tell red from green badly
CLASS_COLOURS = (
    (76, 194, 255),
    (255, 214, 64),
    (255, 112, 67),
    (80, 220, 140),
    (236, 130, 210),
    (160, 140, 255),
    (190, 235, 90),
    (255, 170, 150),
)


def _palette() -> NDArray[np.uint8]:
    """(n, 4) RGBA; row 0 for what has no track or class, then ``COLOURS`` well separated bright
    hues for tracks, then those for classes."""
    rows = [(*UNTRACKED, 255)]
    for number in range(COLOURS):
        # steps of the golden ratio keep neighbours in number far apart in hue
        hue = (0.53 + number * 0.61803399) % 1.0
        light = (1.0, 0.86)[number % 2]
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.62, light)
        rows.append((round(red * 255), round(green * 255), round(blue * 255), 255))
    rows += [(*colour, 255) for colour in CLASS_COLOURS]
    return np.array(rows, np.uint8)


PALETTE = _palette()
PALETTE.setflags(write=False)


def colour_index(track_id: NDArray[np.int64]) -> NDArray[np.intp]:
    """Row of ``PALETTE`` for each track id (n,); the same id always has the same colour."""
    index = np.asarray(track_id, np.intp)
    return np.where(index > 0, 1 + (index - 1) % COLOURS, 0)


def class_colour(class_id: int) -> int:
    """Row of ``PALETTE`` for a class; row 0 for none."""
    return 0 if class_id < 0 else 1 + COLOURS + class_id % len(CLASS_COLOURS)


def colours_of(objects: NDArray[np.void], *, by_class: bool) -> NDArray[np.intp]:
    """Row of ``PALETTE`` for each object (n,) of ``OBJECT_DTYPE``."""
    if not by_class:
        return colour_index(objects["track_id"])
    number = objects["class_id"].astype(np.intp)
    return np.where(number >= 0, 1 + COLOURS + number % len(CLASS_COLOURS), 0)


def edges_of(labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels of objects that touch another label or background over a side.

    ``labels`` is (y, x). Both sides of a border between two objects count; pixels at the rim of the
    picture do not, unless a neighbour differs.
    """
    edges = np.zeros(labels.shape, np.bool_)
    differs = labels[1:] != labels[:-1]
    edges[1:] |= differs
    edges[:-1] |= differs
    differs = labels[:, 1:] != labels[:, :-1]
    edges[:, 1:] |= differs
    edges[:, :-1] |= differs
    edges &= labels != 0
    return edges


def outline_rgba(
    labels: NDArray[np.int32],
    objects: NDArray[np.void],
    region: Region,
    *,
    by_class: bool = False,
) -> NDArray[np.uint8]:
    """Draw the outlines inside a region.

    Parameters
    ----------
    labels
        (y, x), 0 is background.
    objects
        (n,) of ``OBJECT_DTYPE``; its ``label`` and ``track_id`` give the colours. A label without a
        row is drawn in the colour of what has no track.
    region
        What to take of ``labels``.
    by_class
        Colour by ``class_id`` instead.

    Returns
    -------
    NDArray[np.uint8]
        (rows, columns, 4) RGBA of the taken pixels, transparent where there is no outline.
    """
    taken = np.ascontiguousarray(labels[region.slices])
    where = np.flatnonzero(edges_of(taken))
    picture = np.zeros((*taken.shape, 4), np.uint8)
    if where.size == 0:
        return picture
    values = taken.ravel()[where]
    table = np.zeros(int(values.max()) + 1, np.intp)
    rows = objects["label"]
    known = (rows > 0) & (rows < table.size)
    table[rows[known]] = colours_of(objects[known], by_class=by_class)
    picture.reshape(-1, 4)[where] = PALETTE[table[values]]
    return picture
