"""Where tracks are expected: their own habit, and what their neighbours did.

Cells in a growing colony or a drifting field move together, so links beyond doubt tell where the
doubtful ones went.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.tracking.bodies import Ints, Reals, highest, lowest, middle

DENSE = 8
"""Cells for each body, up to which neighbouring cells are added all at once."""


def sure_pairs(
    track: Ints, obj: Ints, cost: Reals, m: int, n: int, margin: float
) -> NDArray[np.bool_]:
    """Pairs that are best for both sides, any other choice of either being dearer by ``margin``."""
    best = np.full(m, np.inf)
    np.minimum.at(best, track, cost)
    best_o = np.full(n, np.inf)
    np.minimum.at(best_o, obj, cost)
    first = (cost <= best[track]) & (cost <= best_o[obj])
    rest_t, rest_o = np.full(m, np.inf), np.full(n, np.inf)
    np.minimum.at(rest_t, track[~first], cost[~first])
    np.minimum.at(rest_o, obj[~first], cost[~first])
    return first & (cost + margin < rest_t[track]) & (cost + margin < rest_o[obj])


def common_motion(
    place: Reals, moved: Reals, where: Reals, size: float, own: Ints | None = None
) -> Reals:
    """Displacement (k, 2) at ``where`` (k, 2), from those ``moved`` (n, 2) at ``place`` (n, 2).

    The mean over a neighbourhood about three cells of ``size`` wide, drawn towards the median of
    all where neighbours are few. ``own`` (n,) are the rows of ``where`` that moved themselves:
    they follow their neighbours alone.
    """
    if len(place) == 0:
        return np.zeros_like(where)
    everywhere = np.array([middle(moved[:, 0]), middle(moved[:, 1])])
    everywhere *= len(moved) / (len(moved) + 2.0)
    origin = np.minimum(lowest(place), lowest(where))
    cell = np.floor((place - origin) / size).astype(np.intp) + 1
    at = np.floor((where - origin) / size).astype(np.intp) + 1
    shape = np.maximum(highest(cell), highest(at)) + 2
    if int(shape[0]) * int(shape[1]) > 4_000_000:
        return np.broadcast_to(everywhere, where.shape).copy()
    key = cell[:, 0] * shape[1] + cell[:, 1]
    cells = int(shape[0] * shape[1])
    sums = [np.bincount(key, minlength=cells)]
    sums += [np.bincount(key, weights=moved[:, a] - everywhere[a], minlength=cells) for a in (0, 1)]
    table = np.stack(sums).reshape(3, shape[0], shape[1])
    y, x = at[:, 0], at[:, 1]
    if cells <= DENSE * len(where):
        # whole cells are added before they are looked up
        high, wide = (int(length) - 1 for length in shape)
        inner = sum(w * table[:, 1 + v : high + v, 1 + u : wide + u] for v, u, w in _AROUND)
        total = np.asarray(inner)[:, y - 1, x - 1]
    else:
        total = np.asarray(sum(w * table[:, y + v, x + u] for v, u, w in _AROUND))
    count, dy_sum, dx_sum = total.astype(np.float64)
    if own is not None:
        count[own] -= 1.0
        dy_sum[own] -= moved[:, 0] - everywhere[0]
        dx_sum[own] -= moved[:, 1] - everywhere[1]
    local = np.stack([dy_sum, dx_sum], axis=1) / (count + 1.0)[:, None]
    return np.asarray(everywhere + local, dtype=np.float64)


_AROUND = tuple((dy, dx, 1.0 / (1 + abs(dy) + abs(dx))) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
