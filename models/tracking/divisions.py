"""Divisions: one track, two objects where it was, together as large as it and placed alike.

There are two ways to divide, and a triple has the price of the cheaper one. *Fission*: two
daughters taken together look like their mother by the very price that a link has, with symmetry
and touching on top; so bacteria and cells in a sheet divide. *Mitosis*: a condensed mother, often a
plate, becomes two discs well apart across it, so neither shape nor overlap says anything, but the
middle, the sizes and the distance do; so nuclei divide.

Mother-daughters triples then compete with the links already found: a triple is taken when the group
around it gets cheaper, all of the group being assigned anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.tracking.assign import solve
from models.tracking.bodies import Bodies, Ints, Reals, together
from models.tracking.costs import Habits, price

SISTERS = 6
"""Nearest objects of a track that may be its daughters."""
SYMMETRY_SD = 0.6
"""How much the logarithm of the ratio of the daughters' areas varies."""
SISTERS_APART = 1.2
"""Distance of daughters in radii of their mother: a disc cut in half gives 0.85, two discs of half
its area that touch give 1.41."""
SISTERS_APART_SD = 0.35
MIDDLE_SD = 0.35
"""Distance of the middle of two parted daughters from where their mother was, in her radii."""
PARTED = 2.4
"""Distance of parted daughters, in radii of one of them; below 2 discs would overlap."""
PARTED_SD = 0.6
CONDENSED = 0.3
"""Logarithm of the daughters' area over that of their mother, who was condensed when last seen."""
CONDENSED_SD = 0.4
COMPACT_SD = 0.5
"""How far from round parted daughters are: logarithm of the ratio of their axes."""
UNSEEN = 1.0
"""Price of a division that shape and overlap, which know most where there are masks, do not see."""
OFF_RADII = 1.6
"""Farther than this from their mother the middle of two daughters never lies."""
TOUCH = 2.0
"""Nor are daughters farther apart than this, in their summed reach."""
_PASSES = 4
_DEPTH = 3
_CROWD = 40
"""Tracks that are assigned anew for one triple, at most about."""
GAP_SD = 0.35
"""How much the distance between daughters exceeds touching, in their summed reach."""


@dataclass(frozen=True, slots=True)
class Triples:
    """Mothers and their two daughters, with the price."""

    mother: Ints
    first: Ints
    second: Ints
    cost: Reals

    def without(self, tracks: NDArray[np.bool_]) -> Triples:
        """Those whose mother is none of the tracks marked (m,)."""
        keep = ~tracks[self.mother]
        return Triples(self.mother[keep], self.first[keep], self.second[keep], self.cost[keep])


def possible(
    pairs: tuple[Ints, Ints, Reals, Reals | None],
    expected: Bodies,
    found: Bodies,
    steps: Reals,
    habits: Habits,
    limit: float,
) -> Triples:
    """Triples that cost less than ``limit``.

    ``pairs`` are rows of tracks and objects, how far apart they are and how much of the track's
    probes lie in the object.
    """
    track, obj, apart, cover = pairs
    # one sort by track, then by distance, which a gate keeps below the next whole number
    order = np.argsort(track + apart / (2 * apart.max() + 1.0))
    track, obj = track[order], obj[order]
    cover = None if cover is None else cover[order]
    start = np.searchsorted(track, np.arange(len(expected)))
    rank = np.arange(len(track)) - start[track]
    near = rank < SISTERS
    track, obj, rank = track[near], obj[near], rank[near]
    cover = None if cover is None else cover[near]
    # every object with each later one of the same track
    a, b = _twos(track)
    mother, one, two = track[a], obj[a], obj[b]
    # cheap tests first: pairs that cannot be daughters are most of them
    large, small = found.area[one], found.area[two]
    whole = large + small
    known = expected.sized[mother] & found.sized[one] & found.sized[two]
    ratio = whole / expected.area[mother]
    fits = (ratio > 0.4) & (ratio < 2.4) & (large < 4 * small) & (small < 4 * large)
    fits |= ~known
    y, x = found.place.T
    off_y = (y[one] * large + y[two] * small) / whole - expected.place[:, 0][mother]
    off_x = (x[one] * large + x[two] * small) / whole - expected.place[:, 1][mother]
    reach = OFF_RADII**2 * np.maximum(steps, 1.0) * expected.area / np.pi
    fits &= off_y * off_y + off_x * off_x < reach[mother]
    extent = found.reach
    touch = TOUCH * (extent[one] + extent[two])
    fits &= (y[one] - y[two]) ** 2 + (x[one] - x[two]) ** 2 < touch * touch
    a, b, mother, one, two = a[fits], b[fits], mother[fits], one[fits], two[fits]
    both = together(found, one, two)
    shared = None if cover is None else cover[a] + cover[b]
    cost = price(expected.take(mother), both, shared, steps[mother], habits)
    uneven = 0.5 * (np.log(found.area[one] / found.area[two]) / SYMMETRY_SD) ** 2
    cost += np.where(both.sized, uneven, 0.5)
    apart = np.hypot(*(found.place[one] - found.place[two]).T) / expected.radius[mother]
    # with shapes the moments of the pair have said so already
    cost += np.where(both.shaped, 0.0, 0.5 * ((apart - SISTERS_APART) / SISTERS_APART_SD) ** 2)
    cost += 0.5 * (_gap(found, one, two) / GAP_SD) ** 2
    cost = np.minimum(cost, UNSEEN + _mitosis(expected, found, mother, one, two, steps[mother]))
    cost -= np.log(habits.divisions)
    good = cost < limit
    return Triples(mother[good], one[good], two[good], cost[good])


def _mitosis(
    expected: Bodies, found: Bodies, mother: Ints, one: Ints, two: Ints, steps: Reals
) -> Reals:
    """Price of daughters that went apart: middle, distance and sizes, no shape and no overlap."""
    large, small = found.area[one], found.area[two]
    whole = large + small
    radius = expected.radius[mother]
    share = (large / whole)[:, None]
    middle = found.place[one] * share + found.place[two] * (1 - share) - expected.place[mother]
    loose = MIDDLE_SD * np.sqrt(np.maximum(steps, 1.0))
    off = np.hypot(*middle.T) / radius
    daughter = np.sqrt(whole / (2 * np.pi))
    apart = np.hypot(*(found.place[one] - found.place[two]).T) / daughter
    cost = 0.5 * (off / loose) ** 2 + np.log(2 * loose**2)
    cost += 0.5 * ((apart - PARTED) / PARTED_SD) ** 2
    cost += np.log(2 * PARTED * PARTED_SD * np.sqrt(2 * np.pi))
    growth = np.log(whole / expected.area[mother])
    uneven = np.log(large / small)
    sizes = 0.5 * ((growth - CONDENSED) / CONDENSED_SD) ** 2 + 0.5 * (uneven / SYMMETRY_SD) ** 2
    known = expected.sized[mother] & found.sized[one] & found.sized[two]
    cost += np.where(known, sizes, 1.0) + np.log(CONDENSED_SD) + np.log(SYMMETRY_SD)
    for child in (one, two):
        form = 0.5 * (_log_aspect(found.spread[child]) / COMPACT_SD) ** 2
        cost += np.where(found.shaped[child], form, 0.5)
    return np.asarray(cost)


def _log_aspect(spread: Reals) -> Reals:
    """Logarithm of the ratio of the axes (n,) of bodies with second moments (n, 3)."""
    yy, xx, xy = spread.T
    mean = (yy + xx) / 2
    half = np.hypot((yy - xx) / 2, xy)
    return np.asarray(0.5 * np.log((mean + half) / np.maximum(mean - half, 1e-12)))


def _twos(group: Ints) -> tuple[Ints, Ints]:
    """Places of every two equal entries; equal ones stand together, at most ``SISTERS`` of them."""
    first = [np.flatnonzero(group[step:] == group[:-step]) for step in range(1, SISTERS)]
    second = [places + step for step, places in enumerate(first, 1)]
    return np.concatenate(first), np.concatenate(second)


def _gap(found: Bodies, one: Ints, two: Ints) -> Reals:
    """Distance beyond touching, in units of the daughters' summed reach towards each other."""
    apart = found.place[two] - found.place[one]
    length = np.maximum(np.hypot(apart[:, 0], apart[:, 1]), 1e-9)
    y, x = (apart / length[:, None]).T

    def towards(rows: Ints) -> Reals:
        yy, xx, xy = found.spread[rows].T
        along = yy * y * y + xx * x * x + 2 * xy * x * y
        return np.asarray(2 * np.sqrt(np.maximum(along, 1e-12)))

    reach = towards(one) + towards(two)
    return np.asarray(np.maximum(length / reach - 1.0, 0.0))


@dataclass(slots=True)
class Links:
    """Who has what: filled by ``assign``, changed by ``divide``."""

    taken: Ints
    """(m,) object of each track, -1 for none."""
    price: Reals
    """(m,) of that link, or of the end of the track."""
    second: Ints
    """(m,) second daughter of a track that divides, else -1."""


def divide(
    links: Links,
    triples: Triples,
    pairs: tuple[Ints, Ints, Reals],
    end: Reals,
    birth: Reals,
) -> None:
    """Take the triples that make the whole cheaper, the most helpful first; changes ``links``."""
    if len(triples.cost) == 0:
        return
    track, obj, cost = pairs
    order = np.argsort(track, kind="stable")
    book = _Book(links, track[order], obj[order], cost[order], end, birth)
    for _ in range(_PASSES):
        hope = book.hope(triples)
        changed = False
        for t in np.argsort(-hope, kind="stable"):
            if hope[t] <= 1e-9:
                break
            changed |= book.try_triple(
                int(triples.mother[t]),
                int(triples.first[t]),
                int(triples.second[t]),
                float(triples.cost[t]),
            )
        if not changed:
            break


class _Book:
    """Links under revision, with what is needed to assign a neighbourhood anew."""

    def __init__(
        self, links: Links, track: Ints, obj: Ints, cost: Reals, end: Reals, birth: Reals
    ) -> None:
        self._links, self._obj, self._cost, self._end, self._birth = links, obj, cost, end, birth
        self._track = track
        self._start = np.searchsorted(track, np.arange(len(end) + 1))
        self._owner = np.full(len(birth), -1, dtype=np.intp)
        has = np.flatnonzero(links.taken >= 0)
        self._owner[links.taken[has]] = has

    def hope(self, triples: Triples) -> Reals:
        """Upper bound of what each triple can save; one that cannot save is not tried."""
        links = self._links
        other = self._end.copy()
        free = links.taken[self._track] != self._obj
        np.minimum.at(other, self._track[free], self._cost[free])
        saved = links.price[triples.mother] - triples.cost
        dissolved = links.second[triples.mother] >= 0
        saved += np.where(dissolved, self._most_birth, 0.0)
        for child in (triples.first, triples.second):
            owner = self._owner[child]
            robbed = (owner >= 0) & (owner != triples.mother)
            saved += np.where(owner < 0, self._birth[child], 0.0)
            saved += np.where(robbed, links.price[owner] - other[owner], 0.0)
        return np.asarray(saved)

    @property
    def _most_birth(self) -> float:
        return float(self._birth.max()) if len(self._birth) else 0.0

    def try_triple(self, mother: int, first: int, second: int, cost: float) -> bool:
        """Assign the neighbourhood anew with this division; keep it when it is cheaper."""
        links = self._links
        if {int(links.taken[mother]), int(links.second[mother])} == {first, second}:
            return False
        tracks = self._neighbourhood(mother, first, second)
        objects = self._objects_of(tracks)
        before = float(links.price[tracks].sum())
        before += float(self._birth[objects[self._owner[objects] < 0]].sum())
        others = tracks[tracks != mother]
        rest = objects[(objects != first) & (objects != second)]
        row, column, price = self._edges(others, rest)
        end, birth = self._end[others], self._birth[rest]
        pairs = solve(row, column, price, end, birth) if len(row) else []
        after = cost + float(end.sum()) + float(birth.sum())
        after += sum(c - float(end[i]) - float(birth[j]) for i, j, c in pairs)
        if after >= before - 1e-9:
            return False
        self._owner[objects] = -1
        links.taken[others], links.second[others], links.price[others] = -1, -1, end
        for i, j, c in pairs:
            links.taken[others[i]], links.price[others[i]] = rest[j], c
            self._owner[rest[j]] = others[i]
        links.taken[mother], links.second[mother], links.price[mother] = first, second, cost
        self._owner[[first, second]] = mother
        return True

    def _neighbourhood(self, mother: int, first: int, second: int) -> Ints:
        """Tracks that may have to move over, some exchanges deep.

        A division is undone only where it holds one of the two daughters.
        """
        edge = {mother} | {int(self._owner[child]) for child in (first, second)} - {-1}
        around: set[int] = set()
        for _ in range(_DEPTH):
            around |= edge
            reach = self._objects_of(np.fromiter(around, dtype=np.intp))
            owners = np.unique(self._owner[self._reached(around)])
            edge = {int(k) for k in owners if k >= 0 and self._links.second[k] < 0} - around
            if len(reach) > _CROWD:
                break
        return np.array(sorted(around), dtype=np.intp)

    def _reached(self, tracks: set[int]) -> Ints:
        return np.concatenate([self._obj[self._start[k] : self._start[k + 1]] for k in tracks])

    def _objects_of(self, tracks: Ints) -> Ints:
        """Objects that these tracks have, and free objects that they could have."""
        own = np.concatenate([self._links.taken[tracks], self._links.second[tracks]])
        reached = self._reached({int(k) for k in tracks})
        free = reached[self._owner[reached] < 0]
        return np.unique(np.concatenate([free, own[own >= 0]]))

    def _edges(self, tracks: Ints, objects: Ints) -> tuple[Ints, Ints, Reals]:
        rows, columns, prices = [], [], []
        place = {int(o): k for k, o in enumerate(objects)}
        for row, k in enumerate(tracks):
            for at in range(self._start[k], self._start[k + 1]):
                column = place.get(int(self._obj[at]))
                if column is not None:
                    rows.append(row)
                    columns.append(column)
                    prices.append(self._cost[at])
        return (
            np.array(rows, dtype=np.intp),
            np.array(columns, dtype=np.intp),
            np.array(prices, dtype=np.float64),
        )
