"""Denoising: what every denoiser promises, and a Gaussian for each frame.

The Gaussian is as wide as the frame's noise asks for: of least expected squared error by Stein's
unbiased risk estimate (Stein, Ann Stat 1981), which for a linear filter needs the mean noise
variance alone. Each frame is treated by itself: nothing is carried over in time, so moving cells
leave no ghosts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from models.errors import PipelineError
from models.result import CLASSICAL, DenoiseReport, EngineInfo, ImageContext
from models.settings import GaussianSettings, NetworkDenoiseSettings
from models.tasks.filters import gaussian_kernel, middle, noise_variance, smooth
from models.tasks.noise import NoiseModel

NOISE_LEFT = 0.3
"""Part of the noise that a picture keeps for segmentation. Segmentation tells objects from chance
by the noise that it sees; with none, what is left of the ground at 5 photons a pixel became 190
objects where there are 16. With a fifth of it one picture in six still had false ones."""

WIDTHS_PX = (0.0, 0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2, 3.0)


@dataclass(frozen=True, slots=True, eq=False)
class Denoised:
    """One denoised image. The arrays belong to the caller."""

    image: NDArray[Any]
    """(y, x), dtype and scale of the input, in whole counts."""
    exact: NDArray[np.float32] | None = None
    """(y, x) counts before rounding, by a network; may lie below 0."""
    noise: NoiseModel | None = None
    """What a network denoised it with."""
    report: DenoiseReport | None = None
    """How far it can be trusted; a Gaussian says nothing."""


class Denoiser(Protocol):
    """Takes noise out of images. Hold it in a ``with`` block; one thread uses it."""

    def __enter__(self) -> Self:
        """Load what it needs."""

    def __exit__(self, *exc: object) -> None:
        """Let it go. Safe to call twice."""

    @property
    def info(self) -> EngineInfo:
        """What runs it."""

    def reset(self) -> None:
        """Forget earlier frames."""

    def swap(self, path: Path) -> EngineInfo:
        """Go on with other weights from the next frame on."""

    def denoise(self, pixels: NDArray[Any], context: ImageContext) -> Denoised:
        """Denoise (y, x) uint8 or uint16 camera counts."""


def denoiser_of(settings: GaussianSettings | NetworkDenoiseSettings) -> Denoiser:
    """Denoiser of settings, not yet open; raises ``PipelineError`` when there is no such model."""
    if isinstance(settings, GaussianSettings):
        return GaussianDenoiser(settings)
    from models.tasks.denoiser import NetworkDenoiser

    return NetworkDenoiser(
        settings.model,
        settings.engine,
        settings.threads,
        settings.precision,
        temporal=settings.temporal,
        max_gap_intervals=settings.max_gap_intervals,
        check_every_frames=settings.check_every_frames,
    )


def for_segmenting(pixels: NDArray[Any], clean: Denoised) -> NDArray[Any]:
    """What is segmented in place of ``pixels``, (y, x) of the same dtype.

    The denoised image, with `NOISE_LEFT` of what a network took away.
    """
    if clean.exact is None:
        return clean.image
    mixed = clean.exact + np.float32(NOISE_LEFT) * (pixels - clean.exact)
    np.rint(mixed, out=mixed)
    return np.clip(mixed, 0, np.iinfo(pixels.dtype).max).astype(pixels.dtype)


class GaussianDenoiser:
    """The Gaussian in the form of a denoiser."""

    def __init__(self, settings: GaussianSettings) -> None:
        self._settings = settings

    def __enter__(self) -> Self:
        """Nothing to load."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing to let go."""

    @property
    def info(self) -> EngineInfo:
        """No network, no engine."""
        return CLASSICAL

    def reset(self) -> None:
        """Nothing is remembered."""

    def swap(self, path: Path) -> EngineInfo:
        """Refused with ``PipelineError``: there are no weights to change."""
        raise PipelineError(
            f"denoise is a Gaussian, which has no weights to change for {path.name}; set "
            "`kind: network`"
        )

    def denoise(
        self,
        pixels: NDArray[Any],
        context: ImageContext,  # noqa: ARG002
    ) -> Denoised:
        """Smooth one image."""
        return Denoised(denoise(pixels, self._settings.sigma_px))


def best_width(pixels: NDArray[Any]) -> float:
    """Width in pixels with the least expected error, one of ``WIDTHS_PX``.

    Judged on the middle 256 x 256 pixels: enough for a stable answer, and a fixed cost whatever
    the size of the camera.
    """
    sample = np.asarray(middle(pixels), dtype=np.float32)
    variance = noise_variance(sample)
    if variance <= 0:
        return 0.0
    risks = []
    for sigma_px in WIDTHS_PX:
        if sigma_px == 0:
            risks.append(variance)
            continue
        kernel = gaussian_kernel(sigma_px)
        own_weight = float(kernel[len(kernel) // 2]) ** 2
        moved = float(np.mean((smooth(sample, sigma_px) - sample) ** 2))
        risks.append(moved + 2 * variance * own_weight - variance)
    return WIDTHS_PX[int(np.argmin(risks))]


def denoise(pixels: NDArray[Any], sigma_px: float | Literal["auto"]) -> NDArray[Any]:
    """Smoothed image (y, x) with the dtype and scale of ``pixels`` and, but for rounding, its mean.

    ``sigma_px`` is the width in pixels, or ``auto``. A new array.
    """
    width = best_width(pixels) if sigma_px == "auto" else sigma_px
    if width <= 0:
        return pixels.copy()
    out = smooth(pixels, width)
    if np.issubdtype(pixels.dtype, np.integer):
        limits = np.iinfo(pixels.dtype)
        np.rint(out, out=out)
        np.clip(out, limits.min, limits.max, out=out)
    return out.astype(pixels.dtype)
