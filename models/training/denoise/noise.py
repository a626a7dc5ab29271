"""Cameras to learn denoising with: clean photons in, counts and what the program would know out.

Poisson noise and read noise of sCMOS, EMCCD and photomultiplier; noise that neighbours share, as of
scans that were resampled; hot pixels; eight bits and clipping. The noise model that comes with the
counts is off by as much as one that is estimated from the frames themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve, gaussian_filter

Rng = np.random.Generator
Frames = NDArray[np.float32]

_HIGH_PASS = np.outer([1, -2, 1], [1, -2, 1]) / 6.0
"""What an estimate of noise from one image looks through; of unit length."""


@dataclass(frozen=True, slots=True, eq=False)
class Exposed:
    """Frames as a camera gives them."""

    counts: Frames
    """(t, y, x)."""
    clean: Frames
    """(t, y, x) what the counts are of on average."""
    noise: NDArray[np.float32]
    """(3,) gain, offset and read variance in counts, as an estimate would have them."""


def photons_drawn(rng: Rng) -> float:
    """Mean photons a pixel, 1 to 1,000, half of the time at most 60."""
    return float(np.exp(rng.uniform(0.0, np.log(60.0 if rng.random() < 0.5 else 1000.0))))


def expose(clean: Frames, rng: Rng, photons: float | None = None) -> Exposed:
    """Frames (t, y, x) of light in any unit, as some camera would give them.

    ``photons`` is their mean a pixel; None draws it.
    """
    level = photons_drawn(rng) if photons is None else photons
    light = np.asarray(clean * (level / max(float(clean.mean()), 1e-6)), np.float32)
    gain = float(np.exp(rng.uniform(np.log(0.2), np.log(20))))
    offset = float(rng.choice([0.0, 100.0, rng.uniform(0, 500)]))
    read = float(rng.choice([0.0, rng.uniform(0, 5)])) if level < 300 else float(rng.uniform(0, 5))
    multiplied = rng.random() < 0.12
    seen: NDArray[np.floating] = rng.poisson(light).astype(np.float32)
    if multiplied:
        # every photon is multiplied by chance: twice the variance
        seen = rng.gamma(seen + 1e-9, 1.0).astype(np.float32)
    told = 1.0
    if rng.random() < 0.45:
        seen, told = _shared(seen, light, rng)
    uneven = np.exp(rng.normal(0, 0.3, light.shape[1:])) if rng.random() < 0.3 else 1.0
    seen = seen + rng.normal(0, 1, light.shape) * read * uneven
    if rng.random() < 0.2:
        hot = rng.random(light.shape[1:]) < 2e-4
        seen[:, hot] += rng.uniform(5, 30) * math.sqrt(level + read**2)
    counts, truth = seen * gain + offset, light * gain + offset
    variance = (read * gain) ** 2
    known = gain * (2.0 if multiplied else 1.0)
    most = 65535
    if rng.random() < 0.35:
        most = 255
        scale = 255 / max(float(np.percentile(counts, 99.95)), 1e-6) * rng.uniform(0.6, 1.05)
        counts, truth, offset = counts * scale, truth * scale, offset * scale
        known, variance = known * scale, variance * scale**2
    variance += 1 / 12
    noise = [
        known * told * math.exp(rng.normal(0, 0.12)),
        offset + rng.normal(0, 0.3) * math.sqrt(variance),
        variance * math.exp(rng.normal(0, 0.25)),
    ]
    return Exposed(
        np.clip(np.rint(counts), 0, most).astype(np.float32),
        np.asarray(truth, np.float32),
        np.array(noise, np.float32),
    )


def _shared(
    seen: NDArray[np.floating], light: Frames, rng: Rng
) -> tuple[NDArray[np.floating], float]:
    """Noise blurred to what it was in strength, and the part of it that an estimate sees."""
    down = 0.0 if rng.random() < 0.4 else float(rng.uniform(0, 0.6))
    across = float(rng.uniform(0, 0.75))
    point = np.zeros((9, 9))
    point[4, 4] = 1.0
    kernel = gaussian_filter(point, (down, across))
    length = float(np.sqrt((kernel**2).sum()))
    through = convolve(kernel / length, _HIGH_PASS, mode="constant")
    part = float((through**2).sum())
    blurred = gaussian_filter(seen - light, (0, down, across)) / length
    told = part * float(rng.uniform(0.85, 1.25)) if part < 1 else part
    return np.maximum(light + blurred, 0), told
