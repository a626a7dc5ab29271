"""What denoisers are compared on: movies of the simulated sample, real noisy and clean pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.optics import View, nuclei_in_view, photons_in_view
from drivers.simulated.sample import Sample
from models.tasks.noise import NoiseModel, estimate_noise

PAIRS: Final = Path(__file__).resolve().parents[2] / "shared" / "data" / "denoise"
"""Real pairs, beside the repository where they are."""

SPEEDS: Final = {"slow": 0.005, "fast": 5.0}
"""Seconds of biology between frames: nuclei move far less than a pixel, or several."""

GAIN, OFFSET, READ_E = 2.2, 100.0, 1.4


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Noisy frames with their truth."""

    name: str
    noisy: NDArray[Any]
    """(t, y, x) uint8 or uint16 counts."""
    clean: NDArray[np.float64]
    """(t, y, x) counts."""
    noise: NoiseModel
    """What peers are told: the truth of simulated frames, an estimate of real ones."""
    judged: tuple[int, ...]
    """Frames that are compared."""
    data_range: float
    """What PSNR and SSIM refer to: 255 for 8 bits, else the span of the truth; counts."""
    fit: bool = False
    """Whether gain and offset to the truth are fitted, as between two exposures."""

    def cut(self, side: int) -> Scene:
        """The same, at most ``side`` pixels each way."""
        box = np.s_[:, :side, :side]
        return replace(self, noisy=self.noisy[box], clean=self.clean[box])


def simulated_scene(photons: float, speed: str, *, side: int, frames: int) -> Scene:
    """Movie of the simulated sample at a mean of ``photons`` a pixel, through a camera."""
    sample = Sample(7, side_um=500.0, spacing_um=36.0, cycle_s=90.0)
    view = View(0.0, 0.0, 0.0, 0.5, (side, side), "DAPI", 20.0)
    light = []
    for k in range(frames):
        sample.advance(k * SPEEDS[speed])
        nuclei = nuclei_in_view(sample.cells(), view)
        light.append(photons_in_view(nuclei, view, peak_photons=100, background_photons=5))
    clean = np.asarray(light, np.float64)
    clean *= photons / clean.mean()
    rng = np.random.default_rng(11)
    counts = rng.poisson(clean) * GAIN + OFFSET + rng.normal(0, READ_E * GAIN, clean.shape)
    noisy = np.clip(np.rint(counts), 0, 65535).astype(np.uint16)
    truth = clean * GAIN + OFFSET
    noise = NoiseModel(GAIN, OFFSET, (READ_E * GAIN) ** 2 + 1 / 12)
    judged = (frames - 3, frames - 1)
    return Scene(f"{photons:g} photons, {speed}", noisy, truth, noise, judged, float(np.ptp(truth)))


def real_scenes(folder: Path = PAIRS) -> Iterator[Scene]:
    """Pairs of FMD (8 bits, truth: mean of 50) and GigaDB (truth: a longer exposure).

    The field ``fmd_r1`` of the same folder is channel 0 over again.
    """
    import tifffile

    def read(name: str) -> NDArray[Any]:
        found: NDArray[Any] = tifffile.imread(folder / f"{name}.tif")
        if found.ndim == 3 and found.shape[-1] == 3:
            found = np.moveaxis(found, -1, 0)
        return found if found.ndim == 3 else found[None]

    noisy, clean = read("fmd_confocal_bpae_noisy_3ch"), read("fmd_confocal_bpae_clean_3ch")
    for k in range(len(noisy)):
        yield _pair(f"FMD confocal BPAE channel {k}", noisy[k], clean[k], 255.0)
    high = read("gigadb_nucleus_high")[0]
    low = read("gigadb_nucleus_low")[0]
    yield _pair("GigaDB nucleus, fitted", low, high, float(np.ptp(high)), fit=True)


def _pair(
    name: str, noisy: NDArray[Any], clean: NDArray[Any], data_range: float, *, fit: bool = False
) -> Scene:
    truth = np.asarray(clean, np.float64)[None]
    return Scene(name, noisy[None], truth, estimate_noise(noisy), (0,), data_range, fit)


def fitted(found: NDArray[Any], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """``found`` with the gain and offset that bring it closest to the truth."""
    x = np.asarray(found, np.float64)
    slope = float(((x - x.mean()) * (truth - truth.mean())).mean() / max(x.var(), 1e-12))
    return np.asarray(slope * (x - x.mean()) + truth.mean())
