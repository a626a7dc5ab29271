"""A sheet of living nuclei that wander, grow, divide and spread.

Time goes in fixed steps from 0 with one seeded generator, so the state at a time depends on the
seed alone and not on how often one looks. Growth is met by spreading: the sheet flows outward and
nuclei that leave the world are gone, so the density stays as it is, for hours.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.cells import Cells, Floats, shape_in_cycle
from drivers.simulated.crowding import SPREAD_UM_S, near_pairs, push_apart

STEP_S = 0.1
_PAIRS_EVERY = 5
_WANDER_S = 15.0  # how long a nucleus keeps its way
_SPREAD_STEPS = 80  # before time 0, from random places to an even sheet
_APART_S = 0.5  # daughters reach their distance in about this time
_KEPT_DIVISIONS = 200_000


@dataclass(frozen=True, slots=True)
class Division:
    """A nucleus that became two."""

    time_s: float
    mother: int
    daughters: tuple[int, int]
    x_um: float
    """Where, in the sample."""
    y_um: float


class Sample:
    """The nuclei of the whole world.

    Parameters
    ----------
    seed
        All chance comes from it.
    side_um
        Of the square world, whose centre is (0, 0).
    spacing_um
        Square root of the area that each nucleus has.
    cycle_s
        Mean time between divisions.
    """

    def __init__(self, seed: int, side_um: float, spacing_um: float, cycle_s: float) -> None:
        self._rng = rng = np.random.default_rng([seed, 1])
        self._half_um = side_um / 2
        self._reach_um = 1.15 * spacing_um
        self._mean_cycle_s = cycle_s
        # A cycle shorter or longer than the default makes everything faster or slower alike.
        self._speed_um_s = 0.25 * 90 / cycle_s
        self._spread_um_s = SPREAD_UM_S * 90 / cycle_s
        self._full = n = max(1, round((side_um / spacing_um) ** 2))
        self._step = 0
        self.divisions: deque[Division] = deque(maxlen=_KEPT_DIVISIONS)
        """Oldest first; the oldest are forgotten when there are very many."""
        self._next_id = n + 1
        self._ids = np.arange(1, n + 1, dtype=np.int32)
        self._at = rng.uniform(-self._half_um, self._half_um, (n, 2)).astype(np.float32)
        self._way = (rng.standard_normal((n, 2)) * self._speed_um_s).astype(np.float32)
        self._z = rng.normal(0, 0.8, n).astype(np.float32)
        self._angle = rng.uniform(0, 2 * math.pi, n).astype(np.float32)
        self._spin = np.zeros(n, np.float32)
        self._traits(n)
        # In a population that doubles each cycle there are twice as many newborn as old.
        age = -np.log2(1 - rng.uniform(0, 0.5, n))
        self._birth = -age * self._cycle
        self._pairs = near_pairs(self._at, self._reach_um + 4)
        for _ in range(_SPREAD_STEPS):
            self._at += push_apart(self._at, self._radius, self._pairs, self._reach_um) * 0.5
            np.clip(self._at, -self._half_um, self._half_um, out=self._at)
            self._pairs = near_pairs(self._at, self._reach_um + 4)

    @property
    def time_s(self) -> float:
        """Biological time of the state, seconds from 0."""
        return self._step * STEP_S

    def __len__(self) -> int:
        return len(self._ids)

    def advance(self, time_s: float) -> None:
        """Go on to the last step at or before ``time_s``; an earlier time changes nothing."""
        while (self._step + 1) * STEP_S <= time_s + 1e-9:
            self._one_step()

    def cells(self) -> Cells:
        """The nuclei as they are now; the arrays are the caller's."""
        age = np.clip((self.time_s - self._birth) / self._cycle, 0, 1).astype(np.float32)
        shape = shape_in_cycle(age, self._aspect)
        return Cells(
            ids=self._ids.copy(),
            x_um=self._at[:, 0].copy(),
            y_um=self._at[:, 1].copy(),
            z_um=self._z.copy(),
            angle=self._angle.copy(),
            radius_um=self._radius * shape.radius,
            aspect=shape.aspect,
            brightness=self._bright * shape.brightness,
            condensed=shape.condensed,
            texture=self._texture.copy(),
        )

    def _traits(self, n: int) -> None:
        """What nuclei are born with."""
        traits = self._new_traits(n)
        self._cycle, self._radius, self._aspect, self._bright, self._texture = traits

    def _new_traits(
        self, n: int
    ) -> tuple[NDArray[np.float64], Floats, Floats, Floats, NDArray[np.int32]]:
        rng = self._rng
        return (
            self._mean_cycle_s * np.clip(rng.normal(1, 0.12, n), 0.7, 1.4),
            np.clip(rng.normal(6.4, 0.55, n), 5, 8).astype(np.float32),
            rng.uniform(1.05, 1.55, n).astype(np.float32),
            np.exp(rng.normal(0, 0.18, n)).astype(np.float32),
            rng.integers(0, 1 << 16, n).astype(np.int32),
        )

    def _one_step(self) -> None:
        rng, n = self._rng, len(self._ids)
        self._step += 1
        if self._step % _PAIRS_EVERY == 0:
            self._pairs = near_pairs(self._at, self._reach_um + 4)
        keep = math.exp(-STEP_S / _WANDER_S)
        kick = self._speed_um_s * math.sqrt(1 - keep * keep)
        self._way = keep * self._way + kick * rng.standard_normal((n, 2), dtype=np.float32)
        self._spin = keep * self._spin + 0.02 * kick * rng.standard_normal(n, dtype=np.float32)
        flow = math.log(2) / self._mean_cycle_s / 2 * (n / self._full)
        push = push_apart(self._at, self._radius, self._pairs, self._reach_um, self._spread_um_s)
        self._at += STEP_S * (self._way + flow * self._at + push)
        self._angle += STEP_S * self._spin
        # The fast parting of daughters ends; what remains is wandering.
        speed = np.hypot(self._way[:, 0], self._way[:, 1])
        fast = speed > 4 * self._speed_um_s
        self._way[fast] *= math.exp(-STEP_S / (_APART_S / 2))
        self._divide()
        self._leave()

    def _divide(self) -> None:
        ripe = np.flatnonzero(self.time_s - self._birth >= self._cycle)
        if not ripe.size:
            return
        m = len(ripe)
        mothers = self._at[ripe].copy()
        axis = np.stack([-np.sin(self._angle[ripe]), np.cos(self._angle[ripe])], axis=1)
        radius = self._radius[ripe, None]
        first = np.arange(self._next_id, self._next_id + m, dtype=np.int32)
        self._next_id += 2 * m
        for mother, at, one in zip(self._ids[ripe], mothers, first, strict=True):
            pair = (int(one), int(one) + m)
            where = float(at[0]), float(at[1])
            self.divisions.append(Division(self.time_s, int(mother), pair, *where))
        stay = np.ones(len(self._ids), bool)
        stay[ripe] = False
        cycle, size, aspect, bright, texture = self._new_traits(2 * m)
        size = 0.7 * np.tile(self._radius[ripe], 2) + 0.3 * size
        inherited = 0.6 * np.tile(self._bright[ripe], 2) + 0.4 * bright
        both = np.concatenate([axis, -axis]).astype(np.float32)
        apart = 0.6 * np.tile(radius, (2, 1)) * both
        # From 0.6 to about 1.15 radii from the mother's place while the parting lasts.
        part = 0.55 * np.tile(radius, (2, 1)) * both / (_APART_S / 2)
        self._keep(stay)
        self._ids = np.concatenate([self._ids, first, first + m])
        self._at = np.concatenate([self._at, np.tile(mothers, (2, 1)) + apart])
        self._way = np.concatenate([self._way, part])
        self._z = np.concatenate([self._z, self._rng.normal(0, 0.8, 2 * m).astype(np.float32)])
        turned = np.arctan2(-both[:, 0], both[:, 1]).astype(np.float32)
        self._angle = np.concatenate([self._angle, turned])
        self._spin = np.concatenate([self._spin, np.zeros(2 * m, np.float32)])
        self._birth = np.concatenate([self._birth, np.full(2 * m, self.time_s)])
        self._cycle = np.concatenate([self._cycle, cycle])
        self._radius = np.concatenate([self._radius, size.astype(np.float32)])
        self._aspect = np.concatenate([self._aspect, aspect])
        self._bright = np.concatenate([self._bright, inherited.astype(np.float32)])
        self._texture = np.concatenate([self._texture, texture])
        self._pairs = near_pairs(self._at, self._reach_um + 4)

    def _leave(self) -> None:
        stay = np.abs(self._at).max(axis=1, initial=0) <= self._half_um
        if not stay.all() and stay.any():
            self._keep(stay)
            self._pairs = near_pairs(self._at, self._reach_um + 4)

    def _keep(self, stay: NDArray[np.bool_]) -> None:
        for name in _PER_CELL:
            setattr(self, name, getattr(self, name)[stay])


_PER_CELL = (
    "_ids", "_at", "_way", "_z", "_angle", "_spin", "_birth", "_cycle", "_radius", "_aspect",
    "_bright", "_texture",
)  # fmt: skip
