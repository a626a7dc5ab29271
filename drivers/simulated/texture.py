"""Textures that every drawn cell takes a piece of: chromatin, clumped chromatin, cytoplasm.

Each is periodic, so that a piece may start anywhere, and comes in several stages of blur, so that a
cell out of focus loses its grain without a convolution for each frame.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

SIDE = 512
"""Texels along each side; a power of two, so that wrapping round is a bit mask."""
TEXEL_UM = 0.2
BLURS = (0.0, 2.0, 4.0, 8.0, 16.0)
"""Standard deviation of the stages of blur, texels."""
CHROMATIN, CLUMPED, CYTOPLASM = 0, 1, 2

Plane = NDArray[np.float64]


@functools.lru_cache(maxsize=2)
def textures(seed: int = 0) -> NDArray[np.float32]:
    """(kind, blur, y, x) relative deviation of brightness, about -1 to 3, mean 0; do not write.

    Kinds are `CHROMATIN` (fine grain, dark nucleoli), `CLUMPED` (bright chromocentres, as in mouse
    cells) and `CYTOPLASM` (fibres and vesicles); blurs are `BLURS`.
    """
    rng = np.random.default_rng([seed, 0x7E])
    sharp = (_chromatin(rng), _clumped(rng), _cytoplasm(rng))
    stages = [[smooth(plane - plane.mean(), blur) for blur in BLURS] for plane in sharp]
    table = np.asarray(stages, dtype=np.float32)
    table.setflags(write=False)
    return table


def smooth(plane: Plane, sigma_px: float, sigma_x_px: float | None = None) -> Plane:
    """Gaussian blur of a plane that is periodic in both axes; sigma along y, and x where other."""
    if sigma_px <= 0 and not sigma_x_px:
        return plane
    fy = np.fft.fftfreq(plane.shape[0])[:, None]
    fx = np.fft.rfftfreq(plane.shape[1])[None, :]
    sigma_x = sigma_px if sigma_x_px is None else sigma_x_px
    damping = np.exp(-2 * np.pi**2 * ((sigma_px * fy) ** 2 + (sigma_x * fx) ** 2))
    blurred: Plane = np.fft.irfft2(np.fft.rfft2(plane) * damping, s=plane.shape)
    return blurred


def clouds(rng: np.random.Generator, sigma_px: float, shape: tuple[int, int]) -> Plane:
    """Smooth periodic noise with mean 0 and standard deviation 1."""
    plane = smooth(rng.standard_normal(shape), sigma_px)
    scaled: Plane = (plane - plane.mean()) / max(float(plane.std()), 1e-12)
    return scaled


def _chromatin(rng: np.random.Generator) -> Plane:
    grain = 0.10 * clouds(rng, 1.5, (SIDE, SIDE)) + 0.12 * clouds(rng, 4.0, (SIDE, SIDE))
    # Nucleoli hold little DNA: dark spots of 1 to 3 µm on about a tenth of the area.
    nucleoli = smooth((clouds(rng, 5.0, (SIDE, SIDE)) > 1.35).astype(np.float64), 1.5)
    return grain - 0.45 * nucleoli


def _clumped(rng: np.random.Generator) -> Plane:
    grain = 0.08 * clouds(rng, 1.5, (SIDE, SIDE)) + 0.12 * clouds(rng, 5.0, (SIDE, SIDE))
    clumps = smooth((clouds(rng, 3.0, (SIDE, SIDE)) > 1.6).astype(np.float64), 1.2)
    return grain + 0.9 * clumps


def _cytoplasm(rng: np.random.Generator) -> Plane:
    fibres = smooth(rng.standard_normal((SIDE, SIDE)), 1.5, 12.0)
    fibres = 0.2 * fibres / fibres.std()
    vesicles = smooth((clouds(rng, 2.0, (SIDE, SIDE)) > 2.2).astype(np.float64), 1.0)
    mixed: Plane = fibres + 0.8 * vesicles + 0.15 * clouds(rng, 10.0, (SIDE, SIDE))
    return mixed
