"""How good probabilities of classes are: confusion, balanced accuracy, calibration. NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10
ECE_FORMULA = (
    f"Expected calibration error: objects are put into {BINS} equal bins by the probability of the "
    "class chosen; the error is the mean over bins of |share that is right - mean probability|, "
    "each bin weighted by its objects, each class with the same weight in all"
)
_STRAY_LOG = 0.5
"""Temperatures are expected within a factor of 1.65; few examples cannot speak against it."""

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ClassFigures:
    """How a network did on examples of known class."""

    classes: tuple[str, ...]
    confusion: NDArray[np.int64]
    """(true, found) numbers of objects."""
    bins: F64
    """(BINS, 3) share of all weight, mean probability and share right in each bin."""

    @property
    def objects(self) -> int:
        """How many examples."""
        return int(self.confusion.sum())

    @property
    def recall(self) -> F64:
        """(classes,) share found of each class; NaN for a class without examples."""
        total = self.confusion.sum(axis=1)
        return np.where(total > 0, np.diag(self.confusion) / np.maximum(total, 1), np.nan)

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes that there are examples of."""
        return float(np.nanmean(self.recall)) if self.objects else float("nan")

    @property
    def calibration_error(self) -> float:
        """As ``ECE_FORMULA`` says."""
        share, mean, right = self.bins.T
        return float((share * np.abs(right - mean)).sum())


def class_figures(
    probability: NDArray[np.floating], target: NDArray[np.integer], classes: Sequence[str]
) -> ClassFigures:
    """Figures of (n, classes) probabilities for (n,) true classes."""
    found, top = probability.argmax(axis=1), probability.max(axis=1).astype(np.float64)
    k = len(classes)
    confusion = np.bincount(target * k + found, minlength=k * k).reshape(k, k).astype(np.int64)
    number = np.bincount(target, minlength=k)
    weight = 1 / np.maximum(number[target], 1) / max(int((number > 0).sum()), 1)
    which = np.minimum((top * BINS).astype(np.intp), BINS - 1)
    share, mean, right = (
        np.bincount(which, weight * value, minlength=BINS)
        for value in (np.ones_like(top), top, (found == target).astype(np.float64))
    )
    safe = np.maximum(share, 1e-12)
    return ClassFigures(tuple(classes), confusion, np.stack([share, mean / safe, right / safe], 1))


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> F64:
    """(n, classes) probabilities of logits divided by a temperature."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    each = np.exp(scaled)
    return np.asarray(each / each.sum(axis=1, keepdims=True))


def fit_temperature(logits: NDArray[np.floating], target: NDArray[np.integer]) -> float:
    """The temperature of least cross entropy (Guo et al. 2017), classes weighing alike.

    A weak prior keeps it near 1 where examples are few: without errors among them any lower
    temperature would fit better, down to certainty.
    """
    candidates = np.exp(np.linspace(np.log(0.25), np.log(8), 141))
    number = np.bincount(target)
    weight = len(target) / (number[target] * np.count_nonzero(number))
    rows = np.arange(len(target))

    def cost(temperature: float) -> float:
        probability = softmax(logits, temperature)[rows, target]
        surprise = -np.log(np.maximum(probability, 1e-12))
        return float((weight * surprise).sum() + (np.log(temperature) / _STRAY_LOG) ** 2 / 2)

    return float(min(candidates, key=cost))


def crossfitted(logits: NDArray[np.floating], target: NDArray[np.integer]) -> F64:
    """Probabilities of each half of the examples at the temperature of the other half.

    So the calibration error of the result is not that of the examples that the temperature was
    fitted to. Every other example of each class goes into the same half.
    """
    order = np.empty(len(target), np.intp)
    for k in np.unique(target):
        order[target == k] = np.arange(int((target == k).sum()))
    first = order % 2 == 0
    out = np.empty(logits.shape, np.float64)
    for half in (first, ~first):
        temperature = fit_temperature(logits[~half], target[~half]) if (~half).any() else 1.0
        out[half] = softmax(logits[half], temperature)
    return out


def confusion_table(figures: ClassFigures) -> str:
    """Confusion as a Markdown table: a row for each true class."""
    head = "| true \\ found | " + " | ".join(figures.classes) + " | recall |"
    rule = "| --- |" + " --- |" * (len(figures.classes) + 1)
    rows = [
        f"| {name} | {' | '.join(str(value) for value in line)} | {recall:.3f} |"
        for name, line, recall in zip(
            figures.classes, figures.confusion, figures.recall, strict=True
        )
    ]
    return "\n".join([head, rule, *rows])
