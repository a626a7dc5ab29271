"""Bodies of adherent cells in optical thickness, alone and together, for drawn training pictures.

A cell is an implicit function: below 1 inside, 1 on the outline. Where cells meet, the one whose
function is lower owns the pixel, so the same code draws single cells and closed sheets.
"""

from __future__ import annotations

from dataclasses import dataclass

import mahotas
import numpy as np
from numpy.typing import NDArray

from models.training.phase.shapes import KINDS, Outline, smooth_step
from models.training.segment.crowding import box_blur

Image = NDArray[np.float32]
Labels = NDArray[np.int32]


@dataclass(slots=True)
class Body:
    """One cell on the pixels around it."""

    top: int
    left: int
    level: Image
    """(y, x) implicit function on the window: below 1 inside."""
    phase: Image
    """(y, x) phase delay on the window, radians."""
    glow: Image
    """(y, x) logarithm of the light that it sends to or takes from each pixel."""
    margin: float
    """An annotator's outline lies at this level; above 1 it takes the bright rim in."""


@dataclass(frozen=True, slots=True)
class Habit:
    """What the cells of one field have in common."""

    sheet: bool
    """Cells are thick up to their borders: a sheet whose borders cannot be seen teaches nothing."""
    contrast: float
    alike: float
    """Spread of contrast from cell to cell."""
    generous: float
    """0 to 1: how much of the bright rim an annotator takes in."""
    glow: NDArray[np.float64]
    """(7,) logarithm of relative light at `GLOW_LEVELS`: thick cells act as lenses."""
    glow_spread: float
    lit_from: float
    """Direction from which relief seems lit, radians."""
    relief: float


GLOW_LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.6)
_GLOW = np.array((-1.0, -0.6, 0.3, 0.8, 0.6, 0.2, 0.0))


def random_habit(sheet: bool, rng: np.random.Generator) -> Habit:
    """Habit of one field; in two of five fields cells glow beyond what thickness explains."""
    strength = rng.uniform(0.2, 1.0) if rng.random() < 0.4 else 0.0
    glow = strength * (_GLOW * rng.uniform(-0.3, 1.2) + rng.normal(0.0, 0.4, len(_GLOW)))
    glow[-1] = 0.0
    return Habit(
        sheet,
        contrast=float(np.exp(rng.uniform(np.log(0.25), np.log(1.3)))),
        alike=rng.uniform(0.0, 0.5),
        generous=rng.random(),
        glow=glow,
        glow_spread=rng.uniform(0.2, 1.0),
        lit_from=rng.uniform(0, 2 * np.pi),
        relief=float(rng.choice((0.0, 0.4, 1.0))),
    )


def _dome(level: Image, share: float, steep: float) -> Image:
    """Hill that ends where ``level`` reaches ``share``."""
    rest = np.clip(1.0 - (level / share) ** 2, 0.0, 1.0)
    return np.asarray(rest**steep, dtype=np.float32)


def _disc(v: Image, u: Image, radius: float, soft: float) -> Image:
    distance = np.sqrt(v * v + u * u) / radius
    return smooth_step((1.0 + 0.5 * soft - distance) / soft)


def make_body(
    kind_name: str,
    at: tuple[float, float],
    radius_px: float,
    angle: float,
    shape: int,
    habit: Habit,
    rng: np.random.Generator,
) -> Body | None:
    """One cell of equivalent radius ``radius_px`` at (y, x), its length along ``angle``.

    None where none of it lies in the field.
    """
    kind = KINDS[kind_name]
    outline = Outline(kind, rng)
    reach = int(np.ceil(radius_px * min(1.4 * outline.scale * outline.long + 0.8, 4.0))) + 2
    y0, x0 = (max(int(p) - reach, 0) for p in at)
    y1, x1 = (min(int(p) + reach + 1, shape) for p in at)
    if y1 <= y0 or x1 <= x0:
        return None
    dy = (np.arange(y0, y1, dtype=np.float32) - np.float32(at[0]))[:, None] / radius_px
    dx = (np.arange(x0, x1, dtype=np.float32) - np.float32(at[1]))[None, :] / radius_px
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = cos * dx + sin * dy, cos * dy - sin * dx
    level = outline(v, u)
    rim = rng.uniform(0.06, 0.35)
    thin = rng.uniform(*kind.sheet_rad) + (0.2 if habit.sheet else 0.0)
    phase = thin * smooth_step((1.0 - level) / rim)
    share, steep = rng.uniform(*kind.body), rng.uniform(0.6, 2.0)
    if habit.sheet:
        share = max(share, 1.0 - 0.5 * share)
    thick = np.exp(rng.uniform(*np.log(kind.body_rad)))
    # the thick middle follows the outline in some cells, in others it is an ellipse of its own
    if rng.random() < 0.5:
        phase = phase + thick * _dome(level, share, steep)
    else:
        off = rng.normal(0.0, 0.15, 2)
        slim = rng.uniform(0.5, 1.0)
        own = np.hypot((u / outline.long - off[0]), (v / (outline.short * slim) - off[1]))
        phase = phase + thick * _dome(own.astype(np.float32), share, steep) * smooth_step(
            (1.0 - level) / 0.15
        )
    spot_u, spot_v = rng.normal(0.0, 0.12, 2) * (outline.long, outline.short)
    if kind_name != "round" or rng.random() < 0.3:
        nucleus = _disc(v - spot_v, (u - spot_u) / rng.uniform(1.0, 1.6), 0.45, 0.35)
        phase = phase + rng.normal(0.0, 0.35) * nucleus
        for _ in range(int(rng.integers(0, 4))):
            nv, nu = rng.normal(0.0, 0.16, 2)
            spot = _disc(v - spot_v - nv, u - spot_u - nu, rng.uniform(0.08, 0.16), 0.8)
            phase = phase + rng.uniform(0.1, 0.7) * spot
    if rng.random() < 0.7:
        grain = rng.standard_normal(level.shape).astype(np.float32)
        if radius_px > 9 and rng.random() < 0.7:
            grain = 2.0 * box_blur(grain, 1, 1)
        near = smooth_step((1.0 - level) / 0.8)
        phase = phase + rng.uniform(0.0, 0.35) * grain * near
    phase = phase * smooth_step((1.05 - level) / 0.1)  # a nucleus must not stick out of a thin cell
    phase = habit.contrast * np.exp(rng.normal(0.0, habit.alike)) * phase
    margin = 1.0 + habit.generous * (0.35 if kind_name == "round" else 0.15)
    return Body(y0, x0, level, phase.astype(np.float32), _glow(level, dy, dx, habit, rng), margin)


def _glow(level: Image, dy: Image, dx: Image, habit: Habit, rng: np.random.Generator) -> Image:
    if not habit.glow.any():
        return np.zeros(level.shape, np.float32)
    own = habit.glow * (1 + rng.normal(0.0, habit.glow_spread, len(habit.glow)))
    light = np.interp(level, GLOW_LEVELS, own)
    if habit.relief:
        side = np.cos(np.arctan2(dy, dx) - habit.lit_from - rng.normal(0.0, 0.4))
        light = light * (1.0 + habit.relief * side * np.clip(2 * level, 0.0, 1.0))
    return np.asarray(np.clip(light, -1.5, 1.5), dtype=np.float32)


def _owners(bodies: list[Body], size: int) -> tuple[Image, Image, Labels]:
    """Lowest and second lowest implicit function of all cells, and whose is the lowest."""
    first = np.full((size, size), 9.0, np.float32)
    second = first.copy()
    owner = np.zeros((size, size), np.int32)
    for number, body in enumerate(bodies, start=1):
        box = np.s_[
            body.top : body.top + body.level.shape[0], body.left : body.left + body.level.shape[1]
        ]
        low, old = body.level, first[box]
        wins = low < old
        second[box] = np.where(wins, old, np.minimum(second[box], low))
        owner[box] = np.where(wins, number, owner[box])
        first[box] = np.where(wins, low, old)
    return first, second, owner


def compose(
    bodies: list[Body], size: int, border: float, overlap: bool
) -> tuple[Image, Image, Labels]:
    """Phase delay and glow (size, size) and labels of cells together.

    Parameters
    ----------
    border
        How far from a neighbour a cell begins to thin, in units of the implicit function.
    overlap
        Thicknesses add where cells cross, as of cells that crawl over each other.
    """
    first, second, owner = _owners(bodies, size)
    total, glow = np.zeros((2, size, size), np.float32)
    labels = np.zeros((size, size), np.int32)
    for number, body in enumerate(bodies, start=1):
        box = np.s_[
            body.top : body.top + body.level.shape[0], body.left : body.left + body.level.shape[1]
        ]
        mine = owner[box] == number
        inside = mine & (body.level < body.margin)
        if not inside.any():
            continue
        # a neighbour can cut a cell in pieces; the largest stays
        pieces, count = mahotas.label(inside)
        if count > 1:
            inside = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
        labels[box][inside] = number
        phase = body.phase
        if not overlap:
            other = np.where(mine, second[box], first[box])
            phase = phase * smooth_step((other - body.level) / border)
            if count > 1:
                phase = np.where(inside | (pieces == 0), phase, 0.0)
        total[box] += phase
        glow[box] += np.where(mine | (owner[box] == 0), body.glow, 0.0)
    return total, glow, labels
