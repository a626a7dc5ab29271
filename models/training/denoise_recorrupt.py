"""Two noisy copies of one noisy frame whose noise has nothing to do with each other.

Recorrupted-to-Recorrupted (Pang et al., CVPR 2021): with ``w`` drawn like the noise of a frame,
``frame + t * w`` and ``frame - w / t`` are what they are with independent noise, so a network that
learns to tell the second from the first learns to tell the clean image. The noise of a camera
depends on the light, and that of a scanned image is shared by neighbours, so ``w`` is drawn with
the variance and the correlation that are found in the frames themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.tasks.noise import NoiseModel, estimate_noise

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
    scale: float
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
        return self.scale * (model.gain * light + model.read_variance)

    def copies(self, frames: Tensor, clean: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """To learn from, and to be told by; (b, t, y, x), as ``clean``, the best guess so far."""
        half = self.kernel.shape[0] // 2
        height, width = frames.shape[-2:]
        white = torch.randn(
            frames.shape[0] * frames.shape[1], 1, height + 2 * half, width + 2 * half,
            generator=draw,
        )  # fmt: skip
        shared = functional.conv2d(white, torch.from_numpy(self.kernel)[None, None])
        drawn = shared.reshape(frames.shape) * self.variance(clean).sqrt()
        return frames + STRENGTH * drawn, frames - drawn / STRENGTH

    @property
    def floor(self) -> float:
        """Mean squared difference from the second copy that no network can go below, in units of
        the noise.
        """
        return 1.0 + 1.0 / STRENGTH**2


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
    frames: NDArray[np.generic], clean: NDArray[np.float32], model: NoiseModel
) -> Recorruption:
    """From (t, y, x) frames and what a network makes of them, their noise as it really is."""
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
    return Recorruption(model, float(np.clip(power, 0.5, 3.0)), _kernel(shared))


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
