"""Crops more crowded than the data.

A set of images trains only on what it has shown. Cells are therefore copied in from other crops. In
phase contrast they fit in between, and bodies are paled, as the optics do (shade-off) when many lie
side by side; in fluorescence they touch and overlap, and light adds up.
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


def _shifted(
    image: Image, labels: Labels, rng: np.random.Generator
) -> tuple[Image, Labels, NDArray[np.integer]]:
    """Crop rolled by a random step, and the labels that the seam of the roll cuts in two."""
    height, width = labels.shape
    shift = (int(rng.integers(height)), int(rng.integers(width)))
    image, labels = np.roll(image, shift, (0, 1)), np.roll(labels, shift, (0, 1))
    rows, columns = [shift[0] - 1, shift[0]], [shift[1] - 1, shift[1]]
    return image, labels, np.union1d(labels[rows], labels[:, columns])


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
    other, other_labels, cut = _shifted(other, other_labels, rng)
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


def add_light(
    image: Image,
    labels: Labels,
    other: Image,
    other_labels: Labels,
    rng: np.random.Generator,
    brighter: float = 1.0,
) -> tuple[Image, Labels]:
    """Lay objects of another fluorescence crop over this one, so that they touch and overlap.

    Objects come ``brighter`` times as bright as the usual one here, give or take half; a pixel in
    two goes to the brighter. Objects that would cover, or be covered by, more than a fifth of their
    area stay out.

    Parameters
    ----------
    image, labels
        (y, x) crop that is added to, about 0 in the background; not written to.
    other, other_labels
        (y, x) crop of the same shape that objects are taken from, shifted at random.
    """
    other, other_labels, cut = _shifted(other, other_labels, rng)
    area = np.bincount(other_labels.ravel())
    covered = np.bincount(other_labels.ravel(), (labels > 0).ravel()) / np.maximum(area, 1)
    hidden = covered > 0.2
    hidden[0] = True
    hidden[cut] = True
    fits = ~hidden[other_labels]
    mine = np.bincount(labels.ravel())
    lost = np.bincount(labels.ravel(), fits.ravel()) / np.maximum(mine, 1)
    lost[0] = 0.0
    if not fits.any() or not (labels > 0).any() or lost.max() > 0.2:
        return image, labels
    ground = float(np.percentile(other, 10))
    bright = max(float(np.median(other[fits])) - ground, 1e-3)
    usual = max(float(np.median(image[labels > 0])) - float(np.percentile(image, 10)), 0.05)
    gain = brighter * usual / bright * float(np.exp(rng.normal(0.0, 0.4)))
    # the soft halo of an object comes along, noise of the ground between does not
    weight = np.clip(box_blur(fits.astype(np.float32), 2) * 2.0, 0.0, 1.0)
    weight[fits] = 1.0
    light = (gain * weight * np.maximum(other - ground, 0.0)).astype(np.float32)
    wins = fits & ((labels == 0) | (light > image))
    return image + light, np.where(wins, other_labels + int(labels.max()), labels).astype(np.int32)


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
