"""What rules remember of tracks: fixed arrays with a place per track, no loop over objects.

The same objects give the same memory; nothing here looks at a clock.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_TRACKS = 20_000
"""Tracks remembered at once; those not seen for longest give way."""
AREA_SIGHTS = 10
BASELINE_SHARE = 0.05
"""How much of a sight goes into the baseline: it follows about the last 20."""
EVENT_SHARE = 0.005
"""The same while something unusual happens: a lasting change is taken over in some 200 sights."""
WARM_UP = 3
"""Sights before there is anything to compare with."""

Floats = NDArray[np.float64]


class Tracks:
    """Gives each track a place, from 0 to ``MOST_TRACKS`` - 1, for as long as it is remembered."""

    def __init__(self, most: int = MOST_TRACKS) -> None:
        self.most = most
        self._ids = np.zeros(0, np.int64)
        self._places = np.zeros(0, np.int64)
        self._seen = np.full(most, -1, np.int64)
        self._free = np.arange(most - 1, -1, -1)
        self._left = most
        self._turn = 0

    def take(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Take the tracks of one frame in.

        Parameters
        ----------
        ids
            (n,) track numbers above 0, each once.

        Returns
        -------
        places
            (n,) of these tracks; -1 for those beyond what can be remembered.
        fresh
            (m,) of those that were not known, or not any more: what is kept there is of others.
        """
        self._turn += 1
        places = self._find(ids)
        missing = np.flatnonzero(places < 0)
        fresh = np.zeros(0, np.int64)
        if len(missing):
            if len(missing) > self._left:
                self._seen[places[places >= 0]] = self._turn
                self._forget(len(missing))
            missing = missing[: self._left]
            fresh = self._free[self._left - len(missing) : self._left].copy()
            self._left -= len(missing)
            places[missing] = fresh
            at = np.searchsorted(self._ids, ids[missing])
            order = np.argsort(ids[missing], kind="stable")
            self._ids = np.insert(self._ids, at[order], ids[missing][order])
            self._places = np.insert(self._places, at[order], fresh[order])
        self._seen[places[places >= 0]] = self._turn
        return places, fresh

    def place_of(self, track: int) -> int:
        """Place of one track; -1 when it is not remembered."""
        return int(self._find(np.array([track], np.int64))[0])

    def _find(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        if not len(self._ids):
            return np.full(len(ids), -1, np.int64)
        at = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        return np.where(self._ids[at] == ids, self._places[at], -1)

    def _forget(self, wanted: int) -> None:
        """Make room: those seen longest ago, a quarter of all at least, none of this frame."""
        seen = self._seen[self._places]
        old = np.flatnonzero(seen < self._turn)
        count = min(len(old), max(wanted, self.most // 4))
        gone = old[np.argsort(seen[old], kind="stable")[:count]]
        self._free[self._left : self._left + len(gone)] = self._places[gone]
        self._left += len(gone)
        self._ids = np.delete(self._ids, gone)
        self._places = np.delete(self._places, gone)


class History:
    """Area and brightness of tracks as they were before, imaged in one and the same way."""

    def __init__(self, most: int = MOST_TRACKS) -> None:
        # written at once: pages that fill up with time look like a leak
        self._sights = np.full(most, 0, np.int64)
        self._areas = np.full((most, AREA_SIGHTS), 0, np.float32)
        self._level = np.full(most, 0, np.float64)
        self._spread = np.full(most, 0, np.float64)

    def forget(self, places: NDArray[np.int64]) -> None:
        """These places are of other tracks now."""
        self._sights[places] = 0

    def take(self, places: NDArray[np.int64], area: Floats, mean: Floats) -> tuple[Floats, Floats]:
        """Compare one frame with what was before, then take it in.

        Parameters
        ----------
        places
            (n,) of `Tracks`; -1 is not compared.
        area, mean
            (n,) px² and raw counts.

        Returns
        -------
        area_change, mean_change
            (n,) ratios; NaN where there is nothing to compare with.
        """
        area_change = np.full(len(places), np.nan)
        mean_change = np.full(len(places), np.nan)
        known = np.flatnonzero(places >= 0)
        at = places[known]
        sights = self._sights[at]
        warm = sights >= WARM_UP
        old = self._areas[at[warm]]
        filled = np.minimum(sights[warm], AREA_SIGHTS)
        old_mean = np.where(np.arange(AREA_SIGHTS) < filled[:, None], old, 0).sum(axis=1) / filled
        area_change[known[warm]] = ratio(area[known][warm], old_mean)
        mean_change[known[warm]] = ratio(mean[known][warm], self._level[at[warm]])
        self._areas[at, sights % AREA_SIGHTS] = area[known]
        self._level[at], self._spread[at] = followed(
            self._level[at], self._spread[at], sights, mean[known]
        )
        self._sights[at] = sights + 1
        return area_change, mean_change


def followed(
    level: Floats, spread: Floats, sights: NDArray[np.int64], value: Floats
) -> tuple[Floats, Floats]:
    """A baseline and its usual deviation after one more value; an event hardly moves it."""
    away = np.abs(value - level)
    event = (sights >= WARM_UP) & (away > 4 * spread + 0.05 * np.abs(level))
    usual = np.maximum(BASELINE_SHARE, 1.0 / (sights + 1.0))
    share = np.where(event, EVENT_SHARE, usual)
    moved = level + share * (value - level)
    wider = spread + share * (np.where(sights > 0, away, 0.0) - spread)
    return moved, wider


def ratio(value: Floats, reference: Floats) -> Floats:
    """``value / reference``, NaN where the reference is not above 0."""
    safe = np.where(reference > 0, reference, np.nan)
    found: Floats = value / safe
    return found
