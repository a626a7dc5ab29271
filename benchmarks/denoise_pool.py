"""Clean movies of the simulated sample, to be trained on beside drawn ones.

``python -m benchmarks.denoise_pool --out FILE.npy --count N`` writes (n, t, y, x) float16, mean 1,
of the form that ``models.training.denoise.movies`` writes. Seeds begin at 1,000, so that none of
these samples is one that denoisers are compared on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.optics import View, nuclei_in_view, photons_in_view
from drivers.simulated.sample import Sample

FRAMES = 16
SIDE_PX = 144
FIRST_SEED = 1000
LEAST_STEP_S = 0.005
"""Of biology between frames, in which nothing moves."""


def simulated_clean(seed: int, least_step_s: float = LEAST_STEP_S) -> NDArray[np.float32]:
    """One movie (t, y, x) of mean 1: magnification, focus, channel and speed are drawn."""
    rng = np.random.default_rng([seed, 0xDE])
    sample = Sample(seed, side_um=260.0, spacing_um=float(rng.uniform(18, 45)), cycle_s=90.0)
    view = View(
        float(rng.uniform(-40, 40)),
        float(rng.uniform(-40, 40)),
        float(rng.normal(0, 1.0)),
        float(np.exp(rng.uniform(np.log(0.2), np.log(0.9)))),
        (SIDE_PX, SIDE_PX),
        str(rng.choice(["DAPI", "DAPI", "FITC", "Cy5"])),
        20.0,
    )
    step_s = float(np.exp(rng.uniform(np.log(least_step_s), np.log(6.0))))
    ground = float(np.exp(rng.uniform(np.log(1), np.log(40))))
    light = []
    for k in range(FRAMES):
        sample.advance(k * step_s)
        nuclei = nuclei_in_view(sample.cells(), view)
        light.append(photons_in_view(nuclei, view, peak_photons=100, background_photons=ground))
    movie = np.asarray(light, np.float32)
    return np.asarray(movie / max(float(movie.mean()), 1e-6), np.float32)


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="file of the pool (.npy)")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--least-step", type=float, default=LEAST_STEP_S, metavar="S")
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="first seed")
    given = parser.parse_args()
    shape = (given.count, FRAMES, SIDE_PX, SIDE_PX)
    pool = np.lib.format.open_memmap(given.out, mode="w+", dtype=np.float16, shape=shape)
    for n in range(given.count):
        pool[n] = np.minimum(simulated_clean(given.first + n, given.least_step), 6e4)
    pool.flush()


if __name__ == "__main__":
    main()
