"""The light-dose ledger: what the sample got, and whether it may get more.

A dose is power times exposure. It is set aside when an exposure or a sequence is about to begin,
counted when it is over, by what the camera really exposed, and refused when a cap would be passed.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers import FrameMeta, Light, LightSpent
from live.light.cells import CellDoses
from live.light.map import DoseMap, Field, MapFull
from live.light.settings import LightSettings

KEPT_REFUSALS = 100
TOLD_POSITIONS = 500
MOST_OWED = 64
"""Exposures whose place is not worked out yet."""
_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the run, and over the run that it carries on."""

    dose: float = 0.0
    light_s: float = 0.0
    frames: float = 0.0
    last_seq: int = -1
    """Newest frame whose light is in."""


class DoseLedger:
    """Counts light and holds it to its caps. Any thread may call it.

    It is the ``LightMeter`` that a ``ProtectedRig`` asks. Memory is bounded: the map by its number
    of blocks, the cells by their number.

    Parameters
    ----------
    settings
        Power table and caps.
    """

    def __init__(self, settings: LightSettings | None = None) -> None:
        self.settings = settings or LightSettings()
        self._lock = threading.RLock()
        self._paid_map = DoseMap()
        self._paid_cells = CellDoses()
        self._owed: list[tuple[Field, float]] = []
        self._totals = Totals()
        self._by_preset: Counter[str] = Counter()
        self._open: tuple[Light, int] | None = None
        self._refused = 0
        self._refusals: deque[str] = deque(maxlen=KEPT_REFUSALS)
        self._field = Field(0.0, 0.0, 0.0, 0.0)

    # --- asked by the gate ------------------------------------------------------------------

    def room(self, light: Light) -> int | None:
        """How many such frames the caps still allow; None: any number."""
        with self._lock:
            if not self.settings.capped:
                return None
            dose, field = self._dose(light), _field(light)
            left = [math.inf]
            for cap, spent, each in self._caps(field, dose, self._seconds(light)):
                if each > 0:
                    left.append((cap * (1 + _SLACK / 2) - spent) / each)
                elif spent > cap * (1 + _SLACK):
                    left.append(0.0)
            least = min(left)
            return None if math.isinf(least) else max(0, math.floor(least))

    def objection(self, wanted: Sequence[tuple[Light, int]]) -> str | None:
        """Why a block of so many frames each is more than the caps allow, or None."""
        try:
            with self._lock:
                self._check(wanted)
        except LightSpent as error:
            return str(error)
        return None

    def begin(self, light: Light, frames: int) -> None:
        """Set light aside for so many frames; raises ``LightSpent`` when there is not enough."""
        with self._lock:
            self._check([(light, frames)])
            self._open = (light, frames)

    def end(self, frames: float, last_seq: int = -1) -> None:
        """So many frames of what was begun were really exposed."""
        with self._lock:
            begun, self._open = self._open, None
            if begun is not None and frames > 0:
                self._count(begun[0], frames, last_seq)

    # --- fed by others ----------------------------------------------------------------------

    def see(self, objects: NDArray[np.void], meta: FrameMeta) -> None:
        """Take the cells that the analysis found in a frame."""
        with self._lock:
            width, height = self._field.width_um, self._field.height_um
            field = Field(meta.x_um, meta.y_um, width, height)
            self._cells.see(objects, field, self._map.at)

    def refused(self, sentence: str) -> None:
        """A limit, of light or another, refused something: kept for the report."""
        with self._lock:
            self._refused += 1
            self._refusals.append(sentence)

    def restore(self, totals: Totals, by_preset: dict[str, float], doses: DoseMap) -> None:
        """Go on from what an earlier run of the sample had given."""
        with self._lock:
            self._pay()
            self._totals, self._paid_map = totals, doses
            self._by_preset = Counter(by_preset)

    def add(self, light: Light, frames: float = 1) -> None:
        """Count light that was given without this ledger being asked."""
        with self._lock:
            self._count(light, frames, -1)

    # --- told -------------------------------------------------------------------------------

    @property
    def totals(self) -> Totals:
        """Sums so far."""
        return self._totals

    @property
    def by_preset(self) -> dict[str, float]:
        """Dose of each preset."""
        with self._lock:
            return dict(self._by_preset)

    @property
    def greatest(self) -> float:
        """Dose of the place that got most."""
        return self._map.greatest

    def cell_doses(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Dose of these tracks; NaN for one that is not known."""
        with self._lock:
            return self._cells.of(ids)

    def cell_table(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Tracks and their doses."""
        with self._lock:
            return self._cells.table()

    def map(self) -> DoseMap:
        """The map itself; whoever reads it holds `lock`."""
        return self._map

    @property
    def lock(self) -> threading.RLock:
        """Held while the ledger changes."""
        return self._lock

    def to_json(self) -> dict[str, Any]:
        """Key ``light`` of the report."""
        with self._lock:
            found = self.settings
            places = self._map.positions()
            return {
                "unit": found.dose_unit,
                "total": self._totals.dose,
                "light_s": self._totals.light_s,
                "frames": self._totals.frames,
                "by_preset": dict(self._by_preset),
                "max_position": self._map.greatest,
                "positions": [
                    {"x_um": round(x, 3), "y_um": round(y, 3), "dose": dose}
                    for x, y, dose in places[:TOLD_POSITIONS]
                ],
                "positions_left_out": max(0, len(places) - TOLD_POSITIONS),
                "cells": {"count": self._cells.total, "max": self._cells.greatest},
                "caps": {
                    key: getattr(found, key)
                    for key in ("cap_per_position", "cap_per_cell", "cap_total", "max_total_s")
                    if getattr(found, key) is not None
                },
                "refused": self._refused,
                "refusals": list(self._refusals),
            }

    # --- counting ---------------------------------------------------------------------------

    def _power(self, light: Light) -> float:
        try:
            return self.settings.power_of(light.preset, light.properties)
        except KeyError:
            raise LightSpent(
                f"the power of preset '{light.preset}' is not known; add it to light.power, in mW"
            ) from None

    def _seconds(self, light: Light) -> float:
        """How long one frame lights the sample."""
        if self.settings.triggered:
            return light.exposure_s
        return max(light.exposure_s, light.period_s)

    def _dose(self, light: Light) -> float:
        return self._power(light) * self._seconds(light)

    def _caps(
        self, field: Field, dose: float, exposure_s: float
    ) -> list[tuple[float, float, float]]:
        """Cap, what was spent of it, and what one such frame spends."""
        found = self.settings
        caps = (
            (found.cap_per_position, self._map.most(field), dose),
            (found.cap_per_cell, self._cells.most(field), dose),
            (found.cap_total, self._totals.dose, dose),
            (found.max_total_s, self._totals.light_s, exposure_s if dose > 0 else 0.0),
        )
        return [(cap, spent, each) for cap, spent, each in caps if cap is not None]

    def _check(self, wanted: Sequence[tuple[Light, int]]) -> None:
        found = self.settings
        doses = [(_field(light), self._dose(light) * frames) for light, frames in wanted]
        for light, _ in wanted:
            if found.max_power is not None and self._power(light) > found.max_power:
                raise LightSpent(
                    f"preset '{light.preset}' has a power of {self._power(light):g} {found.unit}, "
                    f"over light.max_power = {found.max_power:g}; dim it or raise the limit"
                )
        asked = sum(dose for _, dose in doses)
        seconds = sum(
            self._seconds(light) * frames
            for (light, frames), (_, dose) in zip(wanted, doses, strict=True)
            if dose > 0
        )
        self._hold("cap_total", found.cap_total, self._totals.dose, asked, "the run")
        self._hold("max_total_s", found.max_total_s, self._totals.light_s, seconds, "the run")
        if found.capped and asked > 0 and not self._map.fits(field for field, _ in doses):
            raise LightSpent(
                "light fell on so many places that no more can be kept count of; no light went "
                "on. Start another run with light.carry_over left out"
            )
        if found.cap_per_position is not None and asked > 0:
            worst = self._map.worst_after(doses)
            before = max(self._map.most(field) for field, _ in doses)
            field = doses[0][0]
            where = f"the place at ({field.x_um:.0f}, {field.y_um:.0f}) µm"
            self._hold("cap_per_position", found.cap_per_position, before, worst - before, where)
        if found.cap_per_cell is not None:
            # A cell that moves between two fields is in both: their doses are added up.
            most = max((self._cells.most(field) for field, dose in doses if dose > 0), default=0.0)
            self._hold("cap_per_cell", found.cap_per_cell, most, asked, "a cell in view")

    def _hold(self, key: str, cap: float | None, spent: float, more: float, who: str) -> None:
        if cap is None or more <= 0 or spent + more <= cap * (1 + _SLACK):
            return
        unit = "s" if key == "max_total_s" else self.settings.dose_unit
        raise LightSpent(
            f"{more:.4g} {unit} of light were asked for and {who} has had {spent:.4g}, which "
            f"together pass light.{key} = {cap:g}; no light went on",
            whole_run=key in ("cap_total", "max_total_s"),
        )

    def _count(self, light: Light, frames: float, last_seq: int) -> None:
        dose, field, before = self._dose(light) * frames, _field(light), self._totals
        self._field = field
        self._totals = Totals(
            before.dose + dose,
            before.light_s + (self._seconds(light) * frames if dose > 0 else 0.0),
            before.frames + frames,
            max(before.last_seq, last_seq),
        )
        self._by_preset[light.preset] += dose  # type: ignore[assignment]
        if dose > 0:
            self._owed.append((field, dose))
            if len(self._owed) >= MOST_OWED:
                self._pay()

    @property
    def _map(self) -> DoseMap:
        self._pay()
        return self._paid_map

    @property
    def _cells(self) -> CellDoses:
        self._pay()
        return self._paid_cells

    def _pay(self) -> None:
        """Bring map and cells up to date: not right after an exposure, whose frame is waited for.

        Whoever looks at them comes by here first, so that nothing is decided by what is owed.
        """
        with self._lock:
            owed, self._owed = self._owed, []
            for field, dose in owed:
                try:
                    self._paid_map.add(field, dose)
                except MapFull as error:
                    self._refusals.append(f"the map of light is full: {error}")
                self._paid_cells.shine(field, dose)


def _field(light: Light) -> Field:
    return Field(light.x_um, light.y_um, light.width_um, light.height_um)
