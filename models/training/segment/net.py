"""The segmentation network: a compact U-Net that works at half the image's resolution.

A pixel-unshuffle stem folds 2 x 2 pixels into channels and a pixel-shuffle head unfolds them again,
so that a network of a given width costs a quarter of the usual U-Net (Ronneberger et al. 2015,
arXiv 1505.04597; sub-pixel layers: Shi et al. 2016, arXiv 1609.05158). The heads follow the
bottom-up scheme of Panoptic-DeepLab (Cheng et al. 2020, arXiv 1911.10194): what is foreground,
where are the centres, and from each pixel how far it is to its own centre.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from torch import Tensor, nn
from torch.nn import functional as nnf

STRIDE = 16
"""Height and width of what the network takes are multiples of this."""

OFFSET_UNIT_PX = 16.0
"""Offsets leave the head in this unit, so that they are of the order of one."""

WIDTHS: Final = (16, 32, 96, 192)
"""Channels of the four levels. Engines count in blocks of 16, and the first level costs most."""

HEADS = ("foreground", "centre", "offset_y", "offset_x", "contact")
"""Channels of the output, in order."""


class _Block(nn.Module):
    """Two 3 x 3 convolutions, each normalised over the batch and rectified."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Run the block."""
        x = nnf.relu(self.first_norm(self.first(x)))
        return nnf.relu(self.second_norm(self.second(x)))


class SegmentNet(nn.Module):
    """Normalised image to foreground, centre and contact logits and offsets.

    Parameters
    ----------
    widths
        Channels of the four levels, from the finest.
    inputs
        Channels of the normalised image.

    Notes
    -----
    ``forward`` takes (n, ``inputs``, y, x) float with y and x multiples of ``STRIDE`` and gives
    (n, 5, y, x): the channels named in ``HEADS``. Offsets are (dy, dx) in ``OFFSET_UNIT_PX`` from a
    pixel to the centre of its object.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS, inputs: int = 2) -> None:
        super().__init__()
        self.widths, self.inputs = tuple(widths), inputs
        self.down = nn.ModuleList(
            _Block(a, b) for a, b in zip([4 * inputs, *widths[:-1]], widths, strict=True)
        )
        self.lift = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(_Block(a, a) for a in widths[:-1])
        self.head = nn.Conv2d(widths[0], 4 * len(HEADS), 1)

    def forward(self, x: Tensor) -> Tensor:
        """Run the network."""
        x = nnf.pixel_unshuffle(x, 2)
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else nnf.max_pool2d(x, 2))
            skips.append(x)
        for level in (2, 1, 0):
            # adding the skip instead of stacking it halves the cost of the widest convolutions
            lifted = nnf.interpolate(self.lift[level](x), scale_factor=2.0, mode="nearest")
            x = self.up[level](lifted + skips[level])
        return nnf.pixel_shuffle(self.head(x), 2)


def widths_of(weights: Mapping[str, Tensor], prefix: str = "") -> tuple[int, ...]:
    """Channels of the levels, read from the weights of a `SegmentNet`.

    Raises
    ------
    KeyError
        When they are of something else.
    """
    return tuple(weights[f"{prefix}down.{k}.first.weight"].shape[0] for k in range(len(WIDTHS)))


def count_weights(net: nn.Module) -> int:
    """Number of trainable values in ``net``."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)
