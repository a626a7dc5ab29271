"""One frame's decision: which object continues which track, which divides, which ends.

Decided once with what was usual before. Where that leaves more than one possibility, it is decided
again with what this frame shows: how neighbours moved, how far all strayed, how many divided.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.settings import TrackSettings
from models.tracking.bodies import Bodies, Ints, Reals, middle
from models.tracking.candidates import near_pairs
from models.tracking.costs import Habits
from models.tracking.hypotheses import Scene, choices_of, priced
from models.tracking.joint import Settled, settle
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
    expected, found = tracked.expected, scene.found
    m = len(expected)
    gate = settings.gate_diameters * 2 * expected.radius
    gate = np.maximum(gate, expected.reach) * np.sqrt(np.clip(tracked.steps, 1.0, 4.0))
    usual = middle(gate) if m else 1.0
    track, obj, over = near_pairs(expected.place, gate, found.place)
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
    links = settle(choices, scene.birth(habits))
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
    return links, over


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
