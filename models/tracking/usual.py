"""How far and how variously the tracks of one frame moved and grew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.tracking.bodies import Bodies, middle
from models.tracking.costs import Habits, room_of
from models.tracking.joint import Settled
from models.tracking.tracks import Tracked

FEW = 10.0
"""So many links count as much as all that was usual before."""


def habits_now(
    habits: Habits, links: Settled, tracked: Tracked, found: Bodies, rate: float
) -> Habits:
    """Habits drawn by at most ``rate`` towards what these links show.

    Medians, so that a wrong link counts little; of shapeless points the area says nothing.
    """
    rows = np.flatnonzero((links.first >= 0) & (links.second < 0))
    if len(rows) == 0:
        return habits
    expected, to = tracked.expected, links.first[rows]
    steps = tracked.steps[rows]
    loose = np.sqrt(np.maximum(steps, 0.25))
    off = np.hypot(*(found.place[to] - expected.place[rows]).T) / loose
    off /= np.sqrt(room_of(expected, habits)[rows] / np.pi)
    part = rate * len(rows) / (len(rows) + FEW)
    # 1.1774: median of the length of a vector of two unit Gaussians
    wander = habits.wander + part * (_limit(middle(off) / 1.1774, 0.1, 1.0) - habits.wander)
    known = expected.sized[rows] & found.sized[to]
    if not known.any():
        return replace(habits, wander=wander)
    change = np.log(found.area[to] / expected.area[rows])[known] / steps[known]
    usual = _limit(middle(change), -0.3, 0.3)
    varies = 1.4826 * middle(np.abs(change - usual) * loose[known])
    part = rate * int(known.sum()) / (int(known.sum()) + FEW)
    return replace(
        habits,
        wander=wander,
        growth=habits.growth + part * (usual - habits.growth),
        area_sd=habits.area_sd + part * (_limit(varies, 0.12, 0.5) - habits.area_sd),
    )


def _limit(value: float | np.floating, low: float, high: float) -> float:
    return float(np.clip(value, low, high))
