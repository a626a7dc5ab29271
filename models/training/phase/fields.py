"""Drawn fields of adherent cells as phase contrast shows them, for training.

Few labelled phase-contrast pictures may be given away, so the network is trained on drawn ones:
cells of many shapes, alone or in sheets, seen by optics that vary more than any one microscope's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.training.phase.bodies import Body, compose, make_body, random_habit
from models.training.phase.dirt import camera, debris, dust, lamp
from models.training.phase.optics import expose, random_optics
from models.training.phase.shapes import KINDS, wander
from models.training.segment.crowding import box_blur

Image = NDArray[np.float32]
Labels = NDArray[np.int32]

FAINTEST = 0.10
"""A cell must differ from its surroundings by about this share of their light to be labelled."""

CRUMB = 0.12
"""Smaller than this part of the median area is no cell."""

MIXES = (
    (0.30, {"spindle": 0.75, "polygon": 0.05, "fan": 0.1, "round": 0.1}),
    (0.20, {"spindle": 0.05, "polygon": 0.75, "fan": 0.1, "round": 0.1}),
    (0.20, {"spindle": 0.1, "polygon": 0.1, "fan": 0.7, "round": 0.1}),
    (0.10, {"spindle": 0.0, "polygon": 0.0, "fan": 0.1, "round": 0.9}),
    (0.20, {"spindle": 0.3, "polygon": 0.2, "fan": 0.2, "round": 0.3}),
)
"""Shares of fields, and in each the shares of kinds of cell."""


def _places(count: int, size: int, spread: bool, rng: np.random.Generator) -> NDArray[np.float64]:
    """(n, 2) middles: evenly spread, or by chance and in heaps."""
    low, high = -0.05 * size, 1.05 * size
    if not spread:
        places = rng.uniform(low, high, (count, 2))
        heaps = rng.uniform(low, high, (max(1, count // 6), 2))
        joins = rng.random(count) < rng.choice((0.0, 0.5))
        near = heaps[rng.integers(len(heaps), size=count)] + rng.normal(0, 0.07 * size, (count, 2))
        return np.where(joins[:, None], near, places)
    chosen = rng.uniform(low, high, (1, 2))
    for _ in range(count - 1):  # the best of a few candidates is the farthest from all others
        tries = rng.uniform(low, high, (6, 2))
        away = ((tries[:, None] - chosen[None]) ** 2).sum(-1).min(1)
        chosen = np.concatenate([chosen, tries[[int(np.argmax(away))]]])
    return chosen


def draw_field(size: int, diameter_px: float, rng: np.random.Generator) -> tuple[Image, Labels]:
    """Picture and labels (size, size) of one field of cells of about this diameter.

    The picture is scaled as a normalised image: about 0 at the darkest, 1 at the brightest.
    """
    counts, labels = draw_counts(size, diameter_px, rng)
    low, high = np.percentile(counts, (1.0, 99.8))
    return ((counts - low) / max(float(high - low), 1e-6)).astype(np.float32), labels


def draw_counts(size: int, diameter_px: float, rng: np.random.Generator) -> tuple[Image, Labels]:
    """The same with the picture in camera counts, 0 to 255."""
    # cells are few in many movies, and then most of what is dark or bright is dirt
    dirty = rng.random() < 0.35
    phase, glow, labels = _cells(size, diameter_px, (0.003, 0.05) if dirty else (0.015, 0.5), rng)
    crumbs, dimming = debris(size, diameter_px, rng)
    if rng.random() < 0.3:
        phase = phase + 0.04 * rng.random() * wander(size, diameter_px * rng.uniform(0.05, 1), rng)
    light = expose(phase + crumbs, dimming, random_optics(diameter_px, rng))
    light = light * np.exp(box_blur(glow, 1, 1))
    labels = _visible(light, labels)
    light = light * dust(size, diameter_px, dirty, rng) * lamp(size, rng)
    return camera(light, rng), labels


def _visible(light: Image, labels: Labels) -> Labels:
    """Labels without cells that hardly differ from their surroundings, and without crumbs."""
    flat = labels.ravel()
    area = np.maximum(np.bincount(flat), 1)
    away = light.ravel() - float(np.median(light))
    mean = np.bincount(flat, away) / area
    square = np.bincount(flat, away * away) / area
    keep = np.sqrt(square) + np.abs(mean) > FAINTEST
    # what a neighbour leaves of a cell looks like debris, but at the picture's edge more is known
    present = np.bincount(flat)[1:]
    typical = float(np.median(present[present > 0])) if (present > 0).any() else 0.0
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    keep &= (area >= CRUMB * typical) | np.isin(np.arange(len(area)), edge)
    keep[0] = False
    return np.where(keep[labels], labels, 0).astype(np.int32)


def _cells(
    size: int, diameter_px: float, sparse: tuple[float, float], rng: np.random.Generator
) -> tuple[Image, Image, Labels]:
    """Phase delay, glow and labels; ``sparse`` is the cover of the dish where cells are apart."""
    shares = np.array([share for share, _ in MIXES])
    mix = MIXES[int(rng.choice(len(MIXES), p=shares))][1]
    sheet = sparse[1] > 0.1 and rng.random() < 0.33
    cover = rng.uniform(0.6, 1.3) if sheet else np.exp(rng.uniform(*np.log(sparse)))
    count = max(2, round(1.2 * cover * size * size / (np.pi / 4 * diameter_px**2)))
    places = _places(count, size, sheet, rng)
    kinds = rng.choice(list(mix), len(places), p=list(mix.values()))
    flow = np.pi * wander(size, diameter_px * 1.5, rng) * rng.uniform(0.0, 0.5)
    flow = flow + rng.uniform(0, np.pi)
    astray = rng.choice((0.15, 0.6, 3.0))
    habit = random_habit(sheet, rng)
    bodies: list[Body] = []
    for name, at in zip(kinds.tolist(), places, strict=True):
        y, x = np.clip(at, 0, size - 1).astype(int)
        radius = 0.5 * diameter_px * KINDS[name].size * np.exp(rng.normal(0.0, 0.25))
        body = make_body(
            name,
            (float(at[0]), float(at[1])),
            radius * (1.15 if sheet else 1.0),
            float(flow[y, x]) + astray * rng.normal(),
            size,
            habit,
            rng,
        )
        if body is not None:
            bodies.append(body)
    border = float(np.exp(rng.uniform(np.log(0.03), np.log(0.15 if sheet else 0.5))))
    return compose(bodies, size, border, not sheet and rng.random() < 0.25)
