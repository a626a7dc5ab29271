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
AREA_CAP = 3.0
"""A segmentation error can change an area by any amount, so its price has an end."""


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
    births: float = 0.005
    """Objects from nowhere in a frame and per place for an object, away from the border."""
    misses: float = 0.005
    """Part of the objects that are overlooked in a frame and found again later."""
    divisions: float = 0.03
    """Part of the tracks that divide in a frame."""


def price(
    expected: Bodies, found: Bodies, cover: Reals | None, steps: Reals, habits: Habits
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
    """
    apart = found.place - expected.place
    mean = (expected.spread + found.spread) / 2
    loose = np.sqrt(np.maximum(steps, 0.25))
    blur = (habits.wander * loose) ** 2 * expected.area / np.pi
    yy, xx, xy = BODY * mean[:, 0] + blur, BODY * mean[:, 1] + blur, BODY * mean[:, 2]
    det = yy * xx - xy * xy
    dy, dx = apart[:, 0], apart[:, 1]
    total = (dy * dy * xx - 2 * dy * dx * xy + dx * dx * yy) / (2 * det)
    # densities are per area of the body, so that they compare with births per place
    total += np.log(2 * np.pi * np.sqrt(det) / expected.area)

    drift = np.log(found.area / expected.area) - habits.growth * steps
    sized = np.minimum(0.5 * (drift / (habits.area_sd * loose)) ** 2, AREA_CAP)
    total += np.where(expected.sized & found.sized, sized, 0.5)
    total += np.log(habits.area_sd * loose)

    form = 0.5 * np.log(_det(mean) / np.sqrt(_det(expected.spread) * _det(found.spread)))
    total += np.where(expected.shaped & found.shaped, SHAPE * form, 0.0)

    if cover is not None:
        shared = cover * expected.area
        iou = shared / np.maximum(expected.area + found.area - shared, 1e-9)
        # after a wait little overlap is to be expected
        weight = OVERLAP / np.maximum(loose, 1.0) ** 2
        total += np.where(np.isnan(iou), 0.0, weight * (1 - np.clip(iou, 0, 1)))
    return total


def _det(spread: Reals) -> Reals:
    return np.maximum(spread[:, 0] * spread[:, 1] - spread[:, 2] ** 2, 1e-12)
