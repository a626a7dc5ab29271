"""How large the objects of a label image are against those that a network was trained on."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

SMALLEST_PX = 12
"""Nothing is an object, at the network's scale, that has fewer pixels than this."""

FRAGMENT = 0.15
"""Objects below this fraction of the bulk's area say nothing about size."""

ENOUGH_OBJECTS = 3
"""Fewer objects than this are no measure of size."""


def enough(area: NDArray[np.int64]) -> bool:
    """Whether there are objects enough to tell their size; ``area`` as in `relative_size`."""
    return int(np.count_nonzero(area[1:] >= SMALLEST_PX)) >= ENOUGH_OBJECTS


def relative_size(area: NDArray[np.int64], trained_px: float) -> float:
    """Diameter of the objects found as a part of that of the objects trained on; 1 if unknown.

    Size is the median area, as in training; specks and fragments, of which there can be many, are
    left out of it by the area of the object which half the labelled pixels lie below.

    Parameters
    ----------
    area
        (n + 1,) pixels of each object at the network's scale; [0] is the background's.
    trained_px
        Median diameter of the objects trained on; 0 where size does not matter.
    """
    if trained_px <= 0 or not enough(area):
        return 1.0
    large = np.sort(area[1:][area[1:] >= SMALLEST_PX])
    total = np.cumsum(large)
    bulk = large[np.searchsorted(total, total[-1] / 2)]
    middle = float(np.median(large[large >= FRAGMENT * bulk]))
    return 2 * math.sqrt(middle / math.pi) / trained_px
