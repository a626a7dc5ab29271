"""Blocks of an image, and what in each pixel is noise, slope and mean, by its 3 x 3 neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.tasks.filters import block_reduce

BLOCK_PX = 16
"""Side of a block. Variance is a line of the mean within a block too, so it may be large."""

MOST_BLOCKS = 576
"""Blocks looked at, spread over the image: the cost is the same for every camera."""

FEWEST_BLOCKS = 12
"""With fewer there is no line to fit."""

CLIPPED = 0.01
"""A block with more than this part of its pixels at 0 is called dark."""

Blocks = NDArray[np.float32]
"""(n, side, side) counts."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the neighbours of each inner pixel of blocks say; all (n, side - 2, side - 2)."""

    noise: NDArray[np.float32]
    """Square of the second difference both ways; the variance of the noise on average."""
    slope: NDArray[np.float32]
    """Squared slope (Prewitt); twice the variance of the noise on average where the sample has
    none. Chance makes the two independent of each other."""
    mean: NDArray[np.float32]
    """Mean of the neighbourhood, counts."""


def top_of(pixels: NDArray[Any]) -> float:
    """Count at which an image is saturated: of its dtype, or where many pixels share the top."""
    kind = pixels.dtype
    top = float(np.iinfo(kind).max) if np.issubdtype(kind, np.integer) else math.inf
    if not pixels.size:
        return top
    some = pixels[:: max(pixels.shape[0] // 256, 1), :: max(pixels.shape[1] // 256, 1)]
    highest = float(some.max())
    return highest if np.count_nonzero(some == highest) > 0.002 * some.size else top


def sample_blocks(pixels: NDArray[Any]) -> Blocks:
    """At most ``MOST_BLOCKS`` blocks (n, side, side) float32 spread over an image; copies."""
    side = min(BLOCK_PX, *pixels.shape)
    if side < 3:
        return np.zeros((0, BLOCK_PX, BLOCK_PX), np.float32)
    height, width = pixels.shape
    rows, columns = height // side, width // side
    # as many of every line of blocks as keeps them evenly spread
    share = math.sqrt(min(MOST_BLOCKS / (rows * columns), 1.0))
    take_rows = np.unique(np.linspace(0, rows - 1, max(int(rows * share), 1)).round().astype(int))
    take = np.unique(np.linspace(0, columns - 1, max(int(columns * share), 1)).round().astype(int))
    if len(take_rows) == rows and len(take) == columns:
        flat = block_reduce(pixels, side).reshape(-1, side, side)
        return np.asarray(flat, np.float32)
    whole = pixels[: rows * side, : columns * side].reshape(rows, side, columns, side)
    chosen = whole.swapaxes(1, 2)[np.ix_(take_rows, take)]
    return np.asarray(chosen.reshape(-1, side, side), np.float32)


def look_at(blocks: Blocks) -> Look:
    """Look at blocks of one image."""
    above, here, below = blocks[:, :-2], blocks[:, 1:-1], blocks[:, 2:]
    both = above + below
    noise, across, down = _second(both - 2 * here), _first(both + here), _third(below - above)
    for part in (noise, across, down):
        np.square(part, out=part)
    across += down
    # 36 and 6: sums of the squared weights
    noise *= np.float32(1 / 36)
    across *= np.float32(1 / 6)
    return Look(noise, across, _mean(both + here))


def look_at_two(blocks: Blocks, before: Blocks) -> Look:
    """Look at the difference of two images of one place, as if it were the noise of one."""
    apart = look_at((blocks - before) * np.float32(math.sqrt(0.5)))
    both = (blocks + before) * np.float32(0.5)
    return Look(apart.noise, apart.slope, _mean(both[:, :-2] + both[:, 1:-1] + both[:, 2:]))


def away_from_ends(blocks: Blocks, top: float) -> NDArray[np.bool_]:
    """Inner pixels none of whose neighbours is at an end of the range."""
    clipped = blocks >= top
    dark = blocks <= 0
    # single photons without an offset leave zeros everywhere, which is not clipping
    if np.count_nonzero(dark.mean(axis=(1, 2)) <= CLIPPED) >= max(FEWEST_BLOCKS, len(blocks) / 4):
        clipped |= dark
    if not clipped.any():
        return np.ones((len(blocks), blocks.shape[1] - 2, blocks.shape[2] - 2), bool)
    rows = clipped[:, :-2] | clipped[:, 1:-1] | clipped[:, 2:]
    return ~(rows[:, :, :-2] | rows[:, :, 1:-1] | rows[:, :, 2:])


def _mean(columns: Blocks) -> Blocks:
    """Means of sums over three rows."""
    mean = _third(columns)
    mean *= np.float32(1 / 9)
    return mean


def _first(rows: Blocks) -> Blocks:
    return np.subtract(rows[:, :, 2:], rows[:, :, :-2], dtype=np.float32)


def _second(rows: Blocks) -> Blocks:
    out = rows[:, :, :-2] + rows[:, :, 2:]
    out -= 2 * rows[:, :, 1:-1]
    return out


def _third(rows: Blocks) -> Blocks:
    out = rows[:, :, :-2] + rows[:, :, 2:]
    out += rows[:, :, 1:-1]
    return out
