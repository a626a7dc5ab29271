"""How well label images agree: objects that are right, false, missed, split and merged.

A predicted and a true object match when the intersection of their pixels is at least a given part
of the union (IoU), from 0.5 up, where no object can match two. From the counts of matched (TP),
false (FP) and missed (FN) objects, pooled over images:

- AP = TP / (TP + FP + FN), as in the Data Science Bowl 2018 (Caicedo et al., Nat Methods 2019, doi
  10.1038/s41592-019-0612-7) and in ``stardist.matching`` (there "accuracy"). Other programs call
  other formulas average precision; this one has no ranking by confidence.
- PQ = SQ x RQ (Kirillov et al., CVPR 2019): mean IoU of the matched pairs times F1.
- Split and merged objects as Caicedo et al. count them (Cytometry A 2019, doi
  10.1002/cyto.a.23863): a true object with an IoU above 0.1 with several predicted ones is split,
  and the other way round is a merge. They are counted whether or not one of the pairs matches.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.scoring.contingency import Contingency, contingency

FORMULA: Final = "AP = TP / (TP + FP + FN), objects pooled over images"
LIMITS: Final = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
"""Limits of overlap (IoU) that scores are given at."""
TOUCHES: Final = 0.1
"""Above this IoU an object has a part in a split or a merge."""

Labels = NDArray[np.integer[Any]]


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
    def precision(self) -> float:
        """TP / (TP + FP); NaN where nothing was predicted."""
        found = self.true + self.false
        return self.true / found if found else math.nan

    @property
    def recall(self) -> float:
        """TP / (TP + FN); NaN where there is nothing to find."""
        there = self.true + self.missed
        return self.true / there if there else math.nan

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN), the recognition quality RQ."""
        every = 2 * self.true + self.false + self.missed
        return 2 * self.true / every if every else 1.0

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the matched pairs, the segmentation quality SQ; NaN without any."""
        return self.overlap / self.true if self.true else math.nan

    @property
    def panoptic(self) -> float:
        """Panoptic quality: mean overlap of the matched times F1."""
        return (self.overlap / self.true if self.true else 1.0) * self.f1


@dataclass(frozen=True, slots=True)
class InstanceScores:
    """Agreement of one image, or of several pooled."""

    at: tuple[Agreement, ...]
    """One for each limit of overlap, in the order asked for."""
    split: int
    """True objects that several predicted ones have a part in."""
    merged: int
    """Predicted objects that have a part in several true ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Fates:
    """What became of each object, in ascending order of label; the arrays of a side go together.

    An object may be right and in a split or a merge at once: the piece that holds most of the
    true object is.
    """

    pred_labels: NDArray[np.int64]  # (n_pred,)
    pred_right: NDArray[np.bool_]  # matches a true object
    pred_split: NDArray[np.bool_]  # a piece of a true object that is split
    pred_merged: NDArray[np.bool_]  # joins several true objects
    true_labels: NDArray[np.int64]  # (n_true,)
    true_found: NDArray[np.bool_]  # is matched
    true_split: NDArray[np.bool_]  # several predicted objects have a part in it
    true_merged: NDArray[np.bool_]  # one of several that a predicted object joins


def overlaps(pred: Labels, truth: Labels) -> NDArray[np.float64]:
    """Intersection over union of every predicted (rows) with every true object (columns).

    Raises
    ------
    ValueError
        When the images differ in shape, or hold negative labels.
    """
    common = contingency(pred, truth)
    iou = np.zeros((common.pred_labels.size, common.true_labels.size))
    iou[common.row, common.column] = common.iou
    return iou


def matches(pred: Labels, truth: Labels, iou: float = 0.5) -> NDArray[np.bool_]:
    """Which predicted objects are right.

    Parameters
    ----------
    pred, truth
        (y, x) label images of one shape, 0 is background.
    iou
        Least intersection over union of a match, 0.5 to 1.

    Returns
    -------
    NDArray[np.bool_]
        (n_pred,) in ascending order of the labels that occur in ``pred``, so that entry k belongs
        to label k + 1 where labels count from 1 without a gap.
    """
    _check_limits((iou,))
    common = contingency(pred, truth)
    right = np.zeros(common.pred_labels.size, np.bool_)
    pairs = _matched(common)
    right[common.row[pairs[common.iou[pairs] >= iou]]] = True
    return right


def compare(pred: Labels, truth: Labels, limits: Sequence[float] = LIMITS) -> InstanceScores:
    """Score one image.

    Parameters
    ----------
    pred, truth
        (y, x) label images of one shape, 0 is background.
    limits
        Limits of overlap, each 0.5 to 1: only from 0.5 on can an object match one other alone.
    """
    _check_limits(limits)
    common = contingency(pred, truth)
    n_pred, n_true = common.pred_labels.size, common.true_labels.size
    values = common.iou[_matched(common)]
    at = []
    for limit in limits:
        hits = values[values >= limit]
        at.append(
            Agreement(limit, hits.size, n_pred - hits.size, n_true - hits.size, float(hits.sum()))
        )
    in_pred, in_true = _parts(common)
    return InstanceScores(
        tuple(at), int(np.count_nonzero(in_true > 1)), int(np.count_nonzero(in_pred > 1))
    )


def pooled(scores: Iterable[InstanceScores], limits: Sequence[float] = LIMITS) -> InstanceScores:
    """Counts added up over images, so that each object weighs the same.

    ``limits`` are those that every one of ``scores`` was made with.
    """
    true, false, missed, shared = ([0.0] * len(limits) for _ in range(4))
    split = merged = 0
    for one in scores:
        if tuple(a.iou for a in one.at) != tuple(limits):
            got = ", ".join(f"{a.iou:g}" for a in one.at)
            raise ValueError(f"scores at limits {got} cannot be pooled at {limits}")
        for k, a in enumerate(one.at):
            true[k] += a.true
            false[k] += a.false
            missed[k] += a.missed
            shared[k] += a.overlap
        split += one.split
        merged += one.merged
    at = zip(limits, true, false, missed, shared, strict=True)
    return InstanceScores(
        tuple(Agreement(i, int(t), int(f), int(m), s) for i, t, f, m, s in at), split, merged
    )


def agreement(
    pairs: Iterable[tuple[Labels, Labels]], limits: Sequence[float] = LIMITS
) -> list[Agreement]:
    """Agreement at each limit, pooled over (predicted, true) label images."""
    _check_limits(limits)
    return list(pooled((compare(*pair, limits) for pair in pairs), limits).at)


def fates(pred: Labels, truth: Labels, iou: float = 0.5) -> Fates:
    """What became of each object at one limit of overlap; for pictures and lists of errors."""
    _check_limits((iou,))
    common = contingency(pred, truth)
    pairs = _matched(common)
    pairs = pairs[common.iou[pairs] >= iou]
    in_pred, in_true = _parts(common)
    touching = common.iou > TOUCHES
    row, column = common.row[touching], common.column[touching]
    pred_right, pred_split = (np.zeros(in_pred.size, np.bool_) for _ in range(2))
    true_found, true_merged = (np.zeros(in_true.size, np.bool_) for _ in range(2))
    pred_right[common.row[pairs]] = True
    true_found[common.column[pairs]] = True
    pred_split[row[in_true[column] > 1]] = True
    true_merged[column[in_pred[row] > 1]] = True
    return Fates(
        common.pred_labels, pred_right, pred_split, in_pred > 1,
        common.true_labels, true_found, in_true > 1, true_merged,
    )  # fmt: skip


def _check_limits(limits: Sequence[float]) -> None:
    if not limits or not 0.5 <= min(limits) <= max(limits) <= 1.0:
        got = ", ".join(f"{limit:g}" for limit in limits) or "none"
        raise ValueError(f"limits of overlap are 0.5 to 1, got {got}")


def _matched(common: Contingency) -> NDArray[np.intp]:
    """Pairs with an IoU of at least 0.5, each object in one of them alone.

    At higher limits the matched pairs are those of these that reach the limit: above 0.5 there is
    never a choice. At exactly 0.5 an object can be twice its partner, in two halves that both
    qualify; one of them counts, which of them makes no difference to any score.
    """
    pairs = np.flatnonzero(common.iou >= 0.5)
    for side in (common.row, common.column):
        _, first = np.unique(side[pairs], return_index=True)
        pairs = pairs[first]
    return pairs


def _parts(common: Contingency) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """How many objects of the other side each (predicted, true) object has a part in."""
    touching = common.iou > TOUCHES
    return (
        np.bincount(common.row[touching], minlength=common.pred_labels.size),
        np.bincount(common.column[touching], minlength=common.true_labels.size),
    )
