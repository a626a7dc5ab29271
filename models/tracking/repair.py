"""Which objects of a frame its tracks contradict: found before the frame is published.

Two cells that were apart and lie under one object were run together by the segmentation; one cell
that lies under two touching objects, in proportions and at an age that do not make a division, was
cut in two by it; and a cell that has grown since it was born may have divided already where only
one object is seen. What is done about it, `models.tracking.mending` says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.tracking.bodies import AWAY, Bodies, Ints, Reals, together, values_at
from models.tracking.costs import price
from models.tracking.tracker import Proposal

RUN_TOGETHER = 0.01
"""Part of the cells that a segmentation runs together with a neighbour in a frame."""
CUT = 0.01
"""Part of the cells that it cuts in two."""
BENEATH = 0.6
"""Part of a cell that must lie beneath the object that swallowed it."""
GROWN = 1.25
"""Times its area at birth from which a cell may have divided: most double."""
LARGE = 1.0
"""The same in the usual area of all, for cells whose birth was not seen."""
GROWING_UP = 3
"""Frames from its birth in which a cell does not divide again."""
MOST = 64
"""Tracks or pairs that are thought about in a frame: where more is wrong, the segmentation is not
run together here and there, but the lamp went out."""
SLENDER = 2.5
"""Major over minor axis below which a cell is not looked at again: two round daughters that touch
are as long as 2 to 1, rods longer."""


@dataclass(frozen=True, slots=True)
class Swallowed:
    """One object over two tracks that were apart."""

    row: int
    """The object, a row of the table that was proposed."""
    tracks: tuple[int, int]
    """Rows of the tracks."""
    odds: float
    """Logarithm of how much likelier this is than that one of them ended."""


@dataclass(frozen=True, slots=True)
class Severed:
    """Two touching objects over one track, which are one cell."""

    rows: tuple[int, int]
    """The objects, rows of the table that was proposed."""
    track: int
    odds: float
    """Logarithm of how much likelier this is than what the links say."""


def swallowed(proposal: Proposal) -> list[Swallowed]:
    """Objects to part, each at most once; only of tracks that a mask was seen of."""
    scene, links, tracked = proposal.scene, proposal.links, proposal.tracked
    if scene.labels is None or len(scene.found) == 0:
        return []
    lost = (links.first < 0) & proposal.in_view & (tracked.missed == 0)
    lost &= tracked.expected.shaped & (proposal.tracks["seen"] > 1)
    gone = np.flatnonzero(lost)[:MOST]
    over, share = _beneath(proposal, gone)
    owner = np.full(len(scene.found), -1, dtype=np.intp)
    single = np.flatnonzero((links.first >= 0) & (links.second < 0))
    owner[links.first[single]] = single
    found: dict[int, Swallowed] = {}
    for track, row, part in zip(gone.tolist(), over, share, strict=True):
        if row < 0 or part < BENEATH or owner[row] < 0 or not scene.found.shaped[row]:
            continue
        other = int(owner[row])
        if not tracked.expected.shaped[other] or tracked.missed[other]:
            continue
        odds = _as_two(proposal, other, track, int(row))
        if odds > 0 and (row not in found or found[row].odds < odds):
            found[int(row)] = Swallowed(int(row), (other, track), odds)
    return list(found.values())


def _as_two(proposal: Proposal, kept: int, lost: int, row: int) -> float:
    """How much likelier it is that both are in the object than that one has ended."""
    tracked, scene, habits = proposal.tracked, proposal.scene, proposal.habits
    one, two, at = np.array([kept]), np.array([lost]), np.array([row])
    steps = tracked.steps[one]
    whole = scene.found.take(at)
    # bodies that touch have a gap between them no more, so neither place nor overlap is exact
    pair = together(tracked.expected, one, two)
    both = float(price(pair, whole, None, steps, habits)[0]) - np.log(RUN_TOGETHER)
    both -= float(np.log(tracked.fates.goes_on[two])[0])
    cover = _covered(proposal, kept, row)
    alone = float(price(tracked.expected.take(one), whole, cover, steps, habits)[0])
    return float(alone - np.log(tracked.fates.ends[lost]) - both)


def _beneath(proposal: Proposal, rows: Ints) -> tuple[list[int], list[float]]:
    """For each track the object that most of it lies beneath, and which part of it."""
    tracked, scene = proposal.tracked, proposal.scene
    assert scene.labels is not None
    place = tracked.expected.place[rows, None, :] + tracked.probes[rows]
    here = values_at(scene.labels, np.clip(place, AWAY, -AWAY))
    row_of = {int(value): row for row, value in enumerate(scene.values.tolist())}
    most, share = [], []
    for values, count in zip(here, tracked.probe_count[rows].tolist(), strict=True):
        found, times = np.unique(values[values > 0], return_counts=True)
        if len(found) == 0 or count == 0:
            most.append(-1)
            share.append(0.0)
            continue
        best = int(times.argmax())
        most.append(row_of.get(int(found[best]), -1))
        share.append(float(times[best]) / count)
    return most, share


def _covered(proposal: Proposal, track: int, row: int) -> Reals:
    """Part of the track's probes in the object, (1,); NaN where it has none."""
    tracked, scene = proposal.tracked, proposal.scene
    assert scene.labels is not None
    count = float(tracked.probe_count[track])
    if count == 0:
        return np.array([np.nan])
    place = np.clip(tracked.expected.place[track] + tracked.probes[track], AWAY, -AWAY)
    inside = np.count_nonzero(values_at(scene.labels, place) == scene.values[row])
    return np.array([inside / count])


def severed(proposal: Proposal) -> list[Severed]:
    """Objects to join, each at most once. Whether they touch is not looked at here."""
    scene, links, tracked = proposal.scene, proposal.links, proposal.tracked
    found, habits = scene.found, proposal.habits
    if scene.labels is None:
        return []
    born = scene.birth(habits)
    out: list[Severed] = []
    taken: set[int] = set()
    owned = np.zeros(len(found), dtype=bool)
    for which in (links.first, links.second):
        owned[which[which >= 0]] = True
    new = ~owned & ~scene.at_border & ~scene.on_new_ground & found.shaped
    single = np.flatnonzero((links.first >= 0) & (links.second < 0) & tracked.expected.shaped)
    pairs = [
        (int(t), int(links.first[t]), j)
        for t, j in _nearby(found, links.first, single, np.flatnonzero(new)[:MOST])
    ]
    split = np.flatnonzero((links.second >= 0) & tracked.expected.shaped)
    pairs += [(int(t), int(links.first[t]), int(links.second[t])) for t in split]
    for track, one, two in pairs[:MOST]:
        if {one, two} & taken or not (found.shaped[one] and found.shaped[two]):
            continue
        mother, a, b = np.array([track]), np.array([one]), np.array([two])
        whole = together(found, a, b)
        steps = tracked.steps[mother]
        cover = _covered(proposal, track, one) + _covered(proposal, track, two)
        expected = tracked.expected.take(mother)
        joined = float(price(expected, whole, cover, steps, habits)[0]) - np.log(CUT)
        joined -= float(np.log(tracked.fates.goes_on[mother])[0])
        if links.second[track] >= 0:
            # a division has the price of the union too: only the odds of dividing differ
            said = float(price(expected, whole, cover, steps, habits)[0])
            said -= float(np.log(tracked.fates.divides[mother])[0])
        else:
            own = _covered(proposal, track, one)
            said = float(price(expected, found.take(a), own, steps, habits)[0])
            said += float(born[two]) - float(np.log(tracked.fates.goes_on[mother])[0])
        if said > joined:
            taken |= {one, two}
            out.append(Severed((one, two), track, said - joined))
    return out


def _nearby(found: Bodies, first: Ints, tracks: Ints, new: Ints) -> list[tuple[int, int]]:
    """Tracks and new objects that lie within reach of what the track took."""
    out: list[tuple[int, int]] = []
    if len(tracks) == 0:
        return out
    own = first[tracks]
    for j in new.tolist():
        apart = np.hypot(*(found.place[own] - found.place[j]).T)
        near = np.flatnonzero(apart < found.reach[own] + found.reach[j] + 2)
        out += [(int(tracks[k]), j) for k in near]
    return out


def due(proposal: Proposal) -> Ints:
    """Objects (k,) that go on from one track, and may have divided; the most grown first."""
    links, tracks, scene = proposal.links, proposal.tracks, proposal.scene
    rows = np.flatnonzero((links.first >= 0) & (links.second < 0))
    rows = rows[tracks["sized"][rows] & tracks["shaped"][rows]]
    obj = links.first[rows]
    found = scene.found
    area = found.area[obj] * proposal.view.scale
    known = tracks["daughter"][rows]
    usual = proposal.memory.usual_area or 1.0
    grown = np.where(known, area / tracks["born"][rows] / GROWN, area / usual / LARGE)
    ready = (grown > 1) & found.sized[obj] & found.shaped[obj] & (_slender(found, obj) > SLENDER)
    ready &= ~known | (tracks["seen"][rows] >= GROWING_UP)
    obj, grown = obj[ready], grown[ready]
    return np.asarray(obj[np.argsort(-grown, kind="stable")], dtype=np.intp)


def _slender(found: Bodies, rows: Ints) -> NDArray[np.float64]:
    yy, xx, xy = found.spread[rows].T
    half = np.hypot((yy - xx) / 2, xy)
    mean = (yy + xx) / 2
    return np.asarray(np.sqrt((mean + half) / np.maximum(mean - half, 1e-9)))
