"""One frame's decision: which object continues which track, which divides, which ends.

Decided once with what was usual before. Where that leaves more than one possibility, it is decided
again with what this frame shows: how neighbours moved, how far all strayed, how many divided.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from models.settings import TrackSettings
from models.tracking.bodies import Bodies, Ints, Reals, middle
from models.tracking.candidates import near_pairs
from models.tracking.costs import Habits
from models.tracking.hypotheses import Scene, choices_of, priced
from models.tracking.joint import Settled, settle, total_price
from models.tracking.jump import RARE, UPSET, jump_of
from models.tracking.motion import common_motion, sure_pairs
from models.tracking.tracks import Tracked
from models.tracking.usual import habits_now

SURE = 3.0
"""How much dearer every other choice must be for a link to guide its neighbours."""
NOW = 0.7
"""How much of what is usual comes from the frame itself, when it is decided anew."""
_ROUNDS = 2
_STILL = 0.05
"""A common motion below this part of the gate is not worth another round."""
DOUBTFUL = 0.02
"""Part of the tracks that must be doubtful for that: one in a crowd learns little from others."""
FRESH = 1.5
"""Usual intervals since a track was seen, up to which its end is a sign that something is wrong."""
_AGAIN = 2
"""Times that what is doubtful is decided anew."""


def link(
    tracked: Tracked, scene: Scene, habits: Habits, settings: TrackSettings
) -> tuple[Settled, int]:
    """Links of least total price; moves ``tracked.expected.place`` along with its neighbourhood.

    Returns
    -------
    The links, and how many candidates were passed over on crowded spots.
    """
    home = tracked.expected.place
    links, over, total = _decided(tracked, scene, habits, settings)
    fresh = (tracked.missed == 0) & (tracked.steps < FRESH)
    if np.count_nonzero(fresh & (links.first < 0)) <= UPSET * np.count_nonzero(fresh):
        return links, over
    before = replace(tracked.expected, place=home)
    moved = jump_of(before, scene.found, np.flatnonzero(fresh), _half_field(scene))
    if moved is None:
        return links, over
    stayed = tracked.expected.place
    tracked.expected.place = home + moved
    other, other_over, other_total = _decided(tracked, scene, habits, settings)
    if other_total() + RARE < total():
        return other, other_over
    tracked.expected.place = stayed
    return links, over


def _half_field(scene: Scene) -> tuple[float, float]:
    """Half the height and width of the image, or of what its points span."""
    if scene.labels is not None:
        return scene.labels.shape[0] / 2, scene.labels.shape[1] / 2
    height, width = np.ptp(scene.found.place, axis=0) if len(scene.found) else (0.0, 0.0)
    return float(height) / 2, float(width) / 2


def _decided(
    tracked: Tracked, scene: Scene, habits: Habits, settings: TrackSettings
) -> tuple[Settled, int, Callable[[], float]]:
    """Links from where the tracks are expected, candidates passed over, and the total price.

    The price, which only a jump of the stage asks for, is that of the first decision.
    """
    expected, found = tracked.expected, scene.found
    m = len(expected)
    gate = settings.gate_diameters * 2 * expected.radius
    gate = np.maximum(gate, expected.reach) * np.sqrt(np.clip(tracked.steps, 1.0, 4.0))
    usual = middle(gate) if m else 1.0
    track, obj, over = near_pairs(expected.place, gate, found.place, expected.radius)
    home = expected.place
    cover, cost = priced(track, obj, tracked, scene, habits)
    for _ in range(_ROUNDS):
        sure = sure_pairs(track, obj, cost, m, len(found), SURE)
        moved = found.place[obj[sure]] - expected.place[track[sure]]
        flow = common_motion(expected.place[track[sure]], moved, expected.place, usual)
        if not (np.abs(flow).max(initial=0.0) > _STILL * usual):
            break
        expected.place = expected.place + flow
        cover, cost = priced(track, obj, tracked, scene, habits)
    choices = choices_of(track, obj, cover, cost, tracked, scene, habits, settings.divisions)
    birth = scene.birth(habits)
    links = settle(choices, birth)
    once = replace(links, first=links.first.copy(), second=links.second.copy())
    total = partial(total_price, choices, once, birth)
    rows = np.flatnonzero(~links.plain)
    for _ in range(_AGAIN if links.doubtful > DOUBTFUL else 0):
        flow = _flow(links, home, found, usual)
        # an interval may be longer, or a frame busier, than those before
        habits = habits_now(habits, links, tracked, found, NOW)
        fates = tracked.fates.scaled(links.divides, links.ends, tracked.missed == 0)
        expected.place = home + flow
        part = replace(tracked, fates=fates).of(rows)
        at, to = _within(rows, track, obj, links, m)
        cover, cost = priced(at, to, part, scene, habits)
        choices = choices_of(at, to, cover, cost, part, scene, habits, settings.divisions)
        links.put(rows, settle(choices, scene.birth(habits)))
    return links, over, total


def _within(rows: Ints, track: Ints, obj: Ints, links: Settled, m: int) -> tuple[Ints, Ints]:
    """Pairs of some tracks, counted among these, and of objects that no plain track has."""
    number = np.full(m, -1, dtype=np.intp)
    number[rows] = np.arange(len(rows))
    free = np.ones(len(links.comes), dtype=bool)
    free[links.first[links.plain & (links.first >= 0)]] = False
    use = (number[track] >= 0) & free[obj]
    return number[track[use]], obj[use]


def _flow(links: Settled, home: Reals, found: Bodies, usual: float) -> Reals:
    """How the neighbours of each track moved by these links, a division by its middle."""
    has = np.flatnonzero(links.first >= 0)
    to = found.place[links.first[has]]
    split = links.second[has] >= 0
    to[split] = (to[split] + found.place[links.second[has[split]]]) / 2
    return common_motion(home[has], to - home[has], home, usual, has)
