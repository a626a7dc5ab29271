"""What may have become of each track, with its price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.tracking.bodies import Bodies, Ints, Reals, true_in_rows, values_at
from models.tracking.costs import Habits, price
from models.tracking.divisions import CANDIDATES, pairs_of_daughters
from models.tracking.joint import Choices
from models.tracking.motion import sure_pairs
from models.tracking.tracks import Tracked

NEW_GROUND = 0.3
"""Objects from nowhere where the stage has moved to: nearly all of them are new to us."""
BEYOND_DOUBT = 9.0
"""How much dearer every other choice of both must be for a link that nothing is weighed against."""
FAR_OFF = 1e8


@dataclass(frozen=True, slots=True)
class Scene:
    """The objects of one frame."""

    found: Bodies
    values: NDArray[np.integer[Any]]
    """(n,) their values in ``labels``."""
    labels: NDArray[np.integer[Any]] | None
    """(y, x) label image, None where there are only points."""
    at_border: NDArray[np.bool_]
    """(n,)"""
    on_new_ground: NDArray[np.bool_]
    """(n,) where the frame before did not look."""
    unseen: Reals
    """(n,) usual intervals since it was last looked at there; inf for never."""

    def birth(self, habits: Habits) -> Reals:
        """Price (n,) of an object from nowhere."""
        births = np.where(self.at_border, habits.edge_births, habits.births)
        # the longer nobody looked, the more may have come; where nobody ever did, nearly all did
        come = np.minimum(births * np.maximum(self.unseen, 1.0), NEW_GROUND)
        return -np.log(np.where(self.on_new_ground, come, births))


def priced(
    track: Ints, obj: Ints, tracked: Tracked, scene: Scene, habits: Habits
) -> tuple[Reals | None, Reals]:
    """Part of the track's probes in the object, and price, of each candidate pair."""
    cover = _cover(tracked, scene, track, obj)
    cost = price(
        tracked.expected.take(track), scene.found.take(obj), cover, tracked.steps[track], habits
    )
    cost += (tracked.again(habits) - np.log(tracked.fates.goes_on))[track]
    return cover, cost


def choices_of(
    track: Ints,
    obj: Ints,
    cover: Reals | None,
    cost: Reals,
    tracked: Tracked,
    scene: Scene,
    habits: Habits,
    divisions: bool,
) -> Choices:
    """All that is worth a thought: what is dearer than doing without is left out."""
    m, n = len(tracked.expected), len(scene.found)
    beyond = sure_pairs(track, obj, cost, m, n, BEYOND_DOUBT)
    owner = np.full(n, -1, dtype=np.intp)
    owner[obj[beyond]] = track[beyond]
    open_ = np.flatnonzero((owner[obj] < 0) | beyond)
    keep, slot = _nearest(track[open_], obj[open_], tracked.expected, scene.found)
    keep = open_[keep]
    track, obj, cost = track[keep], obj[keep], cost[keep]
    cover = None if cover is None else cover[keep]
    again, birth = tracked.again(habits), scene.birth(habits)
    end = -np.log(1 - np.exp(-again) * (1 - tracked.fates.ends))
    table = Choices(
        np.full((m, CANDIDATES), -1, dtype=np.intp),
        np.full((m, CANDIDATES), np.inf),
        np.full((m, CANDIDATES, CANDIDATES), np.inf),
        end,
        np.zeros((m, CANDIDATES), dtype=bool),
        np.zeros(m, dtype=bool),
    )
    table.obj[track, slot] = obj
    good = cost < end[track] + birth[obj]
    table.one[track[good], slot[good]] = cost[good]
    table.usable[track, slot] = good
    if not divisions or len(track) == 0:
        return table
    a, b, both = pairs_of_daughters(
        track, obj, cover, tracked.expected, scene.found, tracked.steps, habits
    )
    mother = track[a]
    both += (again - np.log(tracked.fates.divides))[mother]
    # a pair that is dearer than one of the two and a newcomer is never taken
    limit = np.minimum(cost[a] + birth[obj[b]], cost[b] + birth[obj[a]])
    limit = np.minimum(limit, end[mother] + birth[obj[a]] + birth[obj[b]])
    good = both < limit
    mother, a, b, both = mother[good], slot[a[good]], slot[b[good]], both[good]
    table.two[mother, a, b] = both
    table.two[mother, b, a] = both
    table.usable[mother, a] = table.usable[mother, b] = True
    table.splits[mother] = True
    return table


def _nearest(track: Ints, obj: Ints, expected: Bodies, found: Bodies) -> tuple[Ints, Ints]:
    """The nearest objects of each track, seen from its own shape: rows of pairs, and their rank."""
    count = np.bincount(track, minlength=len(expected))
    start = np.cumsum(count) - count
    if count.max(initial=0) <= CANDIDATES:
        return np.arange(len(track)), np.arange(len(track)) - start[track]
    yy, xx, xy = (expected.spread + expected.area[:, None] * (0.1, 0.1, 0.0))[track].T
    dy, dx = (found.place[obj] - expected.place[track]).T
    apart = (dy * dy * xx - 2 * dy * dx * xy + dx * dx * yy) / (yy * xx - xy * xy)
    # one sort by track, then by distance, which the division keeps below the next whole number
    order = np.argsort(track + apart / (2 * apart.max() + 1.0))
    slot = np.arange(len(track)) - start[track[order]]
    near = slot < CANDIDATES
    return order[near], slot[near]


def _cover(tracked: Tracked, scene: Scene, track: Ints, obj: Ints) -> Reals | None:
    """Part of the track's probes in the object, for each pair; NaN for a track without probes."""
    if scene.labels is None:
        return None
    # a track may be left behind farther than pixels can be counted
    place = np.clip(tracked.expected.place, -FAR_OFF, FAR_OFF).astype(np.float32)
    at = place[:, None, :] + tracked.probes
    here = values_at(scene.labels, at)
    hits = true_in_rows(here.take(track, axis=0) == scene.values.take(obj)[:, None])
    whole = tracked.probe_count[track]
    share: Reals = np.full(len(track), np.nan)
    np.divide(hits, whole, out=share, where=whole > 0)
    return share
