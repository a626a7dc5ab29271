"""Where tracks are expected: their own habit, and what their neighbours did.

Cells in a growing colony or a drifting field move together, so links beyond doubt tell where the
doubtful ones went.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.tracking.bodies import Bodies, Ints, Reals
from models.tracking.divisions import Links
from models.tracking.state import Memory


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


def common_motion(place: Reals, moved: Reals, where: Reals, size: float) -> Reals:
    """Displacement (k, 2) at ``where`` (k, 2), from those ``moved`` (n, 2) at ``place`` (n, 2).

    The mean over a neighbourhood about three cells of ``size`` wide, drawn towards the median of
    all where neighbours are few.
    """
    if len(place) == 0:
        return np.zeros_like(where)
    everywhere = np.median(moved, axis=0) * (len(moved) / (len(moved) + 2.0))
    origin = np.minimum(place.min(axis=0), where.min(axis=0))
    cell = np.floor((place - origin) / size).astype(np.intp) + 1
    at = np.floor((where - origin) / size).astype(np.intp) + 1
    shape = np.maximum(cell.max(axis=0), at.max(axis=0)) + 2
    if int(shape[0]) * int(shape[1]) > 4_000_000:
        return np.broadcast_to(everywhere, where.shape).copy()
    key = cell[:, 0] * shape[1] + cell[:, 1]
    cells = int(shape[0] * shape[1])
    sums = [np.bincount(key, minlength=cells)]
    sums += [np.bincount(key, weights=moved[:, a] - everywhere[a], minlength=cells) for a in (0, 1)]
    table = np.stack(sums).reshape(3, shape[0], shape[1])
    near = at[:, 0], at[:, 1]
    total = sum(weight * table[:, near[0] + dy, near[1] + dx] for dy, dx, weight in _AROUND)
    count, dy_sum, dx_sum = np.asarray(total)
    local = np.stack([dy_sum, dx_sum], axis=1) / (count + 1.0)[:, None]
    return np.asarray(everywhere + local, dtype=np.float64)


PRIOR_TRACKS = 300.0
"""The rates before a frame weigh as much as a frame of so many tracks."""

_AROUND = tuple((dy, dx, 1.0 / (1 + abs(dy) + abs(dx))) for dy in (-1, 0, 1) for dx in (-1, 0, 1))


def learn(
    memory: Memory,
    links: Links,
    expected: Bodies,
    found: Bodies,
    last: Reals,
    speed: Reals,
    steps: Reals,
    waited: Reals,
    missed: NDArray[np.int32],
    inner: tuple[NDArray[np.bool_], NDArray[np.bool_]],
) -> None:
    """Update what is usual from this frame's links; medians, so that a wrong one counts little.

    ``inner`` tells which tracks and which objects lie where ending and appearing means something:
    in view, off the border, and on ground that the frame before showed too.
    """
    rows = np.flatnonzero((links.taken >= 0) & (links.second < 0))
    _learn_rates(memory, links, missed, *inner)
    if len(rows) == 0:
        return
    to = links.taken[rows]
    rate = 0.3 * len(rows) / (len(rows) + 10.0)
    loose = np.sqrt(np.maximum(steps[rows], 0.25))
    off = np.hypot(*(found.place[to] - expected.place[rows]).T) / expected.radius[rows] / loose
    # 1.1774: median of the length of a vector of two unit Gaussians
    memory.wander += rate * (float(np.clip(np.median(off) / 1.1774, 0.1, 1.0)) - memory.wander)
    change = np.log(found.area[to] / expected.area[rows]) / steps[rows]
    middle = float(np.clip(np.median(change), -0.3, 0.3))
    varies = 1.4826 * float(np.median(np.abs(change - middle) * loose))
    memory.growth += rate * (middle - memory.growth)
    memory.area_sd += rate * (float(np.clip(varies, 0.12, 0.5)) - memory.area_sd)
    memory.revisit += rate * (float(np.median(waited[rows])) - memory.revisit)
    before, now = speed[rows] * steps[rows, None], found.place[to] - last[rows]
    power = float((before * before).sum())
    if power > 0:
        repeated = float(np.clip((before * now).sum() / power, 0.0, 1.0))
        memory.persistence += rate * (repeated - memory.persistence)


def _learn_rates(
    memory: Memory,
    links: Links,
    missed: NDArray[np.int32],
    inner_tracks: NDArray[np.bool_],
    inner_found: NDArray[np.bool_],
) -> None:
    """How often tracks end, appear and divide; counts of before stand for many tracks."""
    tracks = int(inner_tracks.sum())
    if tracks == 0:
        return
    divided = int((inner_tracks & (links.second >= 0)).sum())
    ended = int((inner_tracks & (missed == 0) & (links.taken < 0)).sum())
    back = int((inner_tracks & (missed > 0) & (links.taken >= 0)).sum())
    fresh = inner_found.copy()
    for taken in (links.taken, links.second):
        fresh[taken[taken >= 0]] = False
    born = int(fresh.sum())
    rate = tracks / (tracks + PRIOR_TRACKS)

    def moved(old: float, now: int, low: float, high: float) -> float:
        return float(np.clip(old + rate * (now / tracks - old), low, high))

    memory.divisions = moved(memory.divisions, divided, 0.01, 0.15)
    memory.ends = moved(memory.ends, ended, 0.01, 0.15)
    memory.misses = moved(memory.misses, back, 0.001, 0.15)
    memory.births = moved(memory.births, born, 0.002, 0.05)
