"""An sCMOS sensor: photons into counts, with shot noise, and noise and offset of each pixel."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
FULL_SCALE = 65535


class Sensor:
    """Turns expected photons into camera counts.

    Noise comes from a pool of normal deviates that each frame enters at two random places, which is
    twenty times faster than fresh deviates. Two frames hardly ever enter at the same one.

    Parameters
    ----------
    shape
        (y, x) pixels, after binning.
    seed
        Of the pattern of this sensor's pixels.
    offset
        Counts in the dark.
    read_noise_e
        Median over the pixels, electrons.
    gain
        Counts for each electron.
    binning
        Pixels along each side that are added up; raises the read noise.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        seed: int = 0,
        *,
        offset: float = 100.0,
        read_noise_e: float = 1.4,
        gain: float = 2.2,
        binning: int = 1,
    ) -> None:
        rng = np.random.default_rng([seed, 0x5C, *shape])
        # A quarter of the pixels is clearly noisier than the median: the random telegraph noise of
        # CMOS amplifiers.
        noisy = np.exp(0.25 * np.abs(rng.standard_normal(shape, np.float32)) ** 1.5 - 0.1)
        self._read_counts: F32 = (noisy * (read_noise_e * gain * binning)).astype(np.float32)
        columns = rng.standard_normal(shape[1], np.float32) * 0.4
        self._offset: F32 = (
            offset + 0.5 + columns[None, :] + 0.8 * rng.standard_normal(shape, np.float32)
        )
        self._gain: F32 = gain * (1 + 0.006 * rng.standard_normal(shape, np.float32))
        # The truth of one frame is not to be found a few pixels further in another.
        self._pool = _pool(shape[0] * shape[1])

    def expose(self, photons: F32, rng: np.random.Generator) -> NDArray[np.uint16]:
        """Counts (y, x) uint16 of expected ``photons``, which are overwritten."""
        shape, count = photons.shape, photons.size
        first, second = rng.integers(0, len(self._pool) - count + 1, 2)
        # m + z sqrt(m) + (z^2 - 1) / 6 has the mean, variance and skew of a Poisson number (Cornish
        # and Fisher 1938).
        np.maximum(photons, 0, out=photons)
        deviates = self._pool[first : first + count].reshape(shape)
        shot = np.multiply(deviates, np.float32(1 / 6))
        shot += np.sqrt(photons)
        shot *= deviates
        photons += shot
        photons -= np.float32(1 / 6)
        photons *= self._gain
        photons += self._offset
        np.multiply(self._pool[second : second + count].reshape(shape), self._read_counts, out=shot)
        photons += shot
        np.clip(photons, 0, FULL_SCALE, out=photons)
        return photons.astype(np.uint16)


@functools.lru_cache(maxsize=2)
def _pool(frame_px: int) -> F32:
    pool = np.random.default_rng(0x90155E).standard_normal(frame_px + 1_500_007, np.float32)
    pool.setflags(write=False)
    return pool
