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

from models.training.segment.net import SegmentNet

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
        first.first = _strided(first.first)
        self.head = _first_heads(self.net.head, heads)
        self.unfold = _unfolding(heads)
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
        out: Tensor = self.unfold(self.head(x))
        return out


@torch.no_grad()
def as_trained(lean: LeanNet) -> SegmentNet:
    """The network that one for export was made of, to be run or trained on as it was.

    Norms that were folded into their convolutions come back as norms that change nothing; heads
    that were left out are zero.
    """
    net = SegmentNet(lean.net.widths, lean.net.inputs).eval()
    for new, old in zip(_blocks(net), _blocks(lean.net), strict=True):
        for name in ("first", "second"):
            layer: Any = getattr(old, name)
            norm: Any = getattr(new, f"{name}_norm")
            fresh: nn.Conv2d = getattr(new, name)
            strided = layer.kernel_size != fresh.kernel_size
            fresh.weight.copy_((_folded(layer) if strided else layer).weight)
            if isinstance(kept := getattr(old, f"{name}_norm"), nn.BatchNorm2d):
                norm.load_state_dict(kept.state_dict())
            else:
                norm.running_var.fill_(1.0 - norm.eps)
                norm.bias.copy_(layer.bias)
    net.lift.load_state_dict(lean.net.lift.state_dict())
    here, there = net.head.state_dict(), lean.head.state_dict()
    for name, given in there.items():
        here[name].zero_()[: len(given)].copy_(given)
    return net


def _blocks(net: SegmentNet) -> list[Any]:
    return [*net.down, *net.up]


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
def _folded(strided: nn.Conv2d) -> nn.Conv2d:
    """The way back from `_strided`."""
    outputs, channels, size, _ = strided.weight.shape
    size //= FOLD
    layer = nn.Conv2d(channels * FOLD**2, outputs, size, padding=size // 2)
    taps = strided.weight.reshape(outputs, channels, size, FOLD, size, FOLD)
    layer.weight.copy_(taps.permute(0, 1, 3, 5, 2, 4).reshape(layer.weight.shape))
    return layer


@torch.no_grad()
def _first_heads(head: nn.Conv2d, heads: int) -> nn.Conv2d:
    """The layer without the outputs of later heads."""
    assert head.bias is not None
    used = heads * FOLD**2
    layer = nn.Conv2d(head.in_channels, used, 1)
    layer.weight.copy_(head.weight[:used])
    layer.bias.copy_(head.bias[:used])  # type: ignore[union-attr]
    return layer


@torch.no_grad()
def _unfolding(heads: int) -> nn.ConvTranspose2d:
    """Transposed convolution that lays the channels of each fold out as its pixels."""
    used = heads * FOLD**2
    layer = nn.ConvTranspose2d(used, heads, FOLD, stride=FOLD, bias=False)
    layer.weight.copy_(torch.eye(used).reshape(used, heads, FOLD, FOLD))
    return layer
