"""From the network's heads to a label image: find centres, gather pixels, linear in pixels.

Everything here is in float32 and int32 whatever the network runs in: plateaus of low precision make
twin peaks, and running numbers are exact in it only up to 256 or 2,048.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.training.net import OFFSET_UNIT_PX


@dataclass(frozen=True, slots=True)
class Grouping:
    """How centres are found and pixels gathered."""

    foreground: float = 0.5
    """A pixel this likely to be in an object is in one."""
    centre: float = 0.25
    """A peak of the heat map this high is a centre."""
    window_px: int = 9
    """One centre at most in a window this wide."""
    reach_px: int = 9
    """A pixel that lands in a window this wide around a centre belongs to it."""
    hops: int = 2
    """Steps along the offsets; the second corrects the first."""


def gather(raw: Tensor, how: Grouping) -> tuple[Tensor, Tensor]:
    """Network output to label image and probability.

    Parameters
    ----------
    raw
        (4 or more, y, x): the first channels of ``net.HEADS``.
    how
        Grouping.

    Returns
    -------
    labels
        (y, x) int32, 0 is background; numbered by the raster order of the centres, a number whose
        centre drew no pixel is missing.
    probability
        (y, x) float32, of being in an object.
    """
    raw = raw.float()
    probability, heat = raw[0].sigmoid(), raw[1]
    height, width = probability.shape
    threshold = float(torch.logit(torch.tensor(how.centre)))
    top = _widest(heat, how.window_px)
    peak = (heat >= top) & (heat > threshold) & (probability > how.foreground)
    # Of equal peaks in a window the last in raster order stays; exact below 2**24 pixels.
    steps_y = torch.arange(height, device=raw.device)[:, None]
    steps_x = torch.arange(width, device=raw.device)[None, :]
    place = (steps_y * width + steps_x + 1).float() * peak.float()
    seed = peak & (place >= _widest(place, how.window_px))
    number = torch.cumsum(seed.reshape(-1).int(), dim=0, dtype=torch.int32)
    number = (number.reshape(height, width) * seed.int()).float()
    near = _widest(number, how.reach_px).int().reshape(-1)
    dy = (raw[2] * OFFSET_UNIT_PX).reshape(-1)
    dx = (raw[3] * OFFSET_UNIT_PX).reshape(-1)
    y = (steps_y.float() + torch.zeros_like(heat)).reshape(-1)
    x = (steps_x.float() + torch.zeros_like(heat)).reshape(-1)
    y, x = y + dy, x + dx  # every pixel starts at itself, so the first hop needs no gather
    at = _pixel(y, x, height, width)
    for _ in range(how.hops - 1):
        y = y.clamp(0, height - 1) + dy.index_select(0, at)
        x = x.clamp(0, width - 1) + dx.index_select(0, at)
        at = _pixel(y, x, height, width)
    inside = probability > how.foreground
    return near.index_select(0, at).reshape(height, width) * inside.int(), probability


def _pixel(y: Tensor, x: Tensor, height: int, width: int) -> Tensor:
    row = torch.round(y.clamp(0, height - 1)).long()
    return row * width + torch.round(x.clamp(0, width - 1)).long()


def _widest(image: Tensor, window: int) -> Tensor:
    # two passes of one row and one column: 2 n comparisons a pixel in place of n squared
    half = window // 2
    rows = functional.max_pool2d(image[None, None], (1, window), stride=1, padding=(0, half))
    return functional.max_pool2d(rows, (window, 1), stride=1, padding=(half, 0))[0, 0]
