"""Which objects of two label images share pixels, and how many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_TABLE: Final = 1 << 22
"""Longest counting table (32 MB) for values that the number of pixels does not bound."""


@dataclass(frozen=True, slots=True, eq=False)
class Contingency:
    """Sizes of the objects of two label images, and the pairs that share at least one pixel.

    Memory goes with the number of objects and pairs, not with their product.
    """

    pred_labels: NDArray[np.int64]  # (n_pred,) ascending, background left out
    pred_px: NDArray[np.int64]  # (n_pred,) pixels of each
    true_labels: NDArray[np.int64]  # (n_true,)
    true_px: NDArray[np.int64]  # (n_true,)
    row: NDArray[np.intp]  # (pairs,) place in pred_labels, ascending
    column: NDArray[np.intp]  # (pairs,) place in true_labels
    shared_px: NDArray[np.int64]  # (pairs,) pixels that belong to both
    iou: NDArray[np.float64]  # (pairs,) shared pixels over those of either


def contingency(pred: NDArray[np.integer[Any]], truth: NDArray[np.integer[Any]]) -> Contingency:
    """Count the pixels that objects share.

    Parameters
    ----------
    pred, truth
        Label images of one shape, any number of axes, 0 is background.

    Raises
    ------
    ValueError
        When the images differ in shape, hold no whole numbers, or negative ones.
    """
    if pred.shape != truth.shape:
        raise ValueError(f"label images differ in shape: {pred.shape} and {truth.shape}")
    p, pred_labels, pred_px = _numbered(pred)
    t, true_labels, true_px = _numbered(truth)
    both = np.flatnonzero((p > 0) & (t > 0))
    width = max(true_labels.size, 1)
    key = (p[both] - 1) * width + (t[both] - 1)
    pair, shared = _counted(key)
    row, column = np.divmod(pair, width)
    union = pred_px[row] + true_px[column] - shared
    return Contingency(
        pred_labels, pred_px, true_labels, true_px, row, column, shared, shared / union
    )


def _numbered(
    labels: NDArray[np.integer[Any]],
) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.int64]]:
    """Place of each pixel's label from 1 (0 is background), the labels, and pixels of each."""
    if labels.dtype.kind not in "iub":
        raise ValueError(f"a label image holds whole numbers, got {labels.dtype}")
    flat = labels.ravel()
    if flat.size and int(flat.min()) < 0:
        raise ValueError(f"a label image has no negative labels, got {int(flat.min())}")
    if int(flat.max(initial=0)) <= max(_TABLE, flat.size):
        flat = flat.astype(np.intp)
        count = np.bincount(flat, minlength=1)
        count[0] = 0
        found = np.flatnonzero(count)
        place = np.zeros(count.size, np.intp)
        place[found] = np.arange(1, found.size + 1)
        return place[flat], found.astype(np.int64), count[found]
    found, place, count = np.unique(flat, return_inverse=True, return_counts=True)
    ground = int(found[0] == 0)
    return place + (1 - ground), found[ground:].astype(np.int64), count[ground:]


def _counted(key: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Values that occur, ascending, and how often; by table while one is small enough."""
    if int(key.max(initial=0)) > max(_TABLE, 4 * key.size):
        return np.unique(key, return_counts=True)
    count = np.bincount(key)
    found = np.flatnonzero(count)
    return found, count[found]
