"""Drawn colonies of packed rods as phase contrast shows them, for training.

Rods lie end to end in rows that bend smoothly. Bodies are dark at the colony's edge and pale inside
it, gaps and the halo around the colony are bright.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.training.segment.crowding import box_blur

Image = NDArray[np.float32]
Labels = NDArray[np.int32]

DIAMETER_TO_WIDTH = 2.05
"""A rod 3.5 times as long as wide has the area of a disc of 2.05 times its width."""


def _wander(size: int, radius: int, height: float, rng: np.random.Generator) -> Image:
    """Smooth random field (size, size) of standard deviation ``height``."""
    field = box_blur(rng.standard_normal((size, size)).astype(np.float32), radius)
    return np.asarray(field * (height / max(float(field.std()), 1e-6)), dtype=np.float32)


def draw_rods(size: int, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Label image (size, size) of a colony of rods of about this equivalent diameter."""
    width = diameter_px / DIAMETER_TO_WIDTH
    gap = width * rng.uniform(0.0, 0.3)
    angle = rng.uniform(0, np.pi)
    y, x = np.indices((size, size)) - size / 2
    bend = _wander(size, 24, rng.uniform(0.0, 1.2) * width, rng)
    u = x * np.cos(angle) + y * np.sin(angle) + 0.5 * bend
    v = -x * np.sin(angle) + y * np.cos(angle) + bend
    row = np.floor(v / (width + gap)).astype(np.int64)
    row -= row.min()
    across = np.abs(np.mod(v, width + gap) - (width + gap) / 2)
    labels = np.zeros((size, size), np.int32)
    used = 0
    for number in range(int(row.max()) + 1):
        here = row == number
        count = int(np.ceil(4 * size / (2 * width)))
        length = width * rng.uniform(2.0, 6.0, count)
        ends = np.cumsum(length + width * rng.uniform(0.0, 0.5, count)) + u.min()
        ends -= rng.uniform(0, 4 * width)
        which = np.searchsorted(ends, u[here])
        stop = ends[np.minimum(which, count - 1)]
        start = stop - length[np.minimum(which, count - 1)]
        own = 0.5 * width * rng.uniform(0.85, 1.0)
        beyond = np.maximum(np.maximum(start + own - u[here], u[here] - (stop - own)), 0.0)
        inside = beyond**2 + across[here] ** 2 <= own**2
        labels[here] = np.where(inside, used + 1 + which, 0)
        used += count + 1
    missing = rng.random(used + 2) < rng.uniform(0.0, 0.25)
    # the colony ends somewhere: rods whose middle lies beyond its outline are left out
    colony = _wander(size, 20, 1.0, rng) + rng.uniform(-0.5, 1.5) > 0
    area = np.bincount(labels.ravel(), minlength=used + 2)
    within = np.bincount(labels.ravel(), colony.ravel(), minlength=used + 2)
    missing |= within < 0.5 * area
    missing[0] = True
    return np.where(missing[labels], 0, labels).astype(np.int32)


def render(labels: Labels, width_px: float, rng: np.random.Generator) -> Image:
    """Phase-contrast picture (y, x) of rods, about 0 in the darkest bodies and 1 in the halo."""
    body = (labels > 0).astype(np.float32)
    background, bright = rng.uniform(0.15, 0.6), rng.uniform(0.6, 1.1)
    reach = max(1, round(width_px * rng.uniform(0.3, 0.9)))
    crowd = box_blur(body, max(2, round(width_px * rng.uniform(0.8, 2.0))))
    halo = np.clip(box_blur(body, reach) * rng.uniform(1.5, 3.0), 0.0, 1.0)
    image = background + (bright - background) * halo + _wander(len(labels), 3, 0.02, rng)
    own = rng.uniform(0.0, 0.25, int(labels.max()) + 1) * rng.uniform(0.0, 1.0)
    pale = own[labels] + rng.uniform(0.0, 0.7) * np.clip((crowd - 0.4) / 0.6, 0.0, 1.0)
    grain = _wander(len(labels), max(1, round(width_px / 6)), rng.uniform(0.0, 0.12), rng)
    dark = np.clip(pale * bright + grain, 0.0, 0.8 * bright).astype(np.float32)
    image = np.where(labels > 0, dark, image).astype(np.float32)
    return box_blur(image, 1, 2 if width_px > 9 else 1)


def draw_colony(size: int, diameter_px: float, rng: np.random.Generator) -> tuple[Image, Labels]:
    """Picture and labels of one drawn colony."""
    labels = draw_rods(size, diameter_px, rng)
    return render(labels, diameter_px / DIAMETER_TO_WIDTH, rng), labels
