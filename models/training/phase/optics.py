"""From phase delay to intensity: phase contrast, and brightfield out of focus.

The object is a complex field ``a * exp(i * phase)``. In phase contrast the light that the object
does not bend, and what it bends little, passes the ring of the objective and is dimmed and shifted
by a quarter wave (Zernike 1942); the little-bent part is the reason of halo and shade-off (Yin,
Kanade and Chen, Med Image Anal 16, 2012, write it as the object less a broad blur of it). The
formula here keeps the interference, so that thick, round cells turn bright as they do in life.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Optics:
    """One way of looking."""

    mode: Literal["phase", "brightfield"]
    ring_dim: float
    """Amplitude that the phase ring lets pass."""
    ring_sign: int
    """1 for positive phase contrast, in which thin bodies are dark; -1 for negative."""
    halo_px: float
    """Width of the Gaussian blur that stands for the ring."""
    halo_wide: float
    """Share of a second blur, three times as wide."""
    defocus_px: float
    """Fresnel length: root of wavelength times distance from focus."""
    blur_px: float
    """Width of the Gaussian by which the image is blurred."""


def random_optics(diameter_px: float, rng: np.random.Generator) -> Optics:
    """Optics for cells of this diameter; mostly positive phase contrast."""
    mode: Literal["phase", "brightfield"] = "phase" if rng.random() < 0.9 else "brightfield"
    fresnel = (0.0, 0.12) if mode != "brightfield" else (0.10, 0.32)
    return Optics(
        mode,
        ring_dim=rng.uniform(0.35, 0.9),
        ring_sign=-1 if rng.random() < 0.08 else 1,
        halo_px=diameter_px * np.exp(rng.uniform(np.log(0.12), np.log(0.7))),
        halo_wide=rng.uniform(0.0, 0.6),
        defocus_px=diameter_px * rng.uniform(*fresnel) * rng.choice((-1, 1)),
        blur_px=rng.uniform(0.3, 0.5) + diameter_px * rng.uniform(0.0, 0.035),
    )


def expose(phase: Image, dimming: Image, optics: Optics) -> Image:
    """Intensity (y, x) of an object, 1 where there is nothing.

    Parameters
    ----------
    phase
        (y, x) phase delay, radians.
    dimming
        (y, x) share of the amplitude that the object lets pass.
    """
    height, width = phase.shape
    ky = np.fft.fftfreq(height)[:, None]
    kx = np.fft.fftfreq(width)[None, :]
    k2 = (ky * ky + kx * kx).astype(np.float32)
    spectrum = np.fft.fft2(dimming * np.exp(1j * phase))
    if optics.defocus_px:
        spectrum = spectrum * np.exp(
            -1j * np.pi * np.sign(optics.defocus_px) * optics.defocus_px**2 * k2
        )
    if optics.mode == "phase":
        narrow = np.exp(-2 * (np.pi * optics.halo_px) ** 2 * k2)
        wide = np.exp(-2 * (3 * np.pi * optics.halo_px) ** 2 * k2)
        on_ring = (1 - optics.halo_wide) * narrow + optics.halo_wide * wide
        shifted = -1j * optics.ring_sign * optics.ring_dim
        spectrum = spectrum * (1 + on_ring * (shifted - 1))
        clear = optics.ring_dim**2
    else:
        clear = 1.0
    field = np.fft.ifft2(spectrum)
    light = field.real**2 + field.imag**2
    blurred = np.fft.irfft2(
        np.fft.rfft2(light) * np.exp(-2 * (np.pi * optics.blur_px) ** 2 * k2[:, : width // 2 + 1]),
        s=light.shape,
    )
    return np.asarray(blurred / clear, dtype=np.float32)
