"""A network run over a turned image: what it finds there, brought back to the image's own sense.

A network has no reason to prefer left to right, so where it answers a flipped image otherwise, it
is not sure (test-time augmentation as a measure of uncertainty: Wang et al., Neurocomputing 2019,
arXiv 1807.07356; here one flip in place of many, as it must be fast).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.scoring.contingency import contingency
from models.tasks.light import without_hot_pixels
from models.tasks.network import LIMITS, SMALLEST, Limits, NetworkSegmenter
from models.tasks.resize import resize_image, resize_labels

Flip = Literal["left-right", "up-down", "none"]


@dataclass(frozen=True, slots=True, eq=False)
class SecondLook:
    """What the network found in one image at one scale. All arrays are (y, x) of that scale."""

    scale: float
    """Network pixels to a camera pixel."""
    image: NDArray[np.float32]
    """Camera counts as the network saw them."""
    labels: NDArray[np.int32]
    """0 is background; numbers have gaps."""
    probability: NDArray[np.float32]
    """Of being in an object."""


def look_again(
    segmenter: NetworkSegmenter,
    pixels: NDArray[Any],
    scale: float,
    flip: Flip = "left-right",
    limits: Limits | None = None,
) -> SecondLook:
    """Run a segmenter's network once over a flipped image at a scale, nothing remembered.

    Parameters
    ----------
    segmenter
        Open; its remembered scale does not change.
    pixels
        (y, x) camera counts; not written to.
    scale
        Network pixels to a camera pixel, as ``segmenter.scale`` gives it after ``segment``.
    flip
        How the image is turned before the network sees it.
    limits
        (2,) counts that become 0 and 1 where ``pixels`` cannot tell, being part of an image.

    Raises
    ------
    EngineError
        When the segmenter is not open, or its engine fails.
    """
    height, width = (max(round(length * scale), 1) for length in pixels.shape)
    # what is not in whole counts was changed since the camera, and was cleaned before that
    clean = without_hot_pixels(pixels) if pixels.dtype.kind == "u" else pixels
    image = resize_image(clean, (height, width))
    turned = np.ascontiguousarray(_flipped(image, flip))
    given = limits if LIMITS in segmenter._opened().inputs else None
    found, chance = segmenter._run(turned, given, segmenter._centre(True))
    labels, probability = _flipped(found, flip), _flipped(chance, flip)
    return SecondLook(scale, image, np.ascontiguousarray(labels), np.ascontiguousarray(probability))


def _flipped(image: NDArray[Any], flip: Flip) -> NDArray[Any]:
    if flip == "none":
        return image
    return image[:, ::-1] if flip == "left-right" else image[::-1]


@dataclass(frozen=True, slots=True, eq=False)
class Accord:
    """How two labellings of one image agree."""

    labels: NDArray[np.int64]
    """(n,) objects of the first that are in the image."""
    first: NDArray[np.float64]
    """(n,) for each of them the best overlap (IoU) with one of the second."""
    second: NDArray[np.float64]
    """(m,) the other way round."""

    @property
    def disagreement(self) -> float:
        """1 less the mean of all best overlaps; 0 where neither found anything."""
        both = np.concatenate([self.first, self.second])
        return 1.0 - float(both.mean()) if both.size else 0.0


def accord(labels: NDArray[np.int32], look: SecondLook) -> Accord:
    """Best overlap of each object of a label image (y, x, camera pixels) with a second look.

    Specks of the second look, which the first leaves out, are no objection.
    """
    shape = (labels.shape[0], labels.shape[1])
    common = contingency(labels, resize_labels(look.labels, shape))
    first = np.zeros(common.pred_labels.size)
    second = np.zeros(common.true_labels.size)
    np.maximum.at(first, common.row, common.iou)
    np.maximum.at(second, common.column, common.iou)
    if second.size:
        second = second[common.true_px >= SMALLEST * np.median(common.true_px)]
    return Accord(common.pred_labels, first, second)
