"""Which parts of an image an answer rests on: cover a patch, and see what the answer loses.

Occlusion sensitivity (Zeiler & Fergus, ECCV 2014, doi 10.1007/978-3-319-10590-1_53) asks nothing
of the inside of a network, so it explains any network in any engine. Pure arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ImageError

F32 = NDArray[np.float32]

Predict = Callable[[F32], NDArray[np.floating[Any]]]
"""Crops (m, channels, y, x) to probabilities (m, classes)."""

Label = Callable[[F32], NDArray[np.int32]]
"""Image (y, x) to label image (y, x), 0 is background; numbers may have gaps."""

BATCH = 64
"""Most crops that are handed to a network at once."""


def class_occlusion(
    crop: F32,
    predict: Predict,
    class_id: int,
    fill: NDArray[np.floating[Any]] | float = 0.0,
    patch_px: int = 8,
    step_px: int = 4,
) -> F32:
    """How much probability a class loses when a patch of the crop is covered.

    Parameters
    ----------
    crop
        (channels, y, x) as the classifier takes it.
    predict
        The classifier.
    class_id
        Column of what ``predict`` gives.
    fill
        What a patch is covered with: one number, or (channels,) of them. NaN leaves a channel be.
    patch_px, step_px
        Side of a patch, and how far the next one is.

    Returns
    -------
    (y, x) float32: mean loss over the patches that cover a pixel; below 0 where covering helps.
    """
    if crop.ndim != 3:
        raise ImageError(f"got a crop of {crop.shape}, need (channels, y, x)")
    colour = np.broadcast_to(np.asarray(fill, np.float32), (len(crop),))
    covered = ~np.isnan(colour)
    whole = float(predict(crop[None])[0, class_id])
    loss, count = np.zeros(crop.shape[1:]), np.zeros(crop.shape[1:])
    patches = list(patches_of((crop.shape[1], crop.shape[2]), patch_px, step_px))
    for start in range(0, len(patches), BATCH):
        some = patches[start : start + BATCH]
        batch = np.repeat(crop[None], len(some), axis=0)
        for one, patch in zip(batch, some, strict=True):
            one[(covered, *patch)] = colour[covered, None, None]
        left = predict(batch)[:, class_id]
        for patch, value in zip(some, left, strict=True):
            loss[patch] += whole - float(value)
            count[patch] += 1
    return np.asarray(loss / np.maximum(count, 1), np.float32)


def object_occlusion(
    image: F32,
    label: Label,
    mask: NDArray[np.bool_],
    fill: float,
    patch_px: int = 12,
    step_px: int = 6,
) -> F32:
    """How much of one object's outline changes when a patch of the image is covered.

    Parameters
    ----------
    image
        (y, x) around the object.
    label
        The segmentation.
    mask
        (y, x) the object as it was found.
    fill
        What a patch is covered with: the counts of the background.
    patch_px, step_px
        Side of a patch, and how far the next one is.

    Returns
    -------
    (y, x) float32, 0 to 1: 1 less the best overlap (IoU) of an object found in the covered image
    with the one found in the image as it is, the mean over the patches that cover a pixel.
    """
    if image.shape != mask.shape or image.ndim != 2:
        raise ImageError(f"image {image.shape} and mask {mask.shape} must both be one (y, x)")
    # part of an image is not labelled quite as the whole: what covering changes is counted alone
    here = label(image)
    number = best_match(here, mask)
    known = here == number if number else mask
    change, count = np.zeros(image.shape), np.zeros(image.shape)
    for patch in patches_of((image.shape[0], image.shape[1]), patch_px, step_px):
        covered = image.copy()
        covered[patch] = fill
        change[patch] += 1.0 - best_overlap(label(covered), known)
        count[patch] += 1
    return np.asarray(change / np.maximum(count, 1), np.float32)


def best_overlap(labels: NDArray[np.int32], mask: NDArray[np.bool_]) -> float:
    """Largest overlap (IoU) of any object of a label image with a mask, both (y, x)."""
    return float(_overlaps(labels, mask).max(initial=0.0))


def best_match(labels: NDArray[np.int32], mask: NDArray[np.bool_]) -> int:
    """Label of the object that overlaps a mask best; 0 where none does."""
    iou = _overlaps(labels, mask)
    return int(iou.argmax()) if iou.max(initial=0.0) > 0 else 0


def _overlaps(labels: NDArray[np.int32], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """IoU of each label with a mask; [0] is the background's, 0."""
    shared = np.bincount(labels[mask], minlength=1)
    shared[0] = 0
    area = np.bincount(labels.ravel(), minlength=len(shared))[: len(shared)]
    return np.asarray(shared / np.maximum(area + mask.sum() - shared, 1))


def patches_of(
    shape: tuple[int, int], patch_px: int, step_px: int
) -> Iterator[tuple[slice, slice]]:
    """Squares that together cover an image (y, x) wholly; the last ones end with it."""
    if not 1 <= step_px <= patch_px:
        raise ImageError(f"step_px is {step_px}; need 1 to patch_px, which is {patch_px}")

    def starts(length: int) -> list[int]:
        last = max(length - patch_px, 0)
        return sorted({*range(0, last + 1, step_px), last})

    for y in starts(shape[0]):
        for x in starts(shape[1]):
            yield slice(y, y + patch_px), slice(x, x + patch_px)
