"""Two noisy copies of one noisy frame whose noise has nothing to do with each other.

Recorrupted-to-Recorrupted (Pang et al., CVPR 2021): with ``w`` drawn like the noise of a frame,
``frame + t * w`` and ``frame - w / t`` are what they are with independent noise, so a network that
learns to tell the second from the first learns to tell the clean image. The noise of a camera
depends on the light, and that of a scanned image is shared by neighbours, so ``w`` is drawn with
the variance and the correlation that are found in the frames themselves. Noise of few photons is
lopsided, and Gaussian ``w`` would then leave the copies uncorrelated but not independent: the
network would learn to keep bright specks of noise, or to smear what is bright. So ``w`` has the
noise of photons too, ``(Poisson(t² λ) - t² λ) / t``, with which the second copy is, whatever the
first, right on average: binomial thinning, seen from its two parts (the generalised scheme of
Monroy, Bacca and Tachella, arXiv 2412.04648).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.tasks.noise import NoiseModel, estimate_noise
from models.training.denoise.variance import Floats, VarianceRatio, measured_ratio

STRENGTH = 0.5
"""``t`` of the paper: the network sees noise of (1 + t²) times the variance while it learns."""

LAGS_PX = 2
"""Neighbours that can share noise."""

FAINT = 0.06
"""A correlation below this is none."""

MOST_LOOKED_AT = 8
"""Frames that the noise is read from."""


@dataclass(frozen=True, slots=True, eq=False)
class Recorruption:
    """How to make the two copies."""

    model: NoiseModel
    """As the live program would estimate it."""
    ratio: VarianceRatio
    """True variance over that of the model, which sees shared noise only in part."""
    kernel: NDArray[np.float32]
    """(k, k) of length 1, that white noise is filtered with."""

    def noise(self, factor: float = 1.0) -> Tensor:
        """(1, 3) gain, offset, read variance for the network, the variance times ``factor``."""
        model = self.model
        return torch.tensor(
            [[model.gain * factor, model.offset, model.read_variance * factor]],
            dtype=torch.float32,
        )

    def variance(self, clean: Tensor) -> Tensor:
        """Variance of pixels that are ``clean`` counts on average."""
        model = self.model
        light = (clean - model.offset).clamp(min=0)
        return self._ratio(clean) * (model.gain * light + model.read_variance)

    def _ratio(self, clean: Tensor) -> Tensor:
        return torch.from_numpy(self.ratio.at(clean.numpy()))

    def copies(self, frames: Tensor, clean: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """To learn from, and the noise that was drawn; (b, t, y, x), as ``clean``, the best guess
        so far.

        The first copy is ``frames + STRENGTH * drawn``, the second ``frames - drawn / STRENGTH``.
        """
        half = self.kernel.shape[0] // 2
        model = self.model
        around = (half, half, half, half)
        flat = functional.pad(clean.flatten(0, 1)[:, None], around, mode="replicate")
        ratio = self._ratio(flat)
        gain = model.gain * ratio
        rate = STRENGTH**2 * (flat - model.offset).clamp(min=0) / gain
        shot = gain / STRENGTH * (torch.poisson(rate, generator=draw) - rate)
        read = torch.randn(flat.shape, generator=draw) * (ratio * model.read_variance).sqrt()
        shared = functional.conv2d(shot + read, torch.from_numpy(self.kernel)[None, None])
        drawn = shared.reshape(frames.shape)
        return frames + STRENGTH * drawn, drawn


def noise_of_frames(frames: NDArray[np.generic]) -> NoiseModel:
    """Middle of what (t, y, x) frames say of the noise one by one."""
    at = np.linspace(0, len(frames) - 1, min(len(frames), MOST_LOOKED_AT)).round().astype(int)
    said = [estimate_noise(frames[k], frames[k - 1] if k else None) for k in at]
    fitted = [model for model in said if model.fitted] or said
    gain, offset, read = (
        float(np.median([getattr(model, name) for model in fitted]))
        for name in ("gain", "offset", "read_variance")
    )
    return NoiseModel(gain, offset, read, fitted=fitted[0].fitted)


def recorruption_for(
    frames: NDArray[np.generic],
    clean: NDArray[np.float32],
    model: NoiseModel,
    denoise: Callable[[Floats], Floats],
) -> Recorruption:
    """From (t, y, x) frames and what ``denoise`` makes of them, their noise as it really is."""
    left = (np.asarray(frames, np.float32) - clean) / np.sqrt(model.variance(clean))
    # bright specks that no network keeps would count as noise
    left = np.clip(left, -5, 5)
    left -= left.mean(axis=(1, 2), keepdims=True)
    power = float(np.mean(left**2))
    size = 2 * LAGS_PX + 1
    shared = np.zeros((size, size))
    height, width = left.shape[1:]
    for dy in range(LAGS_PX + 1):
        for dx in range(-LAGS_PX, LAGS_PX + 1):
            first = left[:, : height - dy, max(-dx, 0) : width - max(dx, 0)]
            second = left[:, dy:, max(dx, 0) : width + min(dx, 0)]
            value = float(np.mean(first * second)) / max(power, 1e-9)
            shared[LAGS_PX + dy, LAGS_PX + dx] = shared[LAGS_PX - dy, LAGS_PX - dx] = value
    # what a network took out of the residual looks like noise that neighbours part with
    shared = np.where(shared > FAINT, shared, 0.0)
    return Recorruption(model, measured_ratio(frames, clean, model, denoise), _kernel(shared))


def _kernel(correlation: NDArray[np.float64]) -> NDArray[np.float32]:
    """Filter that gives white noise a correlation (n, n), centred."""
    size = 16
    room = np.zeros((size, size))
    half = correlation.shape[0] // 2
    room[: 2 * half + 1, : 2 * half + 1] = correlation
    spectrum = np.fft.fft2(np.roll(room, (-half, -half), (0, 1))).real
    point = np.fft.ifft2(np.sqrt(np.maximum(spectrum, 0.02))).real
    kernel = np.roll(point, (LAGS_PX + 1, LAGS_PX + 1), (0, 1))[
        : 2 * LAGS_PX + 3, : 2 * LAGS_PX + 3
    ]
    return np.asarray(kernel / np.sqrt((kernel**2).sum()), np.float32)
