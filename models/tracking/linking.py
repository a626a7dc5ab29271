"""One frame's decision: which object continues which track, which divides, which ends."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.settings import TrackSettings
from models.tracking.assign import assign
from models.tracking.bodies import Bodies, Ints, Reals, values_at
from models.tracking.candidates import near_pairs
from models.tracking.costs import Habits, price
from models.tracking.divisions import Links, divide, possible
from models.tracking.motion import common_motion, sure_pairs
from models.tracking.view import Field

EDGE = 0.03
"""Part of the tracks that end, and of the places that fill, at the border in one frame."""
NEW_GROUND = 0.3
"""Objects from nowhere where the stage has moved to: nearly all of them are new to us."""
SURE = 3.0
"""How much dearer every other choice must be for a link to guide its neighbours."""
_ROUNDS = 2
_STILL = 0.05
"""A common motion below this part of the gate is not worth another round."""


def link(
    expected: Bodies,
    found: Bodies,
    probes: NDArray[np.float32],
    values: NDArray[np.integer[Any]],
    labels: NDArray[np.integer[Any]] | None,
    missed: NDArray[np.int32],
    young: NDArray[np.bool_],
    steps: Reals,
    field: Field,
    habits: Habits,
    settings: TrackSettings,
) -> tuple[Links, int]:
    """Links of least total price; moves ``expected.place`` along with its neighbourhood.

    Returns
    -------
    The links, and how many candidates were passed over on crowded spots.
    """
    gate = settings.gate_diameters * 2 * expected.radius
    gate = np.maximum(gate, expected.reach) * np.sqrt(np.clip(steps, 1.0, 4.0))
    usual = float(np.median(gate)) if len(gate) else 1.0
    track, obj, over = near_pairs(expected.place, gate, found.place)
    mates = found.take(obj)
    for rest in reversed(range(_ROUNDS + 1)):
        cover = _cover(expected, probes, values, labels, track, obj)
        cost = price(expected.take(track), mates, cover, steps[track], habits)
        # a track not found before has ended or was overlooked: which is usual here?
        cost += missed[track] * np.log1p(habits.ends / habits.misses)
        if rest == 0:
            break
        sure = sure_pairs(track, obj, cost, len(expected), len(found), SURE)
        moved = found.place[obj[sure]] - expected.place[track[sure]]
        flow = common_motion(expected.place[track[sure]], moved, expected.place, usual)
        expected.place = expected.place + flow
        if not (np.abs(flow).max(initial=0.0) > _STILL * usual):
            break
    end = -np.log(np.where(field.at_border(expected), max(EDGE, habits.ends), habits.ends))
    births = np.where(field.at_border(found), max(EDGE, habits.births), habits.births)
    birth = -np.log(np.where(field.on_new_ground(found), NEW_GROUND, births))
    taken, paid = assign(track, obj, cost, end, birth)
    links = Links(taken, paid, np.full(len(expected), -1, dtype=np.intp))
    if settings.divisions and len(track):
        apart = np.hypot(*(found.place[obj] - expected.place[track]).T)
        triples = possible(
            (track, obj, apart, cover),
            expected,
            found,
            steps,
            habits,
            float(end.max() + 2 * birth.max()),
        ).without(young)
        divide(links, triples, (track, obj, cost), end, birth)
    return links, over


def _cover(
    expected: Bodies,
    probes: NDArray[np.float32],
    values: NDArray[np.integer[Any]],
    labels: NDArray[np.integer[Any]] | None,
    track: Ints,
    obj: Ints,
) -> Reals | None:
    """Part of the track's probes in the object, for each pair; NaN for a track without probes."""
    if labels is None:
        return None
    here = values_at(labels, expected.place[:, None, :].astype(np.float32) + probes)
    count = (~np.isnan(probes[:, :, 0])).sum(axis=1)
    hits = (here[track] == values[obj][:, None]).sum(axis=1)
    whole = count[track].astype(np.float64)
    share: Reals = np.full(len(track), np.nan)
    np.divide(hits, whole, out=share, where=whole > 0)
    return share
