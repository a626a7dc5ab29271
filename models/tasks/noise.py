"""The noise of a camera, read from its own frames: gain, offset and read noise.

Photon transfer from one frame: fine structure, of which an imaged sample has little, is parted from
noise by a second difference both ways (Immerkær, Comput Vis Image Underst 1996), and its variance
in each block is held against the block's mean. Shot noise makes that a line (Foi et al., IEEE Trans
Image Process 2008, doi 10.1109/TIP.2008.2001399): its slope is the gain, its height the read noise.
Structure can only add to a block. So, as there, pixels on the sample's edges are left out, and
blocks far above the line, again and again. With a frame of the same place before this one the
difference of the two is looked at too, in which a sample that stays still is gone altogether.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.tasks.noise_blocks import (
    FEWEST_BLOCKS,
    Blocks,
    Look,
    away_from_ends,
    look_at,
    look_at_two,
    sample_blocks,
    top_of,
)

SMALLEST_GAIN = 1e-3
"""Counts per photon where no shot noise can be told: next to nothing, as gains are above 0."""

USUAL_READ_E = 1.5
"""Read noise in electrons of a good camera. Light alone tells but one number of offset and read
noise together; this is what is taken where the line leaves the choice."""

USABLE = 0.25
"""A block is looked at if more than this part of its pixels is."""

STEEP = 3.0
"""Squared slope, in units of that of noise alone, from which a pixel lies on an edge. Noise alone
is above it in one of twenty."""

EDGE_ROUNDS = 2
"""Times that edges are looked for anew with the noise found without them."""

ROUNDING = 1.0 / 12.0
"""Variance of rounding to whole counts: no camera gives less noise."""

FREEDOM = 0.275
"""Independent values in the second differences, as part of their number; found by drawing noise."""

FAR = 3.0
"""Standard errors from the line at which a block is left out."""

SURE = 4.0
"""A slope must be this many of its standard errors above 0 to be a gain."""

ROUNDS = 12
"""Fits, at most."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NoiseModel:
    """Poisson-Gaussian noise of one camera at one setting.

    The variance of a pixel that is ``mean`` counts on average is
    ``gain * (mean - offset) + read_variance``.
    """

    gain: float
    """Counts per photon detected; above 0. With electron multiplication that is twice the real
    one, which is what the noise is like."""
    offset: float
    """Counts in the dark."""
    read_variance: float
    """Variance in the dark, counts²; above 0."""
    fitted: bool = True
    """Whether shot noise was found. If not, ``gain`` is next to nothing and the noise is the same
    all over."""

    def variance(self, mean: NDArray[Any] | float) -> NDArray[np.float32]:
        """Variance in counts² of pixels that are ``mean`` counts on average; float32."""
        light = np.maximum(np.asarray(mean, np.float32) - np.float32(self.offset), 0)
        return np.asarray(np.float32(self.gain) * light + np.float32(self.read_variance))

    def photons(self, counts: NDArray[Any] | float) -> NDArray[np.float32]:
        """Photons detected in pixels of ``counts``; float32, below 0 where noise says so."""
        return np.asarray((np.asarray(counts, np.float32) - self.offset) / np.float32(self.gain))

    @property
    def read_noise_e(self) -> float:
        """Read noise in electrons, NaN where the gain is unknown."""
        return math.sqrt(self.read_variance) / self.gain if self.fitted else math.nan


def estimate_noise(pixels: NDArray[Any], previous: NDArray[Any] | None = None) -> NoiseModel:
    """Noise model of one image; never fails.

    Parameters
    ----------
    pixels
        (y, x) camera counts, uint8 or uint16 (float counts are taken too); not written to.
    previous
        (y, x) the frame of the same place before it, or None. Used if of the same size and dtype,
        and only where it makes the estimate smaller, so a sample that moved does no harm.

    Returns
    -------
    The model. Where light and noise are not seen to rise together (flat, empty and saturated
    images) it is Gaussian, with next to no gain.
    """
    before = None
    if previous is not None and previous.shape == pixels.shape and previous.dtype == pixels.dtype:
        before = sample_blocks(previous)
    return noise_of_blocks(sample_blocks(pixels), before, top_of(pixels))


def noise_of_blocks(blocks: Blocks, before: Blocks | None, top: float) -> NoiseModel:
    """Noise model of blocks (n, side, side), and those of the frame before if there was one.

    ``top`` is the count at which a pixel is saturated.
    """
    if not len(blocks):
        return NoiseModel(SMALLEST_GAIN, 0.0, ROUNDING, fitted=False)
    usable = away_from_ends(blocks, top)
    if np.count_nonzero(usable.mean(axis=(1, 2)) > USABLE) < FEWEST_BLOCKS:
        quiet = float(np.median(look_at(blocks).noise.mean(axis=(1, 2))))
        return _flat(float(blocks.mean()), quiet)
    look = look_at(blocks)
    found = _without_edges(look, usable, top)
    if before is not None and before.shape == blocks.shape and not np.array_equal(before, blocks):
        both = usable & away_from_ends(before, top)
        still = _without_edges(look_at_two(blocks, before), both, top)
        # a still sample is gone from the difference, a moving one is in it twice
        mean = look.mean[:, ::4, ::4]
        less = float(still.variance(mean).mean()) < float(found.variance(mean).mean())
        if less and (still.fitted or not found.fitted):
            found = still
    return found


def _without_edges(look: Look, usable: NDArray[np.bool_], top: float) -> NoiseModel:
    """Noise model of pixels that lie on no edge of the sample, and well below saturation."""
    found = _of_pixels(look, usable)
    for _ in range(EDGE_ROUNDS):
        variance = found.variance(look.mean)
        even = usable & (look.slope < 2 * STEEP * variance)
        if float(look.mean.max()) > top / 2:
            # near the top only what chance made darker is left unclipped
            even &= look.mean + FAR * np.sqrt(variance) < top
        if np.count_nonzero(even.mean(axis=(1, 2)) > USABLE) < FEWEST_BLOCKS:
            return found
        better = _of_pixels(look, even)
        if found.fitted and not better.fitted:
            # all that is bright is uneven: better somewhat too much noise than no gain
            return found
        found = better
    return found


def _of_pixels(look: Look, usable: NDArray[np.bool_]) -> NoiseModel:
    """Noise model of the usable pixels."""
    pixels = usable.shape[1] * usable.shape[2]
    weight = usable.reshape(-1, pixels).astype(np.float32)
    count = weight.sum(axis=1)
    enough = count > USABLE * pixels
    if np.count_nonzero(enough) < FEWEST_BLOCKS:
        enough[:] = True
    count = np.maximum(count, 1)

    def mean_of(values: NDArray[np.float32]) -> Floats:
        return np.asarray(np.einsum("np,np->n", values, weight) / count, np.float64)

    # less the level of the image, so that single precision has digits left for squares
    level = np.float32(look.mean[:, ::4, ::4].mean())
    light = look.mean.reshape(-1, pixels) - level
    mean, noise = mean_of(light), mean_of(look.noise.reshape(-1, pixels))
    # a ninth of the noise is in the mean of nine pixels
    uneven = np.maximum(mean_of(light * light) - mean**2 - noise / 9, 0)
    mean += float(level)
    return _fit(mean[enough], noise[enough], uneven[enough], count[enough].astype(np.float64))


def _flat(level: float, variance: float) -> NoiseModel:
    # the line passes through the level found, whatever the tiny gain
    return NoiseModel(SMALLEST_GAIN, max(level, 0.0), max(variance, ROUNDING), fitted=False)


def _fit(mean: Floats, noise: Floats, uneven: Floats, count: Floats) -> NoiseModel:
    """Robust line through mean and variance of the noise, (n,), of blocks.

    ``uneven`` is the variance of the light in each: where bright and dark share a block, its noise
    is told less well. ``count`` is the number of pixels.
    """
    slope, height = _start(mean, noise)
    centre = float(mean.mean())
    keep = np.ones(len(mean), bool)
    error = np.ones(len(mean))
    for _ in range(ROUNDS):
        line = np.maximum(height + slope * (mean - centre), ROUNDING)
        spread = np.sqrt(2 / (FREEDOM * count) * (1 + slope**2 * uneven / line**2))
        error = line * spread
        now = np.abs(noise - line) < FAR * error
        if np.count_nonzero(now) < FEWEST_BLOCKS:
            break
        slope, height = _line(mean[now] - centre, noise[now], 1 / error[now] ** 2)
        if np.array_equal(now, keep):
            break
        keep = now
    weight = 1 / error[keep] ** 2
    about = mean[keep] - float((weight * mean[keep]).sum() / weight.sum())
    doubt = 1 / math.sqrt(max(float((weight * about**2).sum()), 1e-30))
    if slope < SMALLEST_GAIN or slope < SURE * doubt:
        return _flat(centre, float(noise[keep].mean()))
    return _parted(slope, height - slope * centre, float(mean.min()))


def _start(mean: Floats, noise: Floats) -> tuple[float, float]:
    """Line, at the mean of means, through a low quantile of the blocks of each brightness."""
    order = np.argsort(mean, kind="stable")
    parts = np.array_split(order, max(min(len(mean) // 8, 16), 2))
    x = np.array([mean[part].mean() for part in parts]) - float(mean.mean())
    y = np.array([np.quantile(noise[part], 0.3) for part in parts])
    slope, height = _line(x, y, 1 / np.maximum(y, ROUNDING) ** 2)
    return max(slope, 0.0), height


def _line(x: Floats, y: Floats, weight: Floats) -> tuple[float, float]:
    """Slope and height at x = 0 of the weighted line of least squares."""
    total = float(weight.sum())
    x0, y0 = float((weight * x).sum()) / total, float((weight * y).sum()) / total
    spread = float((weight * (x - x0) ** 2).sum())
    slope = float((weight * (x - x0) * (y - y0)).sum()) / spread if spread > 0 else 0.0
    return slope, y0 - slope * x0


def _parted(gain: float, at_zero: float, darkest: float) -> NoiseModel:
    """Offset and read noise of a line of variance; one line has many pairs of them."""
    root = -at_zero / gain  # counts at which the line says: no noise at all
    offset = min(max(root + USUAL_READ_E**2 * gain, 0.0), max(darkest, 0.0))
    return NoiseModel(gain, offset, max(gain * offset + at_zero, ROUNDING))
