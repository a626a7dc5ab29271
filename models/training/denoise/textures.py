"""Clean pictures of many kinds, drawn at random, to learn denoising from.

What a denoiser has seen clean it will draw from noise, so the kinds are many and none is a
particular sample: fibres, networks, spots, vesicles, walls, cells, tissue, neurons, phase contrast,
overlapping leaves (Lee, Mumford and Huang, Int J Comput Vis 2001) and noise with a 1/f spectrum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

Picture = NDArray[np.float32]
"""(y, x) brightness, 0 and above; the scale is the maker's own."""

Rng = np.random.Generator


def random_texture(rng: Rng, side: int) -> Picture:
    """One picture (side, side) of a kind drawn at random, its 99.5th percentile 1, at least 0."""
    names = list(KINDS)
    shares = np.array([KINDS[name][1] for name in names])
    name = names[int(rng.choice(len(names), p=shares / shares.sum()))]
    return scaled(KINDS[name][0](rng, side))


def scaled(picture: NDArray[Any]) -> Picture:
    """Lowest value 0 and 99.5th percentile 1; what is brighter stays brighter."""
    low, high = float(picture.min()), float(np.percentile(picture, 99.5))
    if high - low < 1e-6:
        high = float(picture.max()) + 1e-6
    return np.asarray((picture - low) / max(high - low, 1e-6), np.float32)


def blurred(picture: NDArray[Any], sigma_px: float) -> Picture:
    """Gaussian blur with mirrored borders."""
    return np.asarray(ndimage.gaussian_filter(picture, sigma_px, mode="reflect"), np.float32)


def psf(rng: Rng, least: float = 0.5, most: float = 2.2) -> float:
    """Width of a microscope's blur in pixels."""
    return float(np.exp(rng.uniform(np.log(least), np.log(most))))


def splat(side: int, y: NDArray[Any], x: NDArray[Any], light: NDArray[Any]) -> Picture:
    """Add points at fractional places to an empty picture, spread over the four pixels around."""
    out = np.zeros((side + 1, side + 1), np.float32)
    inside = (y >= 0) & (y < side) & (x >= 0) & (x < side)
    y, x, light = y[inside], x[inside], light[inside]
    row, column = y.astype(np.intp), x.astype(np.intp)
    dy, dx = y - row, x - column
    np.add.at(out, (row, column), light * (1 - dy) * (1 - dx))
    np.add.at(out, (row + 1, column), light * dy * (1 - dx))
    np.add.at(out, (row, column + 1), light * (1 - dy) * dx)
    np.add.at(out, (row + 1, column + 1), light * dy * dx)
    return out[:side, :side]


def fibres(rng: Rng, side: int) -> Picture:
    """Curved filaments, apart or from common centres, as of microtubules and actin."""
    count = int(np.exp(rng.uniform(np.log(4), np.log(90))))
    steps = int(rng.uniform(40, 2.5 * side))
    bend = rng.choice([0.005, 0.02, 0.06, 0.15]) * rng.uniform(0.5, 1.5)
    if rng.random() < 0.4:
        centres = rng.uniform(0, side, (int(rng.integers(1, 4)), 2))
        start = centres[rng.integers(len(centres), size=count)] + rng.normal(0, 4, (count, 2))
    else:
        start = rng.uniform(-0.2 * side, 1.2 * side, (count, 2))
    main = rng.uniform(0, 2 * np.pi)
    spread = rng.choice([0.15, np.pi])
    turn = ndimage.gaussian_filter1d(rng.normal(0, bend, (count, steps)), 5, axis=1) * 3
    angle = main + rng.uniform(-spread, spread, (count, 1)) + np.cumsum(turn, axis=1)
    y = start[:, :1] + np.cumsum(np.sin(angle), axis=1)
    x = start[:, 1:] + np.cumsum(np.cos(angle), axis=1)
    light = np.exp(rng.normal(0, 0.5, (count, 1))) * np.ones((count, steps))
    if rng.random() < 0.3:  # beads on the string
        light *= rng.random((count, steps)) ** 3
    return blurred(splat(side, y.ravel(), x.ravel(), light.ravel()), psf(rng, 0.6, 2.5))


def mitochondria(rng: Rng, side: int) -> Picture:
    """Short thick worms."""
    count = int(rng.integers(15, 200))
    steps = int(rng.integers(6, 40))
    start = rng.uniform(0, side, (count, 2))
    turn = np.cumsum(rng.normal(0, 0.15, (count, steps)), axis=1)
    angle = rng.uniform(0, 2 * np.pi, (count, 1)) + turn
    y = start[:, :1] + np.cumsum(np.sin(angle), axis=1)
    x = start[:, 1:] + np.cumsum(np.cos(angle), axis=1)
    light = np.exp(rng.normal(0, 0.5, (count, 1))) * np.ones((count, steps))
    worm = blurred(splat(side, y.ravel(), x.ravel(), light.ravel()), rng.uniform(0.8, 2.2))
    return worm + 0.2 * blurred(worm, 12)


def spots(rng: Rng, side: int) -> Picture:
    """Diffraction-limited spots over a dim ground."""
    count = int(np.exp(rng.uniform(np.log(10), np.log(900))))
    y, x = rng.uniform(0, side, (2, count))
    light = np.exp(rng.normal(0, 0.8, count))
    return scaled(blurred(splat(side, y, x, light), psf(rng))) + rng.uniform(0, 0.3) * clouds(
        rng, side
    )


def vesicles(rng: Rng, side: int) -> Picture:
    """Rings of all sizes."""
    count = int(rng.integers(10, 120))
    radius = np.exp(rng.uniform(np.log(2), np.log(14), (count, 1)))
    turn = np.linspace(0, 2 * np.pi, 90, endpoint=False)[None]
    centre = rng.uniform(0, side, (2, count, 1))
    y, x = centre[0] + radius * np.sin(turn), centre[1] + radius * np.cos(turn)
    light = np.exp(rng.normal(0, 0.5, (count, 1))) * radius * np.ones_like(turn)
    return blurred(splat(side, y.ravel(), x.ravel(), light.ravel()), psf(rng, 0.6, 1.8))


def walls(rng: Rng, side: int) -> Picture:
    """Tissue: membranes between cells that touch, cells filled or not."""
    size = np.exp(rng.uniform(np.log(10), np.log(50)))
    count = max(int((1.4 * side / size) ** 2), 3)
    seeds = rng.uniform(-0.2 * side, 1.2 * side, (count, 2))
    bend = np.stack([side * 0.03 * clouds(rng, side, 2.0) for _ in range(2)], axis=-1)
    y, x = np.mgrid[:side, :side]
    at = np.stack([y, x], axis=-1) + bend
    far, which = cKDTree(seeds).query(at.reshape(-1, 2), k=2)
    gap = (far[:, 1] - far[:, 0]).reshape(side, side)
    wall = np.exp(-0.5 * (gap / rng.uniform(1.0, 3.5)) ** 2)
    filled = np.exp(rng.normal(0, 0.6, count))[which[:, 0]].reshape(side, side)
    share = rng.choice([0.0, 0.15, 0.6])
    return blurred(wall * (1 - share) + share * filled * (1 - 0.8 * wall), psf(rng))


def leaves(rng: Rng, side: int) -> Picture:
    """Discs and ellipses laid over one another until nothing else shows: edges everywhere."""
    out = np.zeros((side, side), np.float32)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    for _ in range(int(rng.integers(40, 160))):
        radius = float(np.clip(3 / (rng.random() + 0.02), 3, 0.4 * side))
        cy, cx = rng.uniform(0, side, 2)
        box = np.s_[
            max(int(cy - 1.6 * radius), 0) : int(cy + 1.6 * radius) + 1,
            max(int(cx - 1.6 * radius), 0) : int(cx + 1.6 * radius) + 1,
        ]
        angle, aspect = rng.uniform(0, np.pi), rng.uniform(0.4, 1.0)
        u = (y[box] - cy) * np.cos(angle) + (x[box] - cx) * np.sin(angle)
        v = ((x[box] - cx) * np.cos(angle) - (y[box] - cy) * np.sin(angle)) / aspect
        out[box][u * u + v * v < radius**2] = rng.random() ** rng.uniform(1, 2)
    grain = rng.choice([0.0, 0.15]) * clouds(rng, side, 1.2)
    return blurred(out + grain, psf(rng))


def clouds(rng: Rng, side: int, power: float | None = None) -> Picture:
    """Noise whose amplitude falls as 1/f to some power, 0 to about 1, sometimes of great contrast.

    With ``power`` given: mean 0 and standard deviation 1.
    """
    slope = rng.uniform(1.1, 2.6) if power is None else power
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    f = np.hypot(fy, fx)
    f[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.standard_normal((side, side))) / f**slope
    spectrum[0, 0] = 0
    plane = np.fft.irfft2(spectrum, s=(side, side))
    plane /= plane.std() + 1e-9
    if power is not None:
        return np.asarray(plane, np.float32)
    if rng.random() < 0.5:
        plane = np.exp(rng.uniform(0.4, 1.2) * plane)
    return scaled(blurred(plane, psf(rng, 0.5, 1.5)))


def cells(rng: Rng, side: int) -> Picture:
    """Nuclei or cells with grain inside."""
    out = np.zeros((side, side), np.float32)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    usual = np.exp(rng.uniform(np.log(5), np.log(28)))
    grain = clouds(rng, side, rng.uniform(0.8, 1.6))
    depth, soft = rng.uniform(0, 0.5), rng.uniform(0.4, 2.0)
    for _ in range(int(np.clip(rng.uniform(0.05, 0.6) * side**2 / (3 * usual**2), 1, 160))):
        radius = usual * np.exp(rng.normal(0, 0.2))
        cy, cx = rng.uniform(0, side, 2)
        reach = 2 * radius + 4 * soft
        box = np.s_[
            max(int(cy - reach), 0) : int(cy + reach) + 1,
            max(int(cx - reach), 0) : int(cx + reach) + 1,
        ]
        angle, aspect = rng.uniform(0, np.pi), rng.uniform(1.0, 1.8)
        u = ((y[box] - cy) * np.cos(angle) + (x[box] - cx) * np.sin(angle)) / aspect
        v = (x[box] - cx) * np.cos(angle) - (y[box] - cy) * np.sin(angle)
        turn = np.arctan2(v, u)
        outline = 1 + 0.1 * rng.normal() * np.cos(2 * turn) + 0.07 * rng.normal() * np.cos(3 * turn)
        inner = radius * outline - np.hypot(u, v)
        body = 1 / (1 + np.exp(-np.clip(1.7 * inner / soft, -30, 30)))
        if rng.random() < 0.2:  # a dark middle, as of a neuron filled with dye
            body *= 1 - rng.uniform(0.4, 0.9) / (1 + np.exp(-np.clip(inner - 0.45 * radius, -9, 9)))
        out[box] += np.exp(rng.normal(0, 0.4)) * body * np.maximum(1 + depth * grain[box], 0.05)
    return out


def neurons(rng: Rng, side: int) -> Picture:
    """Cell bodies and processes in cloudy neuropil, as through two photons."""
    return (
        0.6 * scaled(cells(rng, side))
        + rng.uniform(0.1, 0.6) * clouds(rng, side)
        + rng.uniform(0.0, 0.5) * scaled(fibres(rng, side))
    )


def phase(rng: Rng, side: int) -> Picture:
    """Phase contrast: bodies darker than a bright ground, with halos."""
    body = scaled(
        KINDS[str(rng.choice(["cells", "fibres", "mitochondria", "walls"]))][0](rng, side)
    )
    halo = blurred(body, rng.uniform(4, 10))
    ground = 1 + 0.1 * clouds(rng, side, 2.0)
    return np.asarray(ground - rng.uniform(0.2, 0.8) * (body - rng.uniform(0.5, 1) * halo))


def mixed(rng: Rng, side: int) -> Picture:
    """Two kinds in one picture."""
    part = rng.uniform(0.2, 0.8)
    return part * random_texture(rng, side) + (1 - part) * random_texture(rng, side)


KINDS: dict[str, tuple[Callable[[Rng, int], Picture], float]] = {
    "fibres": (fibres, 3.0),
    "mitochondria": (mitochondria, 2.0),
    "spots": (spots, 1.0),
    "vesicles": (vesicles, 1.0),
    "walls": (walls, 1.5),
    "leaves": (leaves, 1.0),
    "clouds": (clouds, 1.0),
    "cells": (cells, 3.0),
    "neurons": (neurons, 1.5),
    "phase": (phase, 1.0),
    "mixed": (mixed, 1.5),
}
"""Name: maker and how often it is drawn beside the others."""
