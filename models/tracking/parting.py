"""Parting the pixels of one object between two bodies: each goes to the nearer one.

Near is meant by the bodies' own second moments (Mahalanobis), so a long cell reaches farther along
than across. One pass over the pixels and one more after the bodies have moved to where their pixels
are; no flooding, so the cost is that of the object alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.tracking.bodies import Reals

PASSES = 2


def part_pixels(
    y: NDArray[np.intp], x: NDArray[np.intp], place: Reals, spread: Reals
) -> NDArray[np.bool_]:
    """Which pixels (k,) belong to the second of two bodies.

    Parameters
    ----------
    y, x
        (k,) pixels of the object.
    place, spread
        (2, 2) and (2, 3) of the bodies: y, x and second moments yy, xx, xy.
    """
    own = np.stack([y, x], axis=1).astype(np.float64)
    # the pair is brought to where the object is: the colony may have moved since
    place = place + (own.mean(axis=0) - place.mean(axis=0))
    second = np.zeros(len(y), dtype=bool)
    for _ in range(PASSES):
        near = [_distance(own - place[k], spread[k]) for k in (0, 1)]
        second = near[1] < near[0]
        if second.all() or not second.any():
            return second
        place = np.stack([own[~second].mean(axis=0), own[second].mean(axis=0)])
    return second


def moments_of(y: NDArray[np.intp], x: NDArray[np.intp]) -> tuple[Reals, Reals]:
    """Place (2,) and second moments (3,) of some pixels."""
    own = np.stack([y, x], axis=1).astype(np.float64)
    place = own.mean(axis=0)
    off = own - place
    yy, xx = (off**2).mean(axis=0) + 1 / 12
    return place, np.array([yy, xx, float((off[:, 0] * off[:, 1]).mean())])


def _distance(off: Reals, spread: Reals) -> Reals:
    yy, xx, xy = spread
    dy, dx = off.T
    return np.asarray((dy * dy * xx - 2 * dy * dx * xy + dx * dx * yy) / max(yy * xx - xy**2, 1e-9))
