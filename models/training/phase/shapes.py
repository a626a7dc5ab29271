"""Outlines of adherent cells as implicit functions, for drawn training pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.training.segment.crowding import box_blur

Image = NDArray[np.float32]

_UNIT = np.linspace(-3.2, 3.2, 28, dtype=np.float32)
_UNIT_CELL = float((_UNIT[1] - _UNIT[0]) ** 2)


@dataclass(frozen=True, slots=True)
class Kind:
    """Ranges from which the shapes of one kind of cell are drawn."""

    stretch: tuple[float, float]
    """Length over width."""
    tip: tuple[float, float]
    """Exponent along the cell: below 1 drawn-out tips, 2 an ellipse, above boxy."""
    waver: float
    """Depth of smooth bumps of the outline, of the radius."""
    arms: int
    """Most protrusions."""
    size: float
    """Diameter, of the field's."""
    body_rad: tuple[float, float]
    """Phase delay of the thick middle."""
    sheet_rad: tuple[float, float]
    """Phase delay of the thin margin."""
    body: tuple[float, float]
    """Share of the radius that the thick middle takes."""


KINDS = {
    "spindle": Kind((1.8, 5.5), (0.8, 1.8), 0.10, 1, 1.0, (0.6, 3.0), (0.03, 0.6), (0.30, 1.0)),
    "polygon": Kind((1.0, 1.9), (1.6, 3.0), 0.14, 2, 1.1, (0.4, 2.6), (0.03, 0.5), (0.25, 0.9)),
    "fan": Kind((1.0, 2.2), (1.2, 2.2), 0.22, 5, 1.1, (0.5, 3.2), (0.03, 0.5), (0.22, 0.7)),
    "round": Kind((1.0, 1.35), (1.8, 2.2), 0.04, 0, 0.75, (1.5, 6.0), (0.02, 0.5), (0.40, 1.0)),
}


def smooth_step(x: NDArray[np.floating[Any]]) -> Image:
    """0 below 0, 1 above 1, smooth between."""
    t = np.clip(x, 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), dtype=np.float32)


def wander(size: int, reach_px: float, rng: np.random.Generator) -> Image:
    """Smooth random field (size, size) of mean 0 and deviation 1."""
    radius = max(1, round(reach_px))
    field = box_blur(rng.standard_normal((size, size)).astype(np.float32), radius)
    field -= field.mean()
    return np.asarray(field / max(float(field.std()), 1e-6), dtype=np.float32)


class Outline:
    """Implicit function of one cell around its own middle, scaled to unit equivalent radius."""

    def __init__(self, kind: Kind, rng: np.random.Generator) -> None:
        stretch = np.exp(rng.uniform(*np.log(kind.stretch)))
        self.long, self.short = float(np.sqrt(stretch)), float(1 / np.sqrt(stretch))
        self._tip, self._side = rng.uniform(*kind.tip), rng.uniform(1.2, 2.4)
        self._lean = rng.uniform(-0.35, 0.35) if kind.waver > 0.05 else 0.0
        self._bend = rng.normal(0.0, 0.18) * (kind.stretch[1] > 2)
        waves = np.arange(2, 7)
        self._waves = rng.normal(0.0, kind.waver, len(waves)) / np.sqrt(waves - 1)
        self._turns = rng.uniform(0, 2 * np.pi, len(waves))
        count = int(rng.integers(0, kind.arms + 1))
        self._arms = rng.uniform(0, 2 * np.pi, count)
        self._reach = rng.uniform(0.2, 1.0, count)
        self._sharp = rng.uniform(6.0, 30.0, count)
        self.scale = 1.0
        inside = float((self(_UNIT[:, None], _UNIT[None, :]) < 1).sum()) * _UNIT_CELL
        self.scale = float(np.sqrt(np.pi / max(inside, 0.3)))

    def __call__(self, v: Image, u: Image) -> Image:
        """Value at (across, along) in units of the cell's equivalent radius."""
        v, u = v / self.scale, u / self.scale
        v = v - self._bend * (u * u - 0.3 * self.long**2)
        half = self.long * (1.0 + self._lean * np.sign(u))
        angle = np.arctan2(v / self.short, u / self.long)
        bump = np.zeros(np.broadcast(u, v).shape, np.float32)
        for k, (depth, turn) in enumerate(zip(self._waves, self._turns, strict=True), start=2):
            bump += depth * np.cos(k * angle + turn)
        for at, reach, sharp in zip(self._arms, self._reach, self._sharp, strict=True):
            bump += reach * np.exp(sharp * (np.cos(angle - at) - 1.0))
        level = np.abs(u / half) ** self._tip + np.abs(v / self.short) ** self._side
        power = 2.0 / (self._tip + self._side)
        return np.asarray(level**power / np.maximum(1.0 + bump, 0.35), dtype=np.float32)
