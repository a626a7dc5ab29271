"""Does one object hold two cells? The network is asked again, with the picture turned.

A network has no reason to see a septum from the left and not from the right; one that is just
forming it sees in some of the four senses of the picture. Cells that are not about to divide are
taken for two in none of them, so one sense is enough where a division is due.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.tasks.light import STRIDE_PX, limits_of
from models.tasks.network import MAX_PIXELS, NetworkSegmenter
from models.tasks.resize import resize_labels
from models.tasks.second_look import Flip, look_again

SMALLER = 0.25
"""Least part of the object that the smaller of the two has."""
WHOLE = 0.8
"""Least part of it that both have together."""
OWN = 0.6
"""Least part of either that lies in the object: else it is a neighbour that reaches in."""
MARGIN_PX = 88
"""What is shown around an object, in network pixels; a cell's end is told by what lies beyond."""
MOST = 32
"""Objects that are asked about in one frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Seam:
    """Two cells in one object."""

    row: int
    """The object's row in the table."""
    second: NDArray[np.bool_]
    """(y, x) in the object's bounding box: pixels of the second cell."""
    rest: NDArray[np.bool_]
    """(y, x) pixels of the object that were given to neither."""
    seen: int
    """In how many looks there were two."""
    looks: int


def find_seams(
    segmenter: NetworkSegmenter,
    pixels: NDArray[Any],
    labels: NDArray[np.int32],
    objects: NDArray[np.void],
    rows: NDArray[np.intp],
) -> list[Seam]:
    """Look again, thrice, at some objects right after ``segmenter`` labelled their image.

    Parameters
    ----------
    pixels
        (y, x) uint8 or uint16 counts that were segmented; not written to.
    labels, objects
        What was found in them.
    rows
        (k,) of the objects in question; no more than `MOST` are looked at, the first ones, and
        together no more pixels than the image has, so that a look costs no more than the first.
    """
    scale = segmenter.scale
    # one normalisation for the image and its parts
    limits = limits_of(pixels[::STRIDE_PX, ::STRIDE_PX])
    seen: dict[int, list[Seam]] = {}
    for part, members in _parts(objects, rows[:MOST], pixels.shape, scale):
        for turn in range(3):
            shown = pixels[part][::-1] if turn == 2 else pixels[part]
            flip: Flip = "up-down" if turn == 1 else "left-right"
            look = look_again(segmenter, np.ascontiguousarray(shown), scale, flip, limits)
            found = look.labels[::-1] if turn == 2 else look.labels
            found = resize_labels(np.ascontiguousarray(found), shown.shape)
            for row in members:
                seam = _seam(found, labels, objects, row, part)
                if seam is not None:
                    seen.setdefault(row, []).append(seam)
    return [Seam(row, seams[0].second, seams[0].rest, len(seams), 3) for row, seams in seen.items()]


def _parts(
    objects: NDArray[np.void], rows: NDArray[np.intp], shape: tuple[int, ...], scale: float
) -> Iterator[tuple[tuple[slice, slice], list[int]]]:
    """Parts of the image to show, and the objects in each: all at once where that is less."""
    margin = int(np.ceil(MARGIN_PX / scale))
    left = shape[0] * shape[1]
    parts: list[tuple[tuple[slice, slice], list[int]]] = []
    for row in rows.tolist():
        one = objects[row]
        part = (
            slice(
                max(int(one["bbox_y0"]) - margin, 0), min(int(one["bbox_y1"]) + margin, shape[0])
            ),
            slice(
                max(int(one["bbox_x0"]) - margin, 0), min(int(one["bbox_x1"]) + margin, shape[1])
            ),
        )
        left -= (part[0].stop - part[0].start) * (part[1].stop - part[1].start)
        if left < 0:
            break
        parts.append((part, [row]))
    else:
        yield from parts
        return
    if shape[0] * shape[1] * scale**2 <= MAX_PIXELS / 4:
        yield (slice(0, shape[0]), slice(0, shape[1])), rows.tolist()
        return
    yield from parts


def _seam(
    found: NDArray[np.int32],
    labels: NDArray[np.int32],
    objects: NDArray[np.void],
    row: int,
    part: tuple[slice, slice],
) -> Seam | None:
    """What one look (y, x of ``part``) says of one object."""
    one = objects[row]
    y0, x0, y1, x1 = (int(one[name]) for name in ("bbox_y0", "bbox_x0", "bbox_y1", "bbox_x1"))
    own = labels[y0:y1, x0:x1] == one["label"]
    y, x = part[0].start, part[1].start
    here = found[y0 - y : y1 - y, x0 - x : x1 - x]
    count = np.bincount(here[own], minlength=3)
    count[0] = 0
    first, second = np.argsort(-count, kind="stable")[:2].tolist()
    area = int(own.sum())
    if count[second] < SMALLER * area or count[first] + count[second] < WHOLE * area:
        return None
    for name in (first, second):
        if count[name] < OWN * np.count_nonzero(found == name):
            return None
    return Seam(row, own & (here == second), own & (here != first) & (here != second), 1, 1)
