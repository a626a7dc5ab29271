"""Parting touching objects along the valleys of a landscape, with no queue and no Python per pixel.

Every pixel climbs to its highest neighbour; pointer doubling takes all of them to their summit in
a few passes. Summits whose saddle to a higher one is shallow are then merged, shallowest first:
the dynamics of Grimaud (Proc SPIE 1769, 1992), by which a summit is real when one must go down far
to leave it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STEPS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


def part(height: NDArray[np.float32], mask: NDArray[np.bool_], depth: float) -> NDArray[np.int32]:
    """Label image of the hills of ``height`` inside ``mask``.

    Parameters
    ----------
    height
        (y, x) landscape, such as the distance to the background.
    mask
        (y, x) where there are objects.
    depth
        Hills whose saddle lies less than this below the lower summit are one hill.

    Returns
    -------
    (y, x) int32, 0 outside the mask, hills from 1 without gaps, in raster order of their summits.
    """

    def shallow(hills: Hills, lower: int, _: int, saddle: float) -> bool:
        return hills.top[lower] - saddle < depth

    return _parted(height, mask, shallow)


def part_rods(
    height: NDArray[np.float32], mask: NDArray[np.bool_], along: float, across: float, wider: float
) -> NDArray[np.int32]:
    """Label image of the rods of ``height`` inside ``mask``.

    A rod is often brighter here and there along its length, and rods lie side by side with hardly
    a valley between them. So two hills are one rod when the saddle between them is higher than
    ``along`` times the lower summit, if together they are no wider than the wider of them, and
    higher than ``across`` times it if they are ``wider`` times as wide or more; in between in
    between.

    Parameters and result as for `part`.
    """

    def one_rod(hills: Hills, lower: int, other: int, saddle: float) -> bool:
        both = hills.width_of_union(lower, other)
        ratio = both / max(hills.width(lower), hills.width(other))
        share = min(max((ratio - 1) / (wider - 1), 0.0), 1.0)
        return saddle >= (along + (across - along) * share) * hills.top[lower]

    return _parted(height, mask, one_rod)


@dataclass(slots=True)
class Hills:
    """Hills as they merge: height of the summit, and moments of the ground they cover."""

    top: list[float]
    moments: NDArray[np.float64]
    """(n, 6): pixels, and sums of y, x, yy, xx, xy."""

    def width(self, hill: int) -> float:
        """Minor axis of the ellipse with the same moments, pixels."""
        return _minor(self.moments[hill])

    def width_of_union(self, one: int, other: int) -> float:
        """The same of two hills together."""
        return _minor(self.moments[one] + self.moments[other])

    def join(self, lower: int, higher: int) -> None:
        """Add the ground of the lower hill to the higher one."""
        self.moments[higher] += self.moments[lower]


Merge = Callable[[Hills, int, int, float], bool]


def _minor(moments: NDArray[np.float64]) -> float:
    n, y, x, yy, xx, xy = moments.tolist()
    # 1/12: the variance of one pixel, so that a line has a width
    vy, vx, c = (
        yy / n - (y / n) ** 2 + 1 / 12,
        xx / n - (x / n) ** 2 + 1 / 12,
        xy / n - y * x / n**2,
    )
    return 4 * math.sqrt(max((vy + vx) / 2 - math.hypot((vy - vx) / 2, c), 1e-6))


def _parted(
    height: NDArray[np.float32], mask: NDArray[np.bool_], merge: Merge
) -> NDArray[np.int32]:
    out = np.zeros(mask.shape, dtype=np.int32)
    inside = np.flatnonzero(np.pad(mask, 1))
    if inside.size == 0:
        return out
    width = mask.shape[1] + 2
    place = np.full((mask.shape[0] + 2) * width, -1, dtype=np.int32)
    place[inside] = np.arange(inside.size, dtype=np.int32)
    level = height[mask]
    # index of each of 8 neighbours among the pixels inside, -1 where there is background
    near = np.stack([place[inside + dy * width + dx] for dy, dx in _STEPS])
    summit = _climb(level, near)
    tops, hill = np.unique(summit, return_inverse=True)
    if len(tops) > 1:
        y, x = (part.astype(np.float64) for part in np.divmod(inside, width))
        sums = [np.bincount(hill, weights=w) for w in (y, x, y * y, x * x, x * y)]
        moments = np.stack([np.bincount(hill).astype(np.float64), *sums], axis=1)
        hill = _merge(level, near, hill, Hills(level[tops].tolist(), moments), merge)
    out[mask] = hill + 1
    return out


def _climb(level: NDArray[np.float32], near: NDArray[np.int32]) -> NDArray[np.int32]:
    """For each pixel the index of the summit that the steepest way up leads to."""
    own = np.arange(len(level), dtype=np.int32)
    best, up = level.copy(), own.copy()
    for neighbour in near:
        # on a plateau the lower index wins, so that a flat top is one summit, not many
        other = np.where(neighbour >= 0, level[neighbour], -np.inf)
        better = (other > best) | ((other == best) & (neighbour < up))
        up = np.where(better, neighbour, up)
        best = np.where(better, other, best)
    while True:
        further = up[up]
        if np.array_equal(further, up):
            return up
        up = further


def _merge(
    level: NDArray[np.float32],
    near: NDArray[np.int32],
    hill: NDArray[np.intp],
    hills: Hills,
    merge: Merge,
) -> NDArray[np.intp]:
    """Hill numbers after hills that are one have been joined, from 0 without gaps."""
    count = len(hills.top)
    low, high, saddle = _saddles(level, near, hill, count)
    parent = list(range(count))

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = parent[parent[k]]
            k = parent[k]
        return k

    # highest saddle first: that is the order in which falling water parts the hills
    for k in np.argsort(-saddle, kind="stable").tolist():
        a, b = root(int(low[k])), root(int(high[k]))
        if a == b:
            continue
        if (hills.top[a], -a) < (hills.top[b], -b):
            a, b = b, a
        if merge(hills, b, a, float(saddle[k])):
            parent[b] = a
            hills.join(b, a)
    _, number = np.unique([root(k) for k in range(count)], return_inverse=True)
    return np.asarray(number[hill])


def _saddles(
    level: NDArray[np.float32], near: NDArray[np.int32], hill: NDArray[np.intp], count: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Pairs of neighbouring hills and the highest pass between them."""
    keys, passes = [], []
    for neighbour in near[4:]:  # the other four directions see the same pairs
        pixel = np.flatnonzero(neighbour >= 0)
        a, b = hill[pixel], hill[neighbour[pixel]]
        cross = a != b
        pixel, a, b = pixel[cross], a[cross], b[cross]
        keys.append(np.minimum(a, b) * count + np.maximum(a, b))
        passes.append(np.minimum(level[pixel], level[neighbour[pixel]]))
    key, height = np.concatenate(keys), np.concatenate(passes)
    pairs, at = np.unique(key, return_inverse=True)
    saddle = np.full(len(pairs), -np.inf, dtype=np.float32)
    np.maximum.at(saddle, at, height)
    return pairs // count, pairs % count, saddle
