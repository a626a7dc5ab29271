"""Clean pictures and movies in photons, and what a camera makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.optics import View, nuclei_in_view, photons_in_view
from drivers.simulated.sample import Sample
from models.tasks.filters import smooth

Picture = NDArray[np.float32]


def discs(side: int = 384, seed: int = 0, blur_px: float = 1.5) -> Picture:
    """Textured discs on a dim ground, (y, x) of mean 1."""
    rng = np.random.default_rng(seed)
    image = np.full((side, side), 0.1, np.float32)
    near = np.mgrid[-10:10, -10:10]
    for _ in range(side * side // 2500):
        y, x = rng.integers(10, side - 10, 2)
        inside = (near**2).sum(axis=0) < rng.uniform(3, 9) ** 2
        image[y - 10 : y + 10, x - 10 : x + 10] += rng.uniform(0.3, 1) * inside
    texture = smooth(rng.uniform(0, 1, (side, side)).astype(np.float32), 3)
    image *= 0.7 + 0.6 * texture / texture.mean()
    image = smooth(image, blur_px)
    return np.asarray(image / image.mean(), np.float32)


def exposed(
    photons: NDArray[Any], rng: np.random.Generator, gain: float = 2.2, offset: float = 100.0,
    read_e: float = 1.4, dtype: Any = np.uint16,
) -> NDArray[Any]:  # fmt: skip
    """Counts of a camera that sees ``photons`` on average, clipped to ``dtype``."""
    noisy = rng.poisson(np.maximum(photons, 0)) * gain
    noisy = np.rint(noisy + offset + rng.normal(0, read_e * gain, photons.shape))
    return np.clip(noisy, 0, np.iinfo(dtype).max).astype(dtype)


def simulated_movie(
    frames: int, mean_photons: float, seconds_per_frame: float, side: int = 256, seed: int = 1
) -> Picture:
    """Expected photons (t, y, x) of the simulated sample, without noise.

    ``seconds_per_frame`` is biological time: at 0.02 cells hardly move, at 2 they rush.
    """
    sample = Sample(seed, side_um=400.0, spacing_um=40.0, cycle_s=90.0)
    view = View(0.0, 0.0, 0.0, 0.65, (side, side), "DAPI", 20.0)
    movie = []
    for k in range(frames):
        sample.advance(k * seconds_per_frame)
        nuclei = nuclei_in_view(sample.cells(), view)
        movie.append(photons_in_view(nuclei, view, peak_photons=100, background_photons=5))
    clean = np.asarray(movie, np.float32)
    return np.asarray(clean * (mean_photons / clean[0].mean()), np.float32)
