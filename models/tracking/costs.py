"""The price of saying that an expected body and a found one are the same cell.

Prices are negative log likelihoods up to constants, so they add. All lengths are relative to the
bodies, so a price does not change with magnification.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.tracking.bodies import Bodies, Reals

BODY = 0.12
"""Part of a body's own spread by which its place may differ; along a rod more than across."""
SHAPE = 6.0
"""Weight of the difference in size, form and direction (Bhattacharyya distance of the moments)."""
OVERLAP = 6.0
"""Price of no overlap at all, where there are masks."""
FAR = 0.1
"""Part of the links that go about twice as far as usual."""
AREAS_SD = 0.4
"""How much the logarithm of the area varies among all objects, any of which may be new."""
TAIL = 3.0
"""Degrees of freedom of Student's distribution, which the change of the area follows: a
segmentation error can change it by any amount."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What is usual in this movie, learned from links that were beyond doubt."""

    wander: float = 0.35
    """Usual distance, in radii, between where a track is expected and where it is found."""
    growth: float = 0.0
    """Usual change of the logarithm of the area in one step."""
    area_sd: float = 0.25
    """How much that change varies."""
    ends: float = 0.03
    """Part of the tracks that end in a frame, away from the border."""
    edge_ends: float = 0.03
    """The same at the border, over which tracks leave."""
    births: float = 0.005
    """Objects from nowhere in a frame and per place for an object, away from the border."""
    edge_births: float = 0.03
    """The same at the border."""
    misses: float = 0.005
    """Part of the objects that are overlooked in a frame and found again later."""
    divisions: float = 0.03
    """Part of the tracks that divide in a frame."""
    apart: float = 1.3
    """Usual distance of daughters without a shape, in radii of their mother: a disc cut in half
    gives 0.85, two discs of half its area that touch give 1.41."""
    apart_sd: float = 0.4
    area: float = 0.0
    """Usual area of all tracks in this image, pixels; 0 where each goes by its own."""
    whole: float = 0.0
    """Logarithm of the area of both daughters over that of their mother, beyond ``growth``."""


def room_of(bodies: Bodies, habits: Habits) -> Reals:
    """Area (n,) that distances are relative to.

    Between its own and the usual one: a large cell goes farther, but a neighbour pushes a small
    one as far.
    """
    if habits.area <= 0:
        return bodies.area
    return np.asarray(np.sqrt(bodies.area * habits.area))


def price(
    expected: Bodies,
    found: Bodies,
    cover: Reals | None,
    steps: Reals,
    habits: Habits,
    larger: float = 0.0,
    looser: float = 1.0,
    varied: float = 1.0,
) -> Reals:
    """Price (n,) of expected and found bodies, pair by pair.

    Parameters
    ----------
    cover
        (n,) part of the expected body's probes inside the found one; NaN where it has none.
    steps
        (n,) usual frame intervals since the track was seen; waiting makes less sure.
    habits
        What is usual in this movie.
    larger
        Logarithm by which the found area should exceed the expected one beyond growth.
    looser
        Times farther from where it is expected than a link goes, where there is no shape.
    varied
        Times as much as in a link that the area varies.
    """
    apart = found.place - expected.place
    mean = (expected.spread + found.spread) / 2
    loose = np.sqrt(np.maximum(steps, 0.25))
    room = room_of(expected, habits)
    blur = (habits.wander * loose) ** 2 * room / np.pi
    # without a shape there is no direction, and ``wander`` holds all that is known
    shaped = expected.shaped & found.shaped
    body = np.where(shaped, BODY, 0.0)
    blur *= np.where(shaped, 1.0, looser**2)
    yy, xx, xy = body * mean[:, 0] + blur, body * mean[:, 1] + blur, body * mean[:, 2]
    det = yy * xx - xy * xy
    dy, dx = apart[:, 0], apart[:, 1]
    total = (dy * dy * xx - 2 * dy * dx * xy + dx * dx * yy) / (2 * det)
    # some go twice as far: a Gaussian alone would rather end a track than let it step aside
    total = -np.logaddexp(np.log(1 - FAR) - total, np.log(FAR / 4) - total / 4)
    # densities are per area of the body, so that they compare with births per place
    total += np.log(2 * np.pi * np.sqrt(det) / room)

    drift = np.log(found.area / expected.area) - habits.growth * steps - larger
    varies = habits.area_sd * loose * varied
    sized = (TAIL + 1) / 2 * np.log1p((drift / varies) ** 2 / TAIL)
    sized += np.log(varies / AREAS_SD)
    total += np.where(expected.sized & found.sized, sized, 0.0)

    form = 0.5 * np.log(_det(mean) / np.sqrt(_det(expected.spread) * _det(found.spread)))
    total += np.where(expected.shaped & found.shaped, SHAPE * form, 0.0)

    if cover is not None:
        shared = cover * expected.area
        iou = shared / np.maximum(expected.area + found.area - shared, 1e-9)
        # after a wait little overlap is to be expected
        weight = OVERLAP / np.maximum(loose, 1.0) ** 2
        total += np.where(np.isnan(iou), 0.0, weight * (1 - np.clip(iou, 0, 1)))
    return np.asarray(total)


def _det(spread: Reals) -> Reals:
    return np.maximum(spread[:, 0] * spread[:, 1] - spread[:, 2] ** 2, 1e-12)
