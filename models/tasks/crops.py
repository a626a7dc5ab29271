"""What a classifier sees of each object: a window that grows with the object, and its context.

The window is resampled to one size, so pixel size and magnification do not matter; counts are taken
against the darkness around the object and its own light, so gain and offset do not matter either.
How large and how bright an object is beside the others of its image is lost by that, and told
separately.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CROP_PX = 32
"""Side of a window as the network takes it."""
REACH = 1.8
"""Side of a window in equivalent diameters of its object..."""
ROOM = 1.15
"""...or in lengths of its bounding box, for those so long that they would not fit."""
CHANNELS = ("image", "own mask", "other objects")
CONTEXT = ("log size ratio", "log contrast ratio", "known")

_FEWEST = 3
"""Objects of an image below which what is usual there is not known."""
_DARK_SHARE = 0.2
_IMAGE_LIMITS = (-2.0, 6.0)
_CONTEXT_LIMIT = 3.0
_AT_ONCE = 128  # windows that are sampled at once: their indices stay in the cache

Counts = NDArray[Any]
F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Typical:
    """What is usual in the image that objects come from."""

    diameter_px: float
    """Median equivalent diameter."""
    mean_intensity: float
    """Median of the objects' mean counts."""


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """Windows on n objects. The arrays belong to the caller."""

    windows: F32
    """(n, 3, y, x), channels as in ``CHANNELS``. The image is 0 at the dark around the object and
    about 1 at its mean; masks are 0 or 1."""
    context: F32
    """(n, 3) as in ``CONTEXT``; all 0 where nothing is known."""

    def __len__(self) -> int:
        return len(self.windows)


def typical_of(objects: NDArray[np.void]) -> Typical | None:
    """What is usual among the objects of one image; None where they are too few to tell."""
    if len(objects) < _FEWEST:
        return None
    diameter = np.sqrt(4 / np.pi * np.median(objects["area_px"]))
    return Typical(float(diameter), float(np.median(objects["mean_intensity"])))


def cut_crops(
    pixels: Counts,
    labels: NDArray[np.int32],
    objects: NDArray[np.void],
    typical: Typical | None,
    *,
    margin: int = 0,
) -> Crops:
    """Windows around ``objects``, resampled with linear interpolation, averaged where they shrink.

    Parameters
    ----------
    pixels
        (y, x) camera counts of any number type. What lies outside is as at the border.
    labels
        (y, x) label image, 0 is background.
    objects
        (n,) of ``OBJECT_DTYPE`` with labels, places and sizes.
    typical
        From `typical_of` on all objects of the image, or None.
    margin
        Samples beyond ``CROP_PX`` on each side, for training to turn and shift windows in. What a
        window shows inside is the same with and without.
    """
    size = CROP_PX + 2 * margin
    n = len(objects)
    windows = np.zeros((n, len(CHANNELS), size, size), np.float32)
    context = np.zeros((n, len(CONTEXT)), np.float32)
    diameter = np.sqrt(4 / np.pi * objects["area_px"].astype(np.float64))
    longest = np.maximum(
        objects["bbox_y1"] - objects["bbox_y0"], objects["bbox_x1"] - objects["bbox_x0"]
    )
    step = np.maximum(REACH * diameter, ROOM * longest) / CROP_PX
    # the level whose pixels are nearest to one sample
    level = np.maximum(np.rint(np.log2(np.maximum(step, 1e-6))), 0).astype(np.intp)
    # no level is smaller than a pixel
    level = np.minimum(level, int(math.log2(max(min(pixels.shape), 1))))
    planes = _halved(pixels, int(level.max(initial=0)))
    for which in np.unique(level):
        rows = np.flatnonzero(level == which)
        for start in range(0, len(rows), _AT_ONCE):
            part = rows[start : start + _AT_ONCE]
            y, x = (
                objects[name][part, None].astype(np.float64)
                + (np.arange(size) - (size - 1) / 2) * step[part, None]
                for name in ("y_px", "x_px")
            )
            found = _label_samples(labels, y, x)
            own = found == objects["label"][part, None, None]
            windows[part, 0] = _image_samples(planes[which], y, x, 2.0**which)
            windows[part, 1] = own
            windows[part, 2] = (found > 0) & ~own
    _normalise(windows, context, typical, margin)
    if typical is not None and n:
        usual = max(typical.diameter_px, 1e-6)
        limits = -_CONTEXT_LIMIT, _CONTEXT_LIMIT
        context[:, 0] = np.clip(np.log(np.maximum(diameter, 1e-6) / usual), *limits)
        context[:, 2] = 1
    return Crops(windows, context)


def _halved(pixels: Counts, levels: int) -> list[Counts]:
    """The image, and the means of ever larger squares of pixels; a last odd row is left out."""
    planes: list[Counts] = [np.ascontiguousarray(pixels)]
    for _ in range(levels):
        last = planes[-1]
        height, width = (length // 2 * 2 for length in last.shape)
        rows = np.add(last[0:height:2], last[1:height:2], dtype=np.float32)
        planes.append((rows[:, 0:width:2] + rows[:, 1:width:2]) * np.float32(0.25))
    return planes


def _image_samples(plane: Counts, y: Counts, x: Counts, scale: float) -> F32:
    """(m, size, size) linear interpolation at rows y and columns x, (m, size) in camera pixels."""
    height, width = plane.shape
    flat = plane.reshape(-1)

    def place(at: Counts, length: int) -> tuple[NDArray[np.int32], F32]:
        here = np.clip((at + 0.5) / scale - 0.5, 0, length - 1)
        low = np.minimum(here.astype(np.int32), max(length - 2, 0))
        return low, (here - low).astype(np.float32)

    (row, down), (column, right) = place(y, height), place(x, width)
    corner = (row * width)[:, :, None] + column[:, None, :]
    below, beside = width * (height > 1), int(width > 1)
    down, right = down[:, :, None], right[:, None, :]

    def between(first: NDArray[np.int32]) -> F32:
        left = flat.take(first).astype(np.float32)
        left += (flat.take(first + beside).astype(np.float32) - left) * right
        return left

    top = between(corner)
    top += (between(corner + below) - top) * down
    return top


def _label_samples(labels: NDArray[np.int32], y: Counts, x: Counts) -> NDArray[np.int32]:
    """(m, size, size) labels under the middle of each sample; 0 outside the image."""
    height, width = labels.shape
    row, column = np.floor(y + 0.5).astype(np.int32), np.floor(x + 0.5).astype(np.int32)
    inside = ((row >= 0) & (row < height))[:, :, None] & ((column >= 0) & (column < width))[:, None]
    row, column = np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)
    under = labels.reshape(-1).take((row * width)[:, :, None] + column[:, None, :])
    under *= inside
    return np.asarray(under, dtype=np.int32)


def _normalise(windows: F32, context: F32, typical: Typical | None, margin: int) -> None:
    """Counts to 0 at the dark around and about 1 at the object's mean; contrast into the context.

    Light and noise inside the object both count as its scale, so an object that is no brighter
    than its surroundings does not blow up its noise.
    """
    if not len(windows):
        return
    middle = slice(margin, margin + CROP_PX)
    image, own = windows[:, 0, middle, middle], windows[:, 1, middle, middle]
    dark = _dark_around(image, own)
    count = np.maximum(own.sum(axis=(1, 2)), 1)
    above = (image - dark[:, None, None]) * own
    mean = dark + above.sum(axis=(1, 2)) / count
    spread = np.maximum((above * above).sum(axis=(1, 2)) / count - (mean - dark) ** 2, 0)
    scale = np.maximum(np.sqrt((mean - dark) ** 2 + spread), 1e-3)
    windows[:, 0] -= dark[:, None, None]
    windows[:, 0] /= scale[:, None, None]
    np.clip(windows[:, 0], *_IMAGE_LIMITS, out=windows[:, 0])
    if typical is not None:
        least = 0.02 * scale
        usual = np.maximum(np.abs(typical.mean_intensity - dark), least)
        ratio = np.log(np.maximum(np.abs(mean - dark), least) / usual)
        context[:, 1] = np.clip(ratio, -_CONTEXT_LIMIT, _CONTEXT_LIMIT)


def _dark_around(image: F32, own: F32) -> F32:
    """A low percentile of what is not the object, over squares of 2 x 2 samples to calm noise."""
    n = len(image)
    rows, filled = image[:, ::2] + image[:, 1::2], own[:, ::2] + own[:, 1::2]
    squares = ((rows[:, :, ::2] + rows[:, :, 1::2]) * np.float32(0.25)).reshape(n, -1)
    taken = (filled[:, :, ::2] + filled[:, :, 1::2]).reshape(n, -1) > 0
    free = np.maximum(taken.shape[1] - taken.sum(axis=1), 1)
    ordered = np.sort(np.where(taken, np.float32(np.inf), squares), axis=1)
    dark = ordered[np.arange(n), (free * _DARK_SHARE).astype(np.intp)]
    # an object that fills its window has nothing around it
    dark = np.where(np.isfinite(dark), dark, squares.min(axis=1))
    return np.asarray(dark, dtype=np.float32)
