"""Denoisers of others, each with the setting that is best on the very frames it is judged on.

That is more than any of them has in use, where there is no truth to choose by. BM3D works on counts
that Anscombe's transform gave one variance (exact unbiased inverse in closed form: Mäkitalo and
Foi, IEEE Trans Image Process 2011 and 2013); it and ND-SAFIR are told the true noise of simulated
frames.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.tasks.filters import smooth
from models.tasks.noise import NoiseModel

Image = NDArray[np.float64]
Denoise = Callable[[NDArray[Any], NoiseModel, float], Image]


@dataclass(frozen=True, slots=True)
class Peer:
    """One way, and the settings that are tried."""

    needs: str
    """Package, or empty."""
    install: str
    denoise: Denoise
    settings: tuple[float, ...]
    bar_db: float
    """By how much ours has to be better on simulated frames."""


def _gaussian(image: NDArray[Any], noise: NoiseModel, sigma_px: float) -> Image:
    del noise
    return np.asarray(smooth(np.asarray(image, np.float32), sigma_px), np.float64)


def _total_variation(image: NDArray[Any], noise: NoiseModel, weight: float) -> Image:
    denoise = import_module("skimage.restoration").denoise_tv_chambolle
    return _inverse(denoise(_stable(image, noise), weight=weight, max_num_iter=100), noise)


def _non_local_means(image: NDArray[Any], noise: NoiseModel, h: float) -> Image:
    denoise = import_module("skimage.restoration").denoise_nl_means
    found = denoise(
        _stable(image, noise), patch_size=5, patch_distance=6, h=h, sigma=1.0, fast_mode=True
    )
    return _inverse(found, noise)


def _bm3d(image: NDArray[Any], noise: NoiseModel, sigma: float) -> Image:
    return _inverse(import_module("bm3d").bm3d(_stable(image, noise), sigma), noise)


def _ndsafir(image: NDArray[Any], noise: NoiseModel, strength: float) -> Image:
    ndsafir = import_module("ndsafir")
    counts = np.asarray(image, np.float32)
    if not noise.fitted:
        spread = strength * noise.read_variance**0.5
        return np.asarray(ndsafir.denoise_gaussian(counts, noise_std=spread), np.float64)
    gain, dark = noise.gain, noise.read_variance - noise.gain * noise.offset
    found = ndsafir.denoise_poisson_gaussian(
        counts, gains=[gain], offsets=[dark], noise_std=strength, nthreads=2
    )
    return np.asarray(found, np.float64)


PEERS: Final[Mapping[str, Peer]] = {
    "Gaussian": Peer("", "", _gaussian, (0.5, 0.7, 0.9, 1.1, 1.3, 1.6, 2.0, 2.5, 3.2, 4.0), 2.0),
    "total variation": Peer(
        "skimage", "parfocal[score]", _total_variation, (0.3, 0.5, 0.75, 1.0, 1.5, 2.2, 3.0), 1.0
    ),
    "non-local means": Peer(
        "skimage", "parfocal[score]", _non_local_means, (0.4, 0.6, 0.8, 1.0, 1.3), 1.0
    ),
    "BM3D": Peer("bm3d", "bm3d", _bm3d, (0.8, 1.0, 1.2, 1.5), 1.0),
    "ND-SAFIR": Peer("ndsafir", "ndsafir", _ndsafir, (0.8, 1.0, 1.2, 1.5), 1.0),
}
"""All but the Gaussian see noise of one everywhere, the unit of their settings."""


def missing(peer: Peer) -> str:
    """Why it cannot run here; empty when it can."""
    if not peer.needs or find_spec(peer.needs) is not None:
        return ""
    return f"{peer.needs} not installed; `pip install '{peer.install}'`"


def _stable(image: NDArray[Any], noise: NoiseModel) -> Image:
    """Anscombe's transform: noise of variance 1 everywhere."""
    gain = max(noise.gain, 1e-6)
    light = gain * (np.asarray(image, np.float64) - noise.offset)
    return np.asarray(
        2 / gain * np.sqrt(np.maximum(light + 0.375 * gain**2 + noise.read_variance, 0))
    )


def _inverse(stable: NDArray[Any], noise: NoiseModel) -> Image:
    gain = max(noise.gain, 1e-6)
    d = np.maximum(
        np.asarray(stable, np.float64), 2 * np.sqrt(0.375 + noise.read_variance / gain**2)
    )
    root = np.sqrt(1.5)
    photons = d**2 / 4 + root / 4 / d - 11 / 8 / d**2 + 5 / 8 * root / d**3 - 1 / 8
    return np.asarray((photons - noise.read_variance / gain**2) * gain + noise.offset)
