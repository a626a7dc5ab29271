"""What lies in a dish beside cells, and what lamp and camera add."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.training.phase.shapes import smooth_step, wander
from models.training.segment.crowding import box_blur

Image = NDArray[np.float32]


def debris(size: int, diameter_px: float, rng: np.random.Generator) -> tuple[Image, Image]:
    """Phase delay and dimming (size, size) of specks, crumbs and vesicles that are no cells."""
    phase = np.zeros((size, size), np.float32)
    dimming = np.ones((size, size), np.float32)
    per_area = rng.uniform(0, 1) ** 2 * 0.4 / diameter_px**2
    for _ in range(rng.poisson(per_area * size * size)):
        dark = rng.random() < 0.7
        largest = 0.17 if dark else 0.08
        radius = max(0.5, diameter_px * np.exp(rng.uniform(np.log(0.035), np.log(largest))))
        strength = rng.uniform(0.2, 0.95) if dark else rng.uniform(-1.5, 2.5)
        place = rng.uniform(0, size, 2)
        for _ in range(1 + int(rng.random() < 0.35) * int(rng.integers(1, 4))):  # crumbs cling
            box, spot = _speck(place, radius * rng.uniform(0.6, 1.0), size, rng)
            if dark:
                dimming[box] *= 1.0 - strength * spot
            else:
                phase[box] += strength * spot
            place = place + rng.normal(0.0, 1.2 * radius, 2)
    return phase, dimming


def _speck(
    place: NDArray[np.float64], radius: float, size: int, rng: np.random.Generator
) -> tuple[tuple[slice, slice], Image]:
    """Window and flat-topped spot, 1 in its middle, of about this radius."""
    y, x = place
    stretch, angle = np.exp(rng.uniform(0.0, 1.6)), rng.uniform(0, np.pi)
    radius /= np.sqrt(stretch)
    reach = int(2.5 * radius * stretch) + 2
    rows = slice(max(int(y) - reach, 0), max(min(int(y) + reach + 1, size), 0))
    columns = slice(max(int(x) - reach, 0), max(min(int(x) + reach + 1, size), 0))
    dy, dx = np.ogrid[rows, columns]
    dy, dx = dy - y, dx - x
    u = (np.cos(angle) * dx + np.sin(angle) * dy) / stretch
    v = np.cos(angle) * dy - np.sin(angle) * dx + rng.normal(0, 0.1) * u * u / radius
    return (rows, columns), np.exp(-(((u * u + v * v) / radius**2) ** 1.5)).astype(np.float32)


def dust(size: int, diameter_px: float, much: bool, rng: np.random.Generator) -> Image:
    """Relative light (size, size) behind dust far from focus: rings, crescents, stains, scratches.

    They are as large as cells or larger and as strong as faint ones, but smooth.
    """
    light = np.zeros((size, size), np.float32)
    y, x = np.indices((size, size), dtype=np.float32)
    strong = rng.uniform(0.03, 0.3)
    for _ in range(rng.poisson(rng.choice((6.0, 20.0) if much else (0.0, 4.0, 12.0)))):
        cy, cx = rng.uniform(0, size, 2)
        radius = diameter_px * rng.uniform(0.4, 2.5)
        angle = np.arctan2(y - cy, x - cx) - rng.uniform(0, 2 * np.pi)
        oval = 1.0 + rng.uniform(0, 0.4) * np.cos(2 * angle)
        away = np.hypot(y - cy, x - cx) / (radius * oval)
        if rng.random() < 0.75:
            spot = np.exp(-(((away - 1.0) / rng.uniform(0.08, 0.45)) ** 2))
            # from a closed ring to a crescent
            spot *= (0.5 + 0.5 * np.cos(angle)) ** rng.choice((0.0, 0.5, 2.0))
            if rng.random() < 0.5:
                spot += rng.normal(0.0, 0.5) * np.exp(-((away / rng.uniform(0.2, 0.6)) ** 2))
        else:
            spot = smooth_step((1.0 - away) / rng.uniform(0.1, 0.6))
        light += rng.normal(0.0, strong) * spot
    for _ in range(int(rng.choice((0, 1, 2)))):
        light += _stain(size, diameter_px, strong, rng)
    if rng.random() < 0.15:
        angle, at = rng.uniform(0, np.pi), rng.uniform(-0.4, 0.4) * size
        off = (x - size / 2) * np.cos(angle) + (y - size / 2) * np.sin(angle) - at
        light += rng.normal(0.0, 0.15) * np.exp(-((off / rng.uniform(0.6, 2.0)) ** 2))
    return np.asarray(np.clip(1.0 + light, 0.2, 2.0), dtype=np.float32)


def _stain(size: int, diameter_px: float, strong: float, rng: np.random.Generator) -> Image:
    """Outlines of a film or bubble (size, size), as lines or as if lit from one side."""
    hill = wander(size, diameter_px * rng.uniform(0.5, 2.5), rng)
    place = smooth_step(wander(size, 2 * diameter_px, rng))
    if rng.random() < 0.5:
        edge = np.exp(-((hill / rng.uniform(0.05, 0.3)) ** 2))
    else:
        flat = box_blur(smooth_step(hill / rng.uniform(0.1, 0.5)), 1)
        down, right = np.gradient(flat)
        turn = rng.uniform(0, 2 * np.pi)
        edge = np.cos(turn) * down + np.sin(turn) * right
        edge = edge / max(float(np.abs(edge).max()), 1e-6)
    return np.asarray(rng.normal(0.0, 1.5 * strong) * edge * place, dtype=np.float32)


def lamp(size: int, rng: np.random.Generator) -> Image:
    """Uneven illumination (size, size) around 1."""
    y, x = np.indices((size, size), dtype=np.float32) / size - 0.5
    strong = rng.choice((0.05, 0.3, 0.8, 1.2))
    light = 1.0 + strong * (rng.uniform(-1, 1) * y + rng.uniform(-1, 1) * x)
    light -= rng.uniform(-0.2, 1.0) * strong * (y * y + x * x)
    if rng.random() < 0.3:
        light += 0.08 * rng.random() * wander(size, size / 12, rng)
    return np.asarray(np.clip(light, 0.2, 3.0), dtype=np.float32)


def camera(light: Image, rng: np.random.Generator) -> Image:
    """Counts (y, x) from 0 to 255 of a camera that is set to see this light."""
    noise = 0.05 * rng.random() ** 2
    grain = rng.standard_normal(light.shape).astype(np.float32)
    if rng.random() < 0.4:
        grain = 1.8 * box_blur(grain, 1, 1)
    seen = light + noise * np.sqrt(np.clip(light, 0.05, None)) * grain
    # most cameras are set so that little is saturated
    level = rng.uniform(0.2, 0.75) * 255.0 / max(1.0, float(np.percentile(seen, 97)) / 1.3)
    seen = np.clip(seen, 0.0, None) ** np.exp(rng.uniform(-0.4, 0.4)) * level
    black = rng.uniform(0.0, 0.5) * float(np.percentile(seen, 1))
    counts = np.clip((seen - black), 0.0, 255.0)
    return np.asarray(np.round(counts) if rng.random() < 0.7 else counts, dtype=np.float32)
