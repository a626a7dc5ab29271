"""Cells that flash, as cells with a calcium indicator do: a fast rise, a slower fall. Pure.

When a cell flashes depends on the seed, the cell's number and the time alone, so any moment can be
asked for in any order, and a run can be held against the truth afterwards.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from drivers.simulated.cells import Floats

RISE = 0.1
"""Part of the duration in which a flash reaches its peak."""
_ROOM = 0.9
"""Part of its interval in which a flash may start, so that two do not run together."""

Whole = NDArray[np.uint64]


class FlashSettings(BaseModel):
    """How often and how brightly cells flash."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(default=0.1, gt=0, le=1)
    """Part of the cells that ever flash."""
    every_s: float = Field(default=20.0, gt=0)
    """Mean time from one flash of such a cell to its next."""
    lasting_s: float = Field(default=3.0, gt=0)
    """From the start of a flash until a twentieth of it is left."""
    times: float = Field(default=4.0, gt=1, le=100)
    """Brightness at the peak, in that of the cell at rest."""


def flash_factor(
    settings: FlashSettings, seed: int, ids: NDArray[np.int32], time_s: float
) -> Floats:
    """Brightness (n,) of cells at a time, in that of the same cell at rest; 1 and more."""
    factor = np.ones(len(ids))
    window = int(np.floor(time_s / settings.every_s))
    for number in (window - 1, window):
        since = (time_s - flash_start_s(settings, seed, ids, number)) / settings.lasting_s
        rising = np.clip(since / RISE, 0, 1)
        falling = np.exp(-3.0 * np.maximum(since - RISE, 0))
        glow = np.where(since >= 0, rising * falling, 0.0)
        factor = np.maximum(factor, 1 + (settings.times - 1) * glow)
    return np.where(flashing(settings, seed, ids), factor, 1.0).astype(np.float32)


def flashing(settings: FlashSettings, seed: int, ids: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether cells (n,) are of the kind that flashes."""
    return np.asarray(_chance(seed, ids, -1) < settings.share)


def flash_start_s(
    settings: FlashSettings, seed: int, ids: NDArray[np.int32], number: int
) -> NDArray[np.float64]:
    """When flash ``number``, from 0, of cells (n,) begins, biological time; one an interval."""
    return np.asarray(settings.every_s * (number + _ROOM * _chance(seed, ids, number)))


def _chance(seed: int, ids: NDArray[np.int32], number: int) -> NDArray[np.float64]:
    """Even chances (n,) in [0, 1) that are always the same (SplitMix64, Steele et al. 2014)."""
    start = (seed * 1_000_003 + number + 2) * 0x9E3779B97F4A7C15 % (1 << 64)
    mixed: Whole = ids.astype(np.uint64) + np.uint64(start)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return np.asarray((mixed >> np.uint64(11)).astype(np.float64) / float(1 << 53))
