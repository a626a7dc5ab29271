"""Objects as the tracker sees them: place, spread, area and a few probe points inside.

A body is a Gaussian with the second moments of the object, so that distance, size, shape and
direction compare in one formula, for whole objects and for two daughters taken together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

PROBES = 16
AWAY = -1e6
"""Offset of a probe that is not there: outside every image."""
_FAR_SIDE = 1 << 12
_LARGE = 1 << 31
"""Pixels that 32 bits can count."""

Reals = NDArray[np.float64]
Ints = NDArray[np.intp]


def middle(values: Reals) -> float:
    """Upper median of one or more values; a tenth of the time of numpy's."""
    at = len(values) // 2
    return float(np.partition(values, at)[at])


def lowest(points: NDArray[Any]) -> NDArray[Any]:
    """Least of each column of (n, 2); a fifth of the time of numpy's along an axis."""
    return np.array([points[:, 0].min(), points[:, 1].min()])


def highest(points: NDArray[Any]) -> NDArray[Any]:
    """Largest of each column of (n, 2)."""
    return np.array([points[:, 0].max(), points[:, 1].max()])


@dataclass(slots=True)
class Bodies:
    """Some objects or expected objects, in pixels of one image; arrays of equal length n."""

    place: Reals
    """(n, 2) y, x."""
    spread: Reals
    """(n, 3) second central moments yy, xx, xy."""
    area: Reals
    """(n,)"""
    shaped: NDArray[np.bool_]
    """(n,) whether ``spread`` was measured; else it is that of a disc of the area."""
    sized: NDArray[np.bool_]
    """(n,) whether ``area`` was measured; else it is the usual one."""
    _reach: Reals | None = field(default=None, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        """How many."""
        return len(self.area)

    def take(self, rows: Ints) -> Bodies:
        """Some of them, a copy."""
        return Bodies(
            self.place[rows],
            self.spread[rows],
            self.area[rows],
            self.shaped[rows],
            self.sized[rows],
        )

    @property
    def radius(self) -> Reals:
        """(n,) of a disc of the same area."""
        return np.sqrt(self.area / np.pi)

    @property
    def reach(self) -> Reals:
        """(n,) half the longest extent, two standard deviations; worked out once."""
        if self._reach is None:
            yy, xx, xy = self.spread.T
            half = (yy - xx) / 2
            self._reach = 2 * np.sqrt((yy + xx) / 2 + np.sqrt(half * half + xy * xy))
        return self._reach


def bodies_from_objects(objects: NDArray[np.void]) -> Bodies:
    """Bodies of an object table; points, whose area is 0, get the usual area of the others."""
    area = objects["area_px"].astype(np.float64)
    sized = area > 0
    if not sized.all():
        area[~sized] = np.median(area[sized]) if sized.any() else _usual_area(objects)
    place = np.stack([objects["y_px"], objects["x_px"]], axis=1).astype(np.float64)
    shaped = objects["major_px"] > 0
    # a line of pixels has no width of its own; a pixel has: 1/12 is its variance
    large = (objects["major_px"].astype(np.float64) / 4) ** 2 + 1 / 12
    small = (objects["minor_px"].astype(np.float64) / 4) ** 2 + 1 / 12
    angle = objects["orientation_rad"].astype(np.float64)
    cos, sin = np.cos(angle), np.sin(angle)
    spread = np.stack(
        [
            large * cos**2 + small * sin**2,
            large * sin**2 + small * cos**2,
            (large - small) * cos * sin,
        ],
        axis=1,
    )
    disc = area / (4 * np.pi)
    round_ = np.stack([disc, disc, np.zeros_like(disc)], axis=1)
    return Bodies(place, np.where(shaped[:, None], spread, round_), area, shaped, sized)


def _usual_area(objects: NDArray[np.void]) -> float:
    """Area that one of so many points has to itself, where no area is known at all."""
    if len(objects) < 2:
        return 100.0
    extent = (np.ptp(objects["y_px"]) + 1.0) * (np.ptp(objects["x_px"]) + 1.0)
    return max(float(extent) / len(objects) / 2, 1.0)


def as_sisters(bodies: Bodies, first: Ints, second: Ints) -> tuple[Reals, Reals]:
    """Areas (n,) of pairs: where only a part of one is known, both are as large as the larger."""
    a, b = bodies.area[first], bodies.area[second]
    known = bodies.sized[first] & bodies.sized[second]
    larger = np.maximum(a, b)
    return np.where(known, a, larger), np.where(known, b, larger)


def together(bodies: Bodies, first: Ints, second: Ints) -> Bodies:
    """Pairs of bodies taken as one: the place, spread and area of their union."""
    a, b = as_sisters(bodies, first, second)
    area = a + b
    part = (a / area)[:, None]
    apart = bodies.place[second] - bodies.place[first]
    between = np.stack([apart[:, 0] ** 2, apart[:, 1] ** 2, apart[:, 0] * apart[:, 1]], axis=1)
    spread = (
        part * bodies.spread[first]
        + (1 - part) * bodies.spread[second]
        + part * (1 - part) * between
    )
    place = part * bodies.place[first] + (1 - part) * bodies.place[second]
    return Bodies(
        place,
        spread,
        area,
        bodies.shaped[first] & bodies.shaped[second],
        bodies.sized[first] & bodies.sized[second],
    )


def _disc_points(count: int) -> Reals:
    """(count, 2) points spread evenly over the unit disc (Vogel's sunflower)."""
    k = np.arange(count) + 0.5
    angle = k * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(k / count)
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)


_DISC = (2 * _disc_points(PROBES)).astype(np.float32)
"""Points of the disc of two standard deviations."""


def probes_of(
    bodies: Bodies, labels: NDArray[np.integer[Any]] | None, values: NDArray[np.integer[Any]]
) -> NDArray[np.float32]:
    """Offsets (n, PROBES, 2) of points inside each object; ``AWAY`` where one fell outside.

    ``values`` (n,) are the objects' values in ``labels``. Without a label image all are away. A
    few points stand for a mask: their cost and memory do not grow with the size of the image.
    """
    if labels is None or len(bodies) == 0:
        return np.full((len(bodies), PROBES, 2), AWAY, dtype=np.float32)
    yy, xx, xy = bodies.spread.T
    # lower triangular root of the moments: takes the unit disc to the ellipse of two deviations
    a = np.sqrt(yy)
    b = xy / a
    c = np.sqrt(np.maximum(xx - b * b, 1e-9))
    a, b, c = (root.astype(np.float32)[:, None] for root in (a, b, c))
    offset = np.empty((len(bodies), PROBES, 2), dtype=np.float32)
    offset[:, :, 0] = a * _DISC[:, 0]
    offset[:, :, 1] = b * _DISC[:, 0] + c * _DISC[:, 1]
    place = bodies.place.astype(np.float32)
    inside = values_at(labels, place[:, None, :] + offset) == values[:, None]
    offset[~inside] = AWAY
    return offset


def values_at(labels: NDArray[np.integer[Any]], points: NDArray[Any]) -> NDArray[np.integer[Any]]:
    """Values of a label image at finite points (..., 2) y, x; 0 outside it."""
    height, width = labels.shape
    # rounding by truncation of positive numbers: a third of the cost of floor
    row, column = (
        (points[..., axis] + (_FAR_SIDE + 0.5)).astype(np.int32) - _FAR_SIDE for axis in (0, 1)
    )
    # seen as unsigned, what lies before the first row lies beyond the last one
    inside = row.view(np.uint32) < height
    inside &= column.view(np.uint32) < width
    flat = row if labels.size <= _LARGE else row.astype(np.intp)
    flat *= width
    flat += column
    flat *= inside
    values = labels.ravel().take(flat)
    values *= inside
    return np.asarray(values)


def true_in_rows(mask: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """How many of the ``PROBES`` columns of each row (n, PROBES) are true.

    Eight truth values are the bytes of one number, and multiplying adds all of them up in its
    highest byte: a third of the time of numpy's count along an axis.
    """
    eights = np.ascontiguousarray(mask).view(np.uint64)
    total = eights[:, 0].copy()
    for column in range(1, eights.shape[1]):
        total += eights[:, column]
    return np.asarray((total * _ONES) >> _HIGHEST)


_ONES = np.uint64(0x0101010101010101)
_HIGHEST = np.uint64(56)
