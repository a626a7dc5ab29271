"""Dust as phase contrast shows it: dark specks on the sample and rings out of focus.

Dust belongs to no object. A network that has seen none takes dark specks for cells.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.training.segment.crowding import box_blur

MOST = 12


def draw_dust(size: int, diameter_px: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """What dust adds to a normalised picture (size, size) of objects of this diameter.

    Specks are much smaller than objects; rings are a bright disc in a dark ring or the reverse, as
    a particle shows that lies above or below the sample. The ground is mottled a little.
    """
    y, x = np.indices((size, size), dtype=np.float32)
    out = np.zeros((size, size), np.float32)
    for _ in range(int(rng.integers(1, MOST + 1))):
        away = np.hypot(y - rng.uniform(0, size), x - rng.uniform(0, size))
        if rng.random() < 0.5:
            radius = diameter_px * rng.uniform(0.04, 0.2)
            squeeze = 1 / (1 + np.exp(np.clip(2.0 * (away - radius), -30, 30)))
            out -= rng.uniform(0.1, 0.8) * squeeze
        else:
            radius = diameter_px * rng.uniform(0.15, 0.5)
            waves = np.cos(np.pi * away / radius) * np.exp(-((away / (1.5 * radius)) ** 2))
            out += rng.uniform(-0.25, 0.35) * waves
    mottle = box_blur(rng.standard_normal((size, size)).astype(np.float32), int(rng.integers(2, 9)))
    strength = rng.uniform(0.0, 0.06) / max(float(mottle.std()), 1e-6)
    return (out + strength * mottle).astype(np.float32)
