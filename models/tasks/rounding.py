"""Whole counts that keep the mean: a dim, smooth area must not jump to the next count.

Where a pixel has but a few counts, rounding each by itself moves the mean of a denoised area by
some per cent, as there is no noise left to even it out. So in each block as many pixels are rounded
the other way, those nearest to the middle between two counts, as its sum asks for: of all ways that
keep the sum, the one with the least squared error.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_PX = 8

DIM = 64.0
"""Counts up to which half a count matters: above, it is below 1 %."""


def to_counts(image: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Image (y, x) in whole counts of ``dtype`` (uint8 or uint16); a new array.

    The sum of each dim block of 8 x 8 pixels is kept to half a count.
    """
    top = float(np.iinfo(dtype).max)
    exact = np.clip(image, 0.0, top)
    whole = np.rint(exact)
    height, width = (length // BLOCK_PX * BLOCK_PX for length in image.shape)
    if height and width:
        _keep_sums(exact[:height, :width], whole[:height, :width])
    return whole.astype(dtype)


def _keep_sums(exact: NDArray[np.float32], whole: NDArray[np.float32]) -> None:
    """Change ``whole`` in place; both of whole blocks."""
    shape = (exact.shape[0] // BLOCK_PX, BLOCK_PX, exact.shape[1] // BLOCK_PX, BLOCK_PX)
    rows, columns = np.nonzero(exact.reshape(shape)[:, ::4, :, ::4].mean(axis=(1, 3)) < DIM)
    if not len(rows):  # as in most 16-bit images, so nothing is spent on them
        return
    off = (exact - whole).reshape(shape)
    missing = np.rint(off.sum(axis=(1, 3))).astype(np.intp)[rows, columns]
    rows, columns, count = (part[missing != 0] for part in (rows, columns, missing))
    if not len(count):
        return
    turn = np.where(count > 0, 1.0, -1.0).astype(np.float32)
    # what is farthest from its whole count, on the side that is missing, costs least to turn over
    part = off[rows, :, columns, :].reshape(len(rows), -1) * turn[:, None]
    order = np.sort(part, axis=1)
    limit = order[np.arange(len(rows)), BLOCK_PX**2 - np.abs(count)]
    # a pixel on its whole count is never turned over: that would cost more than it gives
    over = (part >= limit[:, None]) & (part > 0)
    change = (over * turn[:, None]).reshape(-1, BLOCK_PX, BLOCK_PX)
    whole.reshape(shape)[rows, :, columns, :] += change
