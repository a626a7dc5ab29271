"""What would spoil the light of an image for a network: hot pixels, and a bead that outshines all.

A network sees counts between two percentiles of the image. Hot pixels and beads are no part of the
sample, yet they can be what the upper percentile falls on, and then the cells lie in the dark.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (1.0, 99.8)
"""What the network's graph calls dark and bright."""

STRIDE_PX = 4
"""Percentiles look at every such row and column at most, as those of the graph do."""

HOT_RANGE = 2.0
"""A hot pixel is this many ranges of the image without single pixels above its bright end."""

HOT_CONTRAST = 0.2
"""Its neighbours reach no more than this part of its height; those of any imaged point do."""

HOT_FRACTION = 0.05
"""More than this part of the pixels is no fault of the camera, but what the image is made of."""

SAMPLES = 65_536
"""Pixels, about, that percentiles of a large image are taken of."""

SITES = 16_384
"""Places, about, at which the image without its single pixels is looked at."""

OUTSHONE = 60.0
"""A network still finds cells this much dimmer than the brightest thing; below, it needs help."""

GLOW_PX = 8
"""What lies this near to a bead is lit by it."""

BEADS_FRACTION = 0.5
"""Where the bright things and their glow fill more than this, they are the sample."""

STRUCTURE = 8.0
"""Beneath the beads there is something if it rises above its ground by this many times the noise of
a mean over a block; a dark field with noise alone stays below."""

BLOCK_PX = 8


def without_hot_pixels(pixels: NDArray[Any]) -> NDArray[Any]:
    """Image with the median of their neighbours in place of single pixels that outshine all else.

    Parameters
    ----------
    pixels
        (y, x) uint8 or uint16 camera counts; not written to.

    Returns
    -------
    NDArray
        The same array where no pixel is hot, else a copy; as ``pixels``.
    """
    if min(pixels.shape) < 3:
        return pixels
    step = max(math.isqrt(pixels.size // SITES), 1)
    height, width = pixels.shape
    around = np.stack(
        [
            pixels[dy : height - 2 + dy : step, dx : width - 2 + dx : step]
            for dy in range(3)
            for dx in range(3)
        ]
    )
    low, high = np.percentile(np.partition(around, 4, axis=0)[4], PERCENTILES)
    limit = high + HOT_RANGE * max(high - low, 1.0)
    if limit >= np.iinfo(pixels.dtype).max:
        return pixels
    bright = np.flatnonzero(pixels > limit)
    if not 0 < len(bright) <= HOT_FRACTION * pixels.size:
        return pixels
    y, x = np.divmod(bright, width)
    near = np.stack(
        [
            pixels[np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)]
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
            if dy or dx
        ]
    )
    usual = np.partition(near, 3, axis=0)[3]
    hot = usual - low < HOT_CONTRAST * (pixels[y, x] - low)
    if not hot.any():
        return pixels
    mended = pixels.copy()
    mended[y[hot], x[hot]] = usual[hot]
    return mended


def limits_of(sample: NDArray[Any]) -> NDArray[np.float32]:
    """Counts that become 0 and 1: (2,) float32, as the graph finds them in a whole image.

    ``sample`` is every `STRIDE_PX`-th row and column of the image that the network sees.
    """
    return np.asarray(np.percentile(sample, PERCENTILES, method="nearest"), dtype=np.float32)


def limits_beneath(pixels: NDArray[Any]) -> NDArray[np.float32] | None:
    """Counts that become 0 and 1 when a few things that outshine all others are left aside.

    Parameters
    ----------
    pixels
        (y, x) uint8 or uint16 camera counts without hot pixels.

    Returns
    -------
    NDArray[np.float32] or None
        (2,); None where nothing outshines the rest, or there is no rest to see.
    """
    stride = max(STRIDE_PX, math.isqrt(pixels.size // SAMPLES))
    sample = pixels[::stride, ::stride]
    low, high = np.percentile(sample, PERCENTILES, method="nearest").astype(np.float64)
    bright = sample > low + (high - low) / OUTSHONE
    if high <= low or not 0 < np.count_nonzero(bright) <= BEADS_FRACTION * bright.size:
        return None
    rest = sample[~_grown(bright, -(-GLOW_PX // stride))]
    if rest.size < (1 - BEADS_FRACTION) * bright.size:
        return None
    top = float(np.percentile(rest, PERCENTILES[1], method="nearest"))
    if top <= low or not _structured(pixels, low + (high - low) / OUTSHONE):
        return None
    return np.array([low, top], np.float32)


def _structured(pixels: NDArray[Any], ceiling: float) -> bool:
    """Whether blocks without anything above the ceiling differ by more than noise."""
    height, width = (length // BLOCK_PX * BLOCK_PX for length in pixels.shape)
    if not height or not width:
        return False
    blocks = pixels[:height, :width].reshape(
        height // BLOCK_PX, BLOCK_PX, width // BLOCK_PX, BLOCK_PX
    )
    dark = ~_grown(blocks.max(axis=(1, 3)) > ceiling, max(GLOW_PX // BLOCK_PX, 1))
    if not dark.any():
        return False
    mean = blocks.mean(axis=(1, 3), dtype=np.float64)[dark]
    step = np.abs(np.diff(blocks.astype(np.int32), axis=3)).mean(axis=(1, 3))[dark]
    # mean step between neighbours to standard deviation of a mean over the block, at least as
    # large as that of whole counts
    noise = max(float(np.median(step)) * 0.886, 0.3) / BLOCK_PX
    ground, top = np.percentile(mean, (50.0, PERCENTILES[1]))
    return bool(top - ground > STRUCTURE * noise)


def _grown(mask: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    """Mask (y, x) with all that lies within ``by`` rows and columns of it."""
    for axis in (0, 1):
        wide = mask.copy()
        for shift in range(1, by + 1):
            ahead = [slice(None), slice(None)]
            behind = [slice(None), slice(None)]
            ahead[axis], behind[axis] = slice(shift, None), slice(None, -shift)
            wide[tuple(ahead)] |= mask[tuple(behind)]
            wide[tuple(behind)] |= mask[tuple(ahead)]
        mask = wide
    return mask
