"""From a label image to what each head of the network should say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.training.segment.net import OFFSET_UNIT_PX

CENTRE_SIGMA = 0.12
"""Width of the hill at a centre, as a fraction of the object's equivalent diameter."""

SIGMA_LIMITS_PX = (1.3, 4.0)

MINIMUM_AREA_PX = 9
"""Smaller pieces, such as what a crop leaves of an object at its edge, are not asked for."""


def object_centres(
    labels: NDArray[np.int32],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Label, centre and equivalent diameter of every object.

    The centre is the object's own pixel nearest to its centroid, so that it lies inside a curved
    object too.

    Parameters
    ----------
    labels
        (y, x), 0 is background; numbers need not be contiguous.

    Returns
    -------
    tuple
        labels (n,), centres (n, 2) in (y, x) pixels, diameters (n,) in pixels.
    """
    y, x = np.nonzero(labels)
    if not len(y):
        return np.zeros(0, np.int64), np.zeros((0, 2), np.int64), np.zeros(0)
    names, which = np.unique(labels[y, x], return_inverse=True)
    area = np.bincount(which)
    mean_y = np.bincount(which, y) / area
    mean_x = np.bincount(which, x) / area
    distance = (y - mean_y[which]) ** 2 + (x - mean_x[which]) ** 2
    order = np.lexsort((distance, which))
    first = order[np.concatenate([[0], np.cumsum(area)[:-1]])]
    centres = np.stack([y[first], x[first]], axis=1)
    return names.astype(np.int64), centres, 2 * np.sqrt(area / np.pi)


def drop_specks(labels: NDArray[np.int32], minimum_area: int) -> NDArray[np.int32]:
    """Copy of ``labels`` without the objects smaller than ``minimum_area`` pixels."""
    area = np.bincount(labels.ravel())
    keep = area >= minimum_area
    keep[0] = False
    return np.where(keep[labels], labels, 0).astype(np.int32)


def touching(labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels of an object within one pixel (8-neighbours) of another object."""
    padded = np.pad(labels, 1)
    out = np.zeros(labels.shape, bool)
    height, width = labels.shape
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            other = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
            out |= (other != labels) & (other > 0) & (labels > 0)
    return out


def targets_from_labels(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """(y, x) labels to (5, y, x): the channels of ``net.HEADS``, offsets in ``OFFSET_UNIT_PX``."""
    labels = drop_specks(labels, MINIMUM_AREA_PX)
    out = np.zeros((5, *labels.shape), np.float32)
    foreground = labels > 0
    out[0] = foreground
    out[4] = touching(labels)
    names, centres, diameters = object_centres(labels)
    if not len(names):
        return out
    row = np.zeros(int(labels.max()) + 1, np.int64)
    row[names] = np.arange(len(names))
    y, x = np.nonzero(foreground)
    mine = row[labels[y, x]]
    offset = centres[mine] - np.stack([y, x], axis=1)
    sigma = np.clip(CENTRE_SIGMA * diameters, *SIGMA_LIMITS_PX)[mine]
    # a hill covers its own object alone, so that close centres never merge
    out[1, y, x] = np.exp(-(offset**2).sum(1) / (2 * sigma**2))
    out[2, y, x] = offset[:, 0] / OFFSET_UNIT_PX
    out[3, y, x] = offset[:, 1] / OFFSET_UNIT_PX
    return out
