"""What is usual in this movie, learned from each frame's links."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.tracking.bodies import Bodies, Reals, middle
from models.tracking.costs import Habits, room_of
from models.tracking.fates import count
from models.tracking.joint import Settled
from models.tracking.state import Memory
from models.tracking.tracks import Tracked
from models.tracking.usual import habits_now

PRIOR_TRACKS = 300.0
"""What is assumed before the first frame weighs as much as so many tracks."""
PRIOR_EDGE = 50.0
"""The same at the border, where a frame has few."""
UPSET = 0.5
"""Where more of the tracks end at once a lamp went out or the sample was changed: no habit."""
CLEAR = 0.9
"""How likely a newcomer must be to count as one."""
LONG = 0.3
"""How much of what is usual comes from the newest frame, where it has many links."""
PRIOR_DIVISIONS = 15.0
"""Divisions that what is assumed of daughters weighs as much as."""
LONGEST_DIVISIONS = 400.0
"""Divisions that this goes back to."""
LONGEST = 4000.0
"""Tracks that a rate goes back to."""


@dataclass(frozen=True, slots=True)
class Grounds:
    """Where ending and appearing means what: masks of tracks (m,) and of objects (n,)."""

    tracks: NDArray[np.bool_]
    """In view, off the border, and on ground that the frame before showed too."""
    found: NDArray[np.bool_]
    edge_tracks: NDArray[np.bool_]
    """At the border, on ground that the frame before showed."""
    edge_found: NDArray[np.bool_]


def learn(
    memory: Memory,
    links: Settled,
    tracked: Tracked,
    found: Bodies,
    last: Reals,
    speed: Reals,
    waited: Reals,
    grounds: Grounds,
) -> None:
    """Update what is usual from this frame's links; medians, so that a wrong one counts little.

    ``last`` (m, 2) is where the tracks were seen, ``speed`` (m, 2) their displacement before,
    both in pixels; ``waited`` (m,) the clock since.
    """
    expected, steps = tracked.expected, tracked.steps
    rows = np.flatnonzero((links.first >= 0) & (links.second < 0))
    _learn_rates(memory, links, tracked, grounds)
    if len(tracked.steps) == 0:
        return
    usual = replace(memory.habits, area=middle(expected.area))
    _learn_daughters(memory, links, tracked, found, usual)
    if len(rows) == 0:
        return
    to = links.first[rows]
    rate = 0.3 * len(rows) / (len(rows) + 10.0)
    now = habits_now(usual, links, tracked, found, LONG)
    memory.wander, memory.growth, memory.area_sd = now.wander, now.growth, now.area_sd
    memory.revisit += rate * (middle(waited[rows]) - memory.revisit)
    before, after = speed[rows] * steps[rows, None], found.place[to] - last[rows]
    power = float((before * before).sum())
    if power > 0:
        repeated = float(np.clip((before * after).sum() / power, 0.0, 1.0))
        memory.persistence += rate * (repeated - memory.persistence)


def _learn_daughters(
    memory: Memory, links: Settled, tracked: Tracked, found: Bodies, usual: Habits
) -> None:
    """How far apart and how large daughters are; one false division moves none of it far."""
    mother = np.flatnonzero(links.second >= 0)
    if len(mother) == 0:
        return
    one, two = links.first[mother], links.second[mother]
    expected, steps = tracked.expected, tracked.steps[mother]
    apart = np.hypot(*(found.place[one] - found.place[two]).T)
    apart /= np.sqrt(room_of(expected, usual) / np.pi)[mother]
    apart = np.clip(apart, memory.apart - 2 * memory.apart_sd, memory.apart + 2 * memory.apart_sd)
    weight = 1.0 / (len(mother) + PRIOR_DIVISIONS + memory.divided)
    memory.apart += weight * float((apart - memory.apart).sum())
    # the clipped tails of a Gaussian hold a tenth of its variance
    varies = 1.1 * float(((apart - memory.apart) ** 2 - memory.apart_sd**2 / 1.1).sum())
    memory.apart_sd = float(np.clip(memory.apart_sd**2 + weight * varies, 0.04, 0.5) ** 0.5)
    known = expected.sized[mother] & found.sized[one] & found.sized[two]
    whole = np.log((found.area[one] + found.area[two]) / expected.area[mother])
    whole = np.clip((whole - memory.growth * steps)[known], -0.6, 0.6)
    memory.whole += weight * float((whole - memory.whole).sum())
    memory.divided = min(memory.divided + len(mother), LONGEST_DIVISIONS)


def _learn_rates(memory: Memory, links: Settled, tracked: Tracked, grounds: Grounds) -> None:
    """How often tracks end, appear and divide: running means that go back ``LONGEST`` tracks.

    What was nearly decided otherwise counts by its likelihood: decisions alone would bear out
    whatever rates they were made with.
    """
    seen = tracked.missed == 0
    if seen.any() and float(links.ends[seen].mean()) > UPSET:
        return
    count(memory.odds, tracked.fates, links.divides, links.ends, grounds.tracks & seen)
    inner, back = grounds.tracks, 1 - links.ends
    # an odd division looks like a newcomer: only newcomers beyond doubt make more likely
    new = (links.comes > CLEAR).astype(np.float64)
    tracks = int(inner.sum())

    def moved(old: float, now: Reals, low: float, high: float) -> float:
        return float(np.clip(old + weight * (float(now.sum()) / tracks - old), low, high))

    if tracks:
        weight = tracks / (tracks + PRIOR_TRACKS + memory.inner_seen)
        memory.inner_seen = min(memory.inner_seen + tracks, LONGEST)
        memory.divisions = moved(memory.divisions, links.divides[inner], 0.005, 0.25)
        memory.ends = moved(memory.ends, links.ends[inner & seen], 0.005, 0.2)
        memory.misses = moved(memory.misses, back[inner & ~seen], 0.0003, 0.15)
        memory.births = moved(memory.births, new[grounds.found], 0.0005, 0.05)
    inner = grounds.edge_tracks
    tracks = int(inner.sum())
    if tracks:
        weight = tracks / (tracks + PRIOR_EDGE + memory.edge_seen)
        memory.edge_seen = min(memory.edge_seen + tracks, LONGEST)
        memory.edge_ends = moved(memory.edge_ends, links.ends[inner & seen], 0.01, 0.5)
        memory.edge_births = moved(memory.edge_births, new[grounds.edge_found], 0.002, 0.3)
