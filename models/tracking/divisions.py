"""Divisions: one track, two objects where it was, together as large as it and placed alike.

There are two ways to divide, and two daughters have the price of the cheaper one. *Fission*: two
daughters taken together look like their mother by the very price that a link has, with symmetry
and touching on top; so bacteria and cells in a sheet divide. *Mitosis*: a condensed mother, often a
plate, becomes two discs well apart across it, so neither shape nor overlap says anything, but the
middle, the sizes and the distance do; so nuclei divide.
"""

from __future__ import annotations

import numpy as np

from models.tracking.bodies import Bodies, Ints, Reals, as_sisters, together
from models.tracking.costs import Habits, price, room_of

CANDIDATES = 8
"""Nearest objects of a track that it may become or divide into."""
WHOLE = 1.4
"""The area of two daughters varies so much more than that of a cell that goes on."""
LOOSER = 1.35
"""The middle of daughters without shapes wanders so much more than a cell that goes on."""
SYMMETRY_SD = 0.6
"""How much the logarithm of the ratio of the daughters' areas varies."""
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
GAP_SD = 0.35
"""How much the distance between daughters exceeds touching, in their summed reach."""


def pairs_of_daughters(
    track: Ints,
    obj: Ints,
    cover: Reals | None,
    expected: Bodies,
    found: Bodies,
    steps: Reals,
    habits: Habits,
) -> tuple[Ints, Ints, Reals]:
    """Every two candidates of one track that may be its daughters.

    Parameters
    ----------
    track, obj
        Candidates, sorted by track, at most ``CANDIDATES`` each.
    cover
        Part of the track's probes in the object.
    steps
        (m,) usual intervals since the track was seen.

    Returns
    -------
    Rows of the candidates of first and second daughter, and the price without that of dividing.
    """
    a, b = _twos(track)
    mother, one, two = track[a], obj[a], obj[b]
    # cheap tests first: pairs that cannot be daughters are most of them
    large, small = as_sisters(found, one, two)
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
    cost = price(
        expected.take(mother), both, shared, steps[mother], habits, habits.whole, LOOSER, WHOLE
    )
    uneven = 0.5 * (np.log(found.area[one] / found.area[two]) / SYMMETRY_SD) ** 2
    cost += np.where(both.sized, uneven, 0.5)
    apart = np.hypot(*(found.place[one] - found.place[two]).T)
    apart /= np.sqrt(room_of(expected, habits) / np.pi)[mother]
    # with shapes the moments of the pair have said so already
    mean, sd = habits.apart, habits.apart_sd
    spaced = 0.5 * ((apart - mean) / sd) ** 2 + np.log(np.sqrt(2 * np.pi) * sd * mean)
    cost += np.where(both.shaped, 0.0, spaced)
    cost += np.where(both.shaped, 0.5 * (_gap(found, one, two) / GAP_SD) ** 2, 0.0)
    mitosis = UNSEEN + _mitosis(expected, found, mother, one, two, steps[mother])
    # of points the distance says all that both ways could
    either = both.shaped if cover is None else np.ones(len(a), dtype=bool)
    return a, b, np.where(either, np.minimum(cost, mitosis), cost)


def _mitosis(
    expected: Bodies, found: Bodies, mother: Ints, one: Ints, two: Ints, steps: Reals
) -> Reals:
    """Price of daughters that went apart: middle, distance and sizes, no shape and no overlap."""
    large, small = as_sisters(found, one, two)
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
    """Places of every two equal entries; equal ones stand together, ``CANDIDATES`` at most."""
    first = [np.flatnonzero(group[step:] == group[:-step]) for step in range(1, CANDIDATES)]
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
