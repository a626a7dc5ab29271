"""Parting touching objects along the valleys of a landscape, with no queue and no Python per pixel.

Every pixel climbs to its highest neighbour; pointer doubling takes all of them to their summit in
a few passes. Summits whose saddle to a higher one is shallow are then merged, shallowest first:
the dynamics of Grimaud (Proc SPIE 1769, 1992), by which a summit is real when one must go down far
to leave it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STEPS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


def part(
    height: NDArray[np.float32], mask: NDArray[np.bool_], depth: NDArray[np.float32] | float
) -> NDArray[np.int32]:
    """Label image of the hills of ``height`` inside ``mask``.

    Parameters
    ----------
    height
        (y, x) landscape: distance to the background, or brightness.
    mask
        (y, x) where there are objects.
    depth
        Hills whose saddle lies less than this below the lower summit are one hill. A number, or a
        value for each pixel, of which the one at the lower summit counts.

    Returns
    -------
    (y, x) int32, 0 outside the mask, hills from 1 without gaps, in raster order of their summits.
    """
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
        allowed = np.full(len(level), depth) if np.isscalar(depth) else np.asarray(depth)[mask]
        hill = _merge(level, near, hill, level[tops], allowed[tops])
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
    tops: NDArray[np.float32],
    allowed: NDArray[np.float32],
) -> NDArray[np.intp]:
    """Hill numbers after the shallow ones went into their neighbours, from 0 without gaps."""
    low, high, saddle = _saddles(level, near, hill, len(tops))
    parent = np.arange(len(tops))

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = parent[parent[k]]
            k = int(parent[k])
        return k

    # highest saddle first: that is the order in which falling water parts the hills
    for k in np.argsort(-saddle, kind="stable"):
        a, b = root(int(low[k])), root(int(high[k]))
        if a == b:
            continue
        if (tops[a], -a) < (tops[b], -b):
            a, b = b, a
        if tops[b] - saddle[k] < allowed[b]:
            parent[b] = a
    roots = np.array([root(k) for k in range(len(tops))])
    _, number = np.unique(roots, return_inverse=True)
    return number[hill]


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
