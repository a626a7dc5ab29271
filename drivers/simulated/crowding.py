"""How nuclei keep their distance: an even sheet, and hardly any overlap. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.cells import Floats

Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]

SPREAD_UM_S = 0.5
"""Speed at which neighbours that are close leave each other, where cells live at the usual pace."""
_TOUCH_UM_S = 6.0


def near_pairs(at_um: Floats, reach_um: float) -> Pairs:
    """Every pair of points less than ``reach_um`` apart.

    The points are swept in the order of x, which costs a few array operations for each neighbour
    in reach and not the square of their number.

    Parameters
    ----------
    at_um
        (n, 2) points (x, y).

    Returns
    -------
    Two arrays of indices; each pair comes once.
    """
    order = np.argsort(at_um[:, 0], kind="stable")
    x, y = at_um[order, 0], at_um[order, 1]
    firsts, seconds = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
    for shift in range(1, len(x)):
        apart = x[shift:] - x[:-shift]
        near = np.flatnonzero(apart < reach_um)
        if not near.size:
            break
        near = near[np.abs(y[near + shift] - y[near]) < reach_um]
        firsts.append(order[near])
        seconds.append(order[near + shift])
    return np.concatenate(firsts), np.concatenate(seconds)


def push_apart(
    at_um: Floats,
    radius_um: Floats,
    pairs: Pairs,
    reach_um: float,
    spread_um_s: float = SPREAD_UM_S,
) -> Floats:
    """Velocities that spread points evenly and part nuclei that touch.

    Parameters
    ----------
    at_um
        (n, 2) positions.
    radius_um
        (n,) of each nucleus.
    pairs
        From `near_pairs`, perhaps some steps old.
    reach_um
        Beyond it there is no push.
    spread_um_s
        Of two that do not touch, at no distance at all.

    Returns
    -------
    (n, 2) µm/s.
    """
    one, other = pairs
    away = at_um[one] - at_um[other]
    apart = np.maximum(np.hypot(away[:, 0], away[:, 1]), 1e-3)
    touch = 1.15 * (radius_um[one] + radius_um[other])
    push = spread_um_s * np.maximum(0, 1 - apart / reach_um)
    push += _TOUCH_UM_S * np.maximum(0, 1 - apart / touch)
    away *= (push / apart)[:, None]
    n = len(at_um)
    sums = [np.bincount(one, away[:, k], n) - np.bincount(other, away[:, k], n) for k in (0, 1)]
    return np.stack(sums, axis=1).astype(np.float32)
