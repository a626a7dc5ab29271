"""How well label images agree: counts of matched objects at a limit of overlap.

AP = TP / (TP + FP + FN), pooled over images, as in the Data Science Bowl 2018 and in
``stardist.matching`` (there "accuracy"). Other programs call other formulas average precision.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FORMULA = "AP = TP / (TP + FP + FN), objects pooled over images"


@dataclass(frozen=True, slots=True)
class Agreement:
    """Objects found, false and missed at one limit of intersection over union."""

    iou: float
    true: int
    false: int
    missed: int
    overlap: float
    """Sum of the intersections over union of the matched pairs."""

    @property
    def ap(self) -> float:
        """TP / (TP + FP + FN); 1 where there is nothing to find and nothing was found."""
        every = self.true + self.false + self.missed
        return self.true / every if every else 1.0

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN)."""
        every = 2 * self.true + self.false + self.missed
        return 2 * self.true / every if every else 1.0

    @property
    def panoptic(self) -> float:
        """Panoptic quality: mean overlap of the matched times F1."""
        return (self.overlap / self.true if self.true else 1.0) * self.f1


def overlaps(pred: NDArray[np.integer], truth: NDArray[np.integer]) -> NDArray[np.float64]:
    """Intersection over union of every predicted (rows) with every true object (columns).

    Raises
    ------
    ValueError
        When the images differ in shape.
    """
    if pred.shape != truth.shape:
        raise ValueError(f"label images differ in shape: {pred.shape} and {truth.shape}")
    _, p = np.unique(pred, return_inverse=True)
    _, t = np.unique(truth, return_inverse=True)
    p = p.ravel() + (0 if (pred == 0).any() else 1)
    t = t.ravel() + (0 if (truth == 0).any() else 1)
    rows, columns = int(p.max(initial=0)) + 1, int(t.max(initial=0)) + 1
    both = np.bincount(p * columns + t, minlength=rows * columns).reshape(rows, columns)
    union = both.sum(1)[:, None] + both.sum(0)[None, :] - both
    return np.asarray(both[1:, 1:] / np.maximum(union[1:, 1:], 1), dtype=np.float64)


def agreement(
    pairs: Iterable[tuple[NDArray[np.integer], NDArray[np.integer]]],
    limits: tuple[float, ...] = (0.5, 0.6, 0.7, 0.75, 0.8, 0.9),
) -> list[Agreement]:
    """Agreement at each limit, pooled over (predicted, true) label images.

    Limits below 0.5 are refused: only from there on can an object match one other alone.
    """
    if min(limits) < 0.5:
        raise ValueError(f"limits of overlap start at 0.5, got {min(limits)}")
    true, false, missed = ([0] * len(limits) for _ in range(3))
    shared = [0.0] * len(limits)
    for pred, truth in pairs:
        iou = overlaps(pred, truth)
        for k, limit in enumerate(limits):
            # at exactly 0.5 two halves could match one object: each row and column counts once
            hit = np.argwhere(iou >= limit)
            order = np.argsort(-iou[tuple(hit.T)], kind="stable")
            rows: set[int] = set()
            columns: set[int] = set()
            for row, column in hit[order]:
                if row not in rows and column not in columns:
                    rows.add(int(row))
                    columns.add(int(column))
                    shared[k] += float(iou[row, column])
            true[k] += len(rows)
            false[k] += iou.shape[0] - len(rows)
            missed[k] += iou.shape[1] - len(rows)
    return [
        Agreement(limit, true[k], false[k], missed[k], shared[k]) for k, limit in enumerate(limits)
    ]
