"""Contrast that stays: robust levels per channel that follow the picture slowly.

Levels come from percentiles of a sample, so a hot pixel does not darken the picture; they are never
closer than the noise needs, so an empty field is not stretched to snow; and they move with a time
constant, so nothing flickers. A new channel, or a picture quite outside the levels, jumps at once.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOW_PERCENT = 0.5
HIGH_PERCENT = 99.7
SAMPLE_SIDE = 256
TIME_CONSTANT_S = 0.8
CHANNELS_KEPT = 32
NOISE_SPAN = 10.0
"""Least span of the levels in standard deviations of the pixel noise."""
LEAST_SPAN = 16.0
HEADROOM = 0.10
"""Share of the span left free above, so that a brightening cell does not saturate at once."""


@dataclass(frozen=True, slots=True)
class Levels:
    """Counts drawn as black and as white; ``high`` is above ``low``."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """``counts`` (n,) of the bins between ``edges`` (n + 1,), and the share of saturated pixels."""

    counts: NDArray[np.int64]
    edges: NDArray[np.float64]
    saturated: float


def sample_of(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Every n-th pixel in y and x, at most about 256 x 256; a view of ``pixels`` (y, x)."""
    step = _step(pixels.shape)
    return pixels[::step, ::step]


def robust_levels(sample: NDArray[np.generic]) -> Levels:
    """Levels that suit a sample (y, x) of any real dtype; never closer than its noise needs."""
    values = sample.astype(np.float32)
    low, high = (float(v) for v in np.percentile(values, (LOW_PERCENT, HIGH_PERCENT)))
    high += HEADROOM * (high - low)
    steps = np.abs(np.diff(values, axis=1)) if values.shape[1] > 1 else np.zeros(1)
    # the median of |a - b| of two normal draws is 0.954 sigma
    span = max(LEAST_SPAN, NOISE_SPAN * float(np.median(steps)) / 0.954)
    if high - low < span:
        middle = (low + high) / 2
        low, high = middle - span / 2, middle + span / 2
    return Levels(low, high)


def to_grey(
    pixels: NDArray[np.generic], levels: Levels, out: NDArray[np.float32] | None = None
) -> NDArray[np.uint8]:
    """Counts to grey values 0 to 255, linear between the levels.

    Parameters
    ----------
    pixels
        (y, x), any real dtype.
    levels
        What is black and white.
    out
        Work space of the same shape, to spare an allocation.
    """
    work = np.empty(pixels.shape, np.float32) if out is None else out
    np.copyto(work, pixels, casting="unsafe")
    work -= np.float32(levels.low)
    work *= np.float32(255.0 / max(levels.high - levels.low, 1e-6))
    np.clip(work, 0.0, 255.0, out=work)
    return work.astype(np.uint8)


def histogram_of(
    pixels: NDArray[np.uint8] | NDArray[np.uint16], bit_depth: int = 0, bins: int = 160
) -> Histogram:
    """Histogram of a sample of (y, x) pixels between its own extremes.

    ``bit_depth`` says what counts as saturated; 0 takes the full range of the dtype.
    """
    step = _step(pixels.shape)
    sample = pixels[::step, ::step].ravel()
    low, high = float(sample.min()), float(sample.max())
    if high <= low:
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(sample, bins=bins, range=(low, high))
    full = 2**bit_depth - 1 if bit_depth else int(np.iinfo(pixels.dtype).max)
    saturated = float(np.mean(sample >= full))
    return Histogram(counts.astype(np.int64), edges.astype(np.float64), saturated)


class AutoContrast:
    """Levels per channel, automatic until someone drags them, automatic again on demand."""

    def __init__(self, time_constant_s: float = TIME_CONSTANT_S) -> None:
        self._time_constant_s = time_constant_s
        self._levels: OrderedDict[str, tuple[Levels, float]] = OrderedDict()
        self._manual: OrderedDict[str, Levels] = OrderedDict()

    def levels(self, channel: str) -> Levels:
        """Levels to draw a channel with now."""
        if channel in self._manual:
            return self._manual[channel]
        return self._levels[channel][0] if channel in self._levels else Levels(0.0, 255.0)

    def is_manual(self, channel: str) -> bool:
        """Whether someone set this channel's levels by hand."""
        return channel in self._manual

    def set_manual(self, channel: str, low: float, high: float) -> None:
        """Hold the levels that someone dragged; a span below one count is widened to one."""
        self._manual[channel] = Levels(low, max(high, low + 1.0))
        while len(self._manual) > CHANNELS_KEPT:
            self._manual.popitem(last=False)

    def set_auto(self, channel: str) -> None:
        """Go back to automatic levels, at once fitting the next picture."""
        self._manual.pop(channel, None)
        self._levels.pop(channel, None)

    def update(self, pixels: NDArray[np.generic], channel: str, now_s: float) -> Levels:
        """Take one picture (y, x) into account and return the levels to draw it with."""
        if channel in self._manual:
            return self._manual[channel]
        wanted = robust_levels(sample_of(pixels))
        if channel in self._levels:
            levels, then_s = self._levels[channel]
            if not _is_far(levels, wanted):
                share = 1.0 - math.exp(-max(now_s - then_s, 0.0) / self._time_constant_s)
                wanted = Levels(
                    levels.low + share * (wanted.low - levels.low),
                    levels.high + share * (wanted.high - levels.high),
                )
        self._levels[channel] = (wanted, now_s)
        self._levels.move_to_end(channel)
        while len(self._levels) > CHANNELS_KEPT:
            self._levels.popitem(last=False)
        return wanted


def _step(shape: tuple[int, ...]) -> int:
    return max(1, math.ceil(max(shape) / SAMPLE_SIDE))


def _is_far(levels: Levels, wanted: Levels) -> bool:
    """Whether the picture would be all black, all white or squeezed flat under these levels."""
    span, wanted_span = levels.high - levels.low, wanted.high - wanted.low
    return (
        wanted.high < levels.low + 0.25 * span
        or wanted.low > levels.low + 0.75 * span
        or not 0.1 < wanted_span / span < 10.0
    )
