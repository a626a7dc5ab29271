"""From the mean probability inside an object to the probability that the object is right.

A network's foreground probability says how sure it is of pixels. Whether an outline holds the whole
of one object is another question, and its answer depends on how ordinary the object's size is too.
The map is Platt's (1999, "Probabilistic outputs for support vector machines"): a logistic function
of the log odds of the mean probability and of the size beside the other objects of the image. Its
three numbers are fitted on images with truth and kept in the model's card.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CLIP = 1e-3
"""Probabilities are taken to be at least this far from 0 and 1."""

F64 = NDArray[np.float64]
Segmented = tuple[NDArray[np.int32], NDArray[np.float32]]
"""Label image (y, x), 0 is background, objects 1..n; confidence (n,)."""


def evidence(mean_probability: NDArray[np.floating], area_px: NDArray[np.number]) -> F64:
    """What the map looks at: (n, 3) of 1, log odds, and |log(area / median area of the image)|.

    Both inputs are (n,), the objects of one image; areas are in pixels of any size.
    """
    chance = np.clip(np.asarray(mean_probability, np.float64), CLIP, 1 - CLIP)
    area = np.maximum(np.asarray(area_px, np.float64), 1e-9)
    usual = np.median(area) if area.size else 1.0
    odd = np.abs(np.log(area / usual))
    return np.stack([np.ones_like(chance), np.log(chance / (1 - chance)), odd], axis=1)


def calibrated(
    mean_probability: NDArray[np.floating],
    area_px: NDArray[np.number],
    numbers: Sequence[float],
) -> NDArray[np.float32]:
    """Probability that each object matches a true one at an overlap (IoU) of at least 0.5.

    Parameters
    ----------
    mean_probability
        (n,) mean foreground probability inside each object of one image.
    area_px
        (n,) their areas.
    numbers
        ``calibration`` of the model's card; without any the mean probability stays as it is.

    Returns
    -------
    (n,) float32, 0 to 1; grows with the mean probability. A new array.
    """
    if not numbers:
        return np.array(mean_probability, dtype=np.float32)
    weights = np.asarray(numbers, np.float64)
    return np.asarray(
        1.0 / (1.0 + np.exp(-evidence(mean_probability, area_px) @ weights)), np.float32
    )


def likely(found: Segmented, least: float) -> Segmented:
    """The objects with at least this confidence, numbered anew without gaps.

    Where objects that are more likely wrong than right are left out, more of what is shown is
    right, and AP = TP / (TP + FP + FN) does not fall.
    """
    labels, confidence = found
    keep = confidence >= least
    if keep.all():
        return found
    number = np.concatenate([[0], np.where(keep, np.cumsum(keep), 0)]).astype(np.int32)
    return number[labels], confidence[keep]
