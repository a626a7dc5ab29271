"""The trained network as engines on the CPU run it fastest: the same sums, laid out otherwise.

Folding 2 x 2 pixels into channels and unfolding them again moves every pixel by itself, which an
engine does slowly. A convolution with a step of two and a transposed convolution do the same on the
way. The numbers differ from those of the trained network by rounding alone.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from models.training.net import SegmentNet

FOLD = 2
"""Pixels along each axis that the network folds into channels."""


class LeanNet(nn.Module):
    """A trained `SegmentNet` in evaluation mode, to be exported.

    Parameters
    ----------
    net
        Trained network; not changed.
    heads
        How many of its heads to compute, from the first; the others are left out.
    """

    def __init__(self, net: SegmentNet, heads: int) -> None:
        super().__init__()
        self.net = copy.deepcopy(net.cpu()).eval()
        first: Any = self.net.down[0]
        last: Any = self.net.up[0]
        first.first = _strided(first.first)
        last.second, last.second_norm = _with_a_one(last.second, last.second_norm)
        self.head = _unfolding(self.net.head, heads)
        del self.net.head

    def forward(self, x: Tensor) -> Tensor:
        """As `SegmentNet`, with as many channels as heads were asked for."""
        skips: list[Tensor] = []
        for level, block in enumerate(self.net.down):
            x = block(x if level == 0 else nnf.max_pool2d(x, 2))
            skips.append(x)
        for level in (2, 1, 0):
            lifted = nnf.interpolate(self.net.lift[level](x), scale_factor=2.0, mode="nearest")
            x = self.net.up[level](lifted + skips[level])
        out: Tensor = self.head(x)
        return out


@torch.no_grad()
def _strided(folded: nn.Conv2d) -> nn.Conv2d:
    """Convolution of 6 x 6 with a step of 2 that does what one of 3 x 3 does after folding."""
    outputs, inputs, size, _ = folded.weight.shape
    channels = inputs // FOLD**2
    layer = nn.Conv2d(channels, outputs, FOLD * size, stride=FOLD, padding=FOLD, bias=False)
    # (o, c, i, j, y, x): channel c of pixel (i, j) of the fold, tap (y, x)
    taps = folded.weight.reshape(outputs, channels, FOLD, FOLD, size, size)
    taps = taps.permute(0, 1, 4, 2, 5, 3)
    layer.weight.copy_(taps.reshape(outputs, channels, FOLD * size, FOLD * size))
    return layer


@torch.no_grad()
def _with_a_one(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """The same layers with one channel more, which is one everywhere."""
    count = conv.out_channels
    wide = nn.Conv2d(conv.in_channels, count + 1, 3, padding=1, bias=False)
    wide.weight.zero_()
    wide.weight[:count].copy_(conv.weight)
    wide_norm = nn.BatchNorm2d(count + 1, eps=norm.eps).eval()
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(wide_norm, name)[:count].copy_(getattr(norm, name))
    wide_norm.weight[count], wide_norm.bias[count] = 0.0, 1.0
    return wide, wide_norm


@torch.no_grad()
def _unfolding(head: nn.Conv2d, heads: int) -> nn.ConvTranspose2d:
    """Transposed convolution that does what one of 1 x 1 and unfolding do after each other.

    The four pixels of a fold have a bias each, which a transposed convolution has not: it gets them
    as weights of a channel of ones. In blocks of 16 channels, as engines count, that costs nothing.
    """
    assert head.bias is not None
    used = heads * FOLD**2
    layer = nn.ConvTranspose2d(head.in_channels + 1, heads, FOLD, stride=FOLD, bias=False)
    values = torch.cat([head.weight[:used, :, 0, 0], head.bias[:used, None]], dim=1)
    layer.weight.copy_(values.reshape(heads, FOLD, FOLD, -1).permute(3, 0, 1, 2))
    return layer
