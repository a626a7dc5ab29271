"""Which ground was looked at lately, and how long ago. Pure.

A stage that leaves for a burst and comes back finds what it left; objects there that no track
takes are not strangers as on ground that was never seen, so daughters of a mother who divided
meanwhile are told from newcomers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Corner = tuple[float, float]
Visit = tuple[float, Corner, Corner]
"""Clock when the ground was last shown, its low and high corner (y, x) in world units."""

MOST = 32
"""Fields that are kept; the one that was left longest ago goes first."""
SAME = 0.1
"""Part of its side by which a field may be off and still be the same one."""


def remembered(
    visits: tuple[Visit, ...], clock: float, low: Corner, high: Corner
) -> tuple[Visit, ...]:
    """The visits with the newest one last; an older visit to the same field goes."""
    near = SAME * max(abs(high[0] - low[0]), abs(high[1] - low[1]))
    here = np.array((low, high))
    others = [one for one in visits if np.abs(np.array(one[1:]) - here).max() > near]
    return (*others[1 - MOST :], (clock, low, high))


def clock_since(
    visits: tuple[Visit, ...], clock: float, place: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How long ago (n,) places (n, 2) y, x in world units were shown; inf where never."""
    since = np.full(len(place), np.inf)
    y, x = place.T
    for shown, (ya, xa), (yb, xb) in visits:
        inside = (y >= min(ya, yb)) & (y <= max(ya, yb)) & (x >= min(xa, xb)) & (x <= max(xa, xb))
        since[inside] = np.minimum(since[inside], clock - shown)
    return since
