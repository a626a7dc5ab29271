"""The denoiser as a network: a running mean that knows its variance, then a U-Net.

What is remembered goes along with the sample first (`models.training.denoise.follow`). Then comes a
Kalman filter for each pixel: the mean of the frames so far is carried on with its variance, and a
small network says from the surprise in the new frame how much the sample can have changed there.
Where nothing moved the mean grows better frame by frame, where something did it begins anew; with
nothing remembered it is the frame itself, so one network does both. Fusing recursively before
denoising is the way of Maggioni et al., CVPR 2021 (arXiv 2103.05407). The second half is a U-Net
that sees the frame, the mean and its own last answer in units of the noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.training.denoise.follow import both_moved, shift_since

STATE_CHANNELS = 3
"""Running mean, its variance, and the last answer: counts, counts squared, counts."""

MULTIPLE = 8
"""Height and width are multiples of this."""

WIDTHS = (32, 64, 96)
"""Channels at a half, a fourth and an eighth of the size."""

DARK = 0.02
"""Variance, photons squared, below which no pixel is thought to be: nothing is divided by zero."""

FAR = 60.0
"""No input of the network is more standard deviations of the noise than this from the mean."""


def _mean_around(image: Tensor, side: int) -> Tensor:
    """Mean over a square of ``side`` pixels."""
    half = side // 2
    rows = functional.pad(image, (half, half, 0, 0), mode="reflect")
    rows = functional.avg_pool2d(rows, (1, side), stride=1)
    both = functional.pad(rows, (0, 0, half, half), mode="reflect")
    return functional.avg_pool2d(both, (side, 1), stride=1)


def _wide_mean(image: Tensor) -> Tensor:
    """Mean over about 40 pixels, cheaply: pooled by 8, averaged over 5, and back."""
    small = functional.avg_pool2d(image, 8)
    small = functional.avg_pool2d(
        functional.pad(small, (2, 2, 2, 2), mode="replicate"), 5, stride=1
    )
    wide: Tensor = functional.interpolate(
        small, scale_factor=8.0, mode="bilinear", align_corners=False
    )
    return wide


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.b = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.b(functional.relu(self.a(x))))


class _UNet(nn.Module):
    def __init__(self, inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        top, middle, bottom = widths
        # steps of two in the first and last layer do the work at half the size
        self.first = nn.Conv2d(inputs, top, 4, stride=2, padding=1)
        self.down = nn.ModuleList([_Block(top, top), _Block(top, middle), _Block(middle, bottom)])
        self.lift = nn.ModuleList([nn.Conv2d(middle, top, 1), nn.Conv2d(bottom, middle, 1)])
        self.up = nn.ModuleList([_Block(top, top), _Block(middle, middle)])
        self.last = nn.ConvTranspose2d(top, 1, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        half = self.down[0](functional.relu(self.first(x)))
        fourth = self.down[1](functional.max_pool2d(half, 2))
        eighth = self.down[2](functional.max_pool2d(fourth, 2))
        fourth = self.up[1](fourth + _twice(self.lift[1](eighth)))
        half = self.up[0](half + _twice(self.lift[0](fourth)))
        out: Tensor = self.last(half)
        return out


def _twice(x: Tensor) -> Tensor:
    out: Tensor = functional.interpolate(x, scale_factor=2.0, mode="nearest")
    return out


class _Change(nn.Module):
    """How much the sample can have changed, from the surprises in a frame."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, width, 4, stride=2, padding=1)
        self.mid = nn.Conv2d(width, width, 3, padding=1)
        self.wide = nn.Conv2d(width, width, 3, padding=2, dilation=2)
        self.last = nn.ConvTranspose2d(width, 1, 2, stride=2)
        assert self.last.bias is not None
        nn.init.constant_(self.last.bias, -1.0)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.first(x))
        x = x + functional.relu(self.mid(x))
        x = x + functional.relu(self.wide(x))
        out: Tensor = self.last(x)
        return out


class DenoiseNet(nn.Module):
    """Camera counts to denoised counts, frame after frame, never looking ahead.

    Parameters
    ----------
    widths
        Channels of the U-Net.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.move = _Change()
        self.unet = _UNet(5, widths)
        self.follow = True
        """Move what is remembered to where the sample has gone."""
        self.low_precision = False
        """Train the convolutions in bfloat16, twice as fast where the CPU has it."""
        self.widths = tuple(widths)

    @classmethod
    def like(cls, other: DenoiseNet) -> DenoiseNet:
        """A copy in evaluation mode, in full precision, on the CPU."""
        net = cls(other.widths)
        net.load_state_dict({name: value.cpu() for name, value in other.state_dict().items()})
        return net.eval()

    def forward(
        self, image: Tensor, state: Tensor, noise: Tensor, fresh: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Denoise one frame.

        Parameters
        ----------
        image
            (b, 1, y, x) camera counts; y and x multiples of ``MULTIPLE``.
        state
            (b, 3, y, x) as the frame before returned it.
        noise
            (b, 3) gain in counts a photon, offset in counts, read noise in counts squared.
        fresh
            (b, 1) 1 where the state is not of this place, and is not looked at.

        Returns
        -------
        denoised
            (b, 1, y, x) counts, not rounded. Over about 40 pixels its mean is the frame's own.
        state
            (b, 3, y, x) for the next frame.
        """
        gain, offset, read = (noise[:, k : k + 1, None, None] for k in range(3))
        gain = gain.clamp(min=1e-6)
        photons, dark = (image - offset) / gain, read / (gain * gain)
        variance = _mean_around(photons, 5).clamp(min=0) + dark + DARK
        level = _wide_mean(photons)
        usual = level.clamp(min=0) + dark + DARK
        unit = usual.sqrt()
        new = fresh[:, :, None, None] > 0.5
        mean, spread, last = self._brought_along(photons, variance, state, offset, gain)
        mean = torch.where(new, photons, mean)
        spread = torch.where(new, variance, spread)
        last = torch.where(new, photons, last)

        trust = self._trust(photons, variance, mean, spread, last)
        trust = torch.where(new, torch.ones_like(trust), trust)
        mean = mean + trust * (photons - mean)
        spread = trust * variance

        seen = torch.cat(
            [
                (photons - level) / unit,
                (mean - level) / unit,
                (last - level) / unit,
                (variance / usual).sqrt(),
                (spread / usual).sqrt(),
            ],
            dim=1,
        ).clamp(-FAR, FAR)
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.low_precision):
            correction = self.unet(seen)
        answer = mean + unit * correction.float()
        # what a neighbourhood has in light it keeps, whatever the network thinks
        answer = answer + _wide_mean(photons - answer)
        counts = answer * gain + offset
        kept = torch.cat([mean * gain + offset, spread * gain * gain, counts], dim=1)
        return counts, kept

    def _brought_along(
        self, photons: Tensor, variance: Tensor, state: Tensor, offset: Tensor, gain: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What is remembered, in photons, moved to where the sample is now."""
        mean, last = (state[:, 0:1] - offset) / gain, (state[:, 2:3] - offset) / gain
        spread = state[:, 1:2] / (gain * gain)
        if self.follow:
            with torch.no_grad():
                shift = shift_since(photons, last, variance)
            both, spread = both_moved(torch.cat([mean, last], dim=1), spread, shift)
            mean, last = both[:, 0:1], both[:, 1:2]
        return mean, spread, last

    def _trust(
        self, photons: Tensor, variance: Tensor, mean: Tensor, spread: Tensor, last: Tensor
    ) -> Tensor:
        """Weight of the new frame in the running mean: the gain of a Kalman filter."""
        surprise = ((photons - mean) / (variance + spread).sqrt()).clamp(-8, 8)
        beside = (photons - last) / variance.sqrt()
        around = (2 * _mean_around(beside, 5)).clamp(-8, 8)
        known = (spread / variance).clamp(0, 4)
        seen = torch.cat([surprise, beside.clamp(-8, 8), around, known], dim=1)
        with torch.autocast(photons.device.type, torch.bfloat16, enabled=self.low_precision):
            change = self.move(seen)
        # log(1 + exp) as engines are quick at it
        grown = torch.log1p(torch.exp(change.float().clamp(-20, 20)))
        before = spread + grown * variance
        return before / (before + variance)
