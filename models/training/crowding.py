"""Crops more crowded than the data: phase contrast pales in the middle of a colony.

A movie of a colony trains only on what it has shown. Cells are therefore copied in from other
crops, and bodies are paled, as the optics do (shade-off) when many lie side by side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Labels = NDArray[np.int32]


def box_blur(image: Image, radius: int, passes: int = 2) -> Image:
    """Repeated box blur of (y, x) with edges repeated; two passes are near a Gaussian."""
    size = 2 * radius + 1
    out = image
    for _ in range(passes):
        for axis in (0, 1):
            pad = [(0, 0), (0, 0)]
            pad[axis] = (radius + 1, radius)
            sums = np.cumsum(np.pad(out, pad, mode="edge"), axis=axis, dtype=np.float64)
            high = np.take(sums, np.arange(size, sums.shape[axis]), axis=axis)
            low = np.take(sums, np.arange(sums.shape[axis] - size), axis=axis)
            out = ((high - low) / size).astype(np.float32)
    return out


def paste(
    image: Image, labels: Labels, other: Image, other_labels: Labels, rng: np.random.Generator
) -> tuple[Image, Labels]:
    """Copy those objects of another crop that fit in between, each with its rim.

    Parameters
    ----------
    image, labels
        (y, x) crop that is added to; not written to.
    other, other_labels
        (y, x) crop of the same shape that objects are taken from, shifted at random.
    """
    height, width = labels.shape
    shift = (int(rng.integers(height)), int(rng.integers(width)))
    other, other_labels = np.roll(other, shift, (0, 1)), np.roll(other_labels, shift, (0, 1))
    # the seam of the shift would cut objects in two
    cut = np.unique(
        np.concatenate([
            other_labels[shift[0]], other_labels[shift[0] - 1],
            other_labels[:, shift[1]], other_labels[:, shift[1] - 1],
        ])
    )  # fmt: skip
    near = box_blur((labels > 0).astype(np.float32), 1, 1) > 0.01
    taken = np.union1d(np.unique(other_labels[near]), cut)
    fits = (other_labels > 0) & ~np.isin(other_labels, taken)
    if not fits.any():
        return image, labels
    weight = np.clip(box_blur(fits.astype(np.float32), 2) * 2.0, 0.0, 1.0)
    weight[labels > 0] = 0.0
    weight[fits] = 1.0
    mixed = (weight * other + (1.0 - weight) * image).astype(np.float32)
    return mixed, np.where(fits, other_labels + int(labels.max()), labels).astype(np.int32)


def pale(image: Image, labels: Labels, rng: np.random.Generator) -> Image:
    """Lift bodies towards their surroundings: each by its own amount, more where it is crowded."""
    inside = labels > 0
    if not inside.any():
        return image
    ids, which = np.unique(labels, return_inverse=True)
    own = rng.uniform(0.0, 0.7, len(ids)) ** 1.5
    crowd = box_blur(inside.astype(np.float32), int(rng.integers(8, 20)))
    lift = own[which.reshape(labels.shape)] * rng.uniform(0.2, 1.0)
    lift = lift + rng.uniform(0.0, 1.0) * np.clip(crowd - 0.3, 0.0, 1.0)
    grain = box_blur(rng.standard_normal(labels.shape).astype(np.float32), 2)
    lift = np.clip(lift * (1.0 + rng.uniform(0.0, 3.0) * grain), 0.0, 0.85)
    # the lift fades at the rim, so that bodies keep a dark outline
    lift = np.where(inside, lift, 0.0).astype(np.float32)
    lift = np.minimum(box_blur(lift.astype(np.float32), 1), lift)
    around = float(np.median(image[~inside])) if (~inside).any() else 1.0
    return np.asarray(image + lift * (around - image), dtype=np.float32)
