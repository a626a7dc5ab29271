"""From the network's heads to a label image: find centres, gather pixels, linear in pixels.

Everything here is in float32 and int32 whatever the network runs in: plateaus of low precision make
twin peaks, and running numbers are exact in it only up to 256 or 2,048.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.training.onnxfile import write_onnx
from models.training.segment.net import OFFSET_UNIT_PX


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


def gather(raw: Tensor, how: Grouping, centre: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Network output to label image and probability.

    Parameters
    ----------
    raw
        (4 or more, y, x): the first channels of ``net.HEADS``.
    how
        Grouping.
    centre
        (1,) float32, taken in place of ``how.centre`` where it is above 0.

    Returns
    -------
    labels
        (y, x) int32, 0 is background; numbered by the raster order of the centres, a number whose
        centre drew no pixel is missing.
    probability
        (y, x) float32, of being in an object.
    """
    foreground, heat, dy, dx = raw[:4].float().unbind(0)
    height, width = heat.shape
    # compared before the sigmoid, of which engines differ in the last digit
    inside = foreground > _logit(how.foreground)
    near = _near(heat, inside, how, centre)
    dy, dx = dy * OFFSET_UNIT_PX, dx * OFFSET_UNIT_PX
    # every pixel starts at itself, so the first hop needs no look-up
    y = (torch.arange(height, device=raw.device)[:, None] + dy).clamp(0, height - 1)
    x = (torch.arange(width, device=raw.device)[None, :] + dx).clamp(0, width - 1)
    for _ in range(how.hops - 1):
        at = _pixel(y, x, width)
        y = (y + _look_up(dy, at)).clamp(0, height - 1)
        x = (x + _look_up(dx, at)).clamp(0, width - 1)
    labels = _look_up(near, _pixel(y, x, width)).int() * inside.int()
    return labels, foreground.sigmoid()


def _near(heat: Tensor, inside: Tensor, how: Grouping, centre: Tensor | None) -> Tensor:
    """Number of the centre that each pixel is near, (y, x) float32; 0 where there is none."""
    height, width = heat.shape
    lowest: Tensor | float = _logit(how.centre)
    if centre is not None:
        # compared before the sigmoid, as the foreground is; 1e4 stands for the infinite
        asked = centre.clamp(1e-4, 1 - 1e-4)
        own = torch.full_like(centre, max(_logit(how.centre), -1e4))
        lowest = torch.where(centre > 0, torch.log(asked / (1 - asked)), own)
    peak = (heat >= _widest(heat, how.window_px)) & (heat > lowest) & inside
    # Of equal peaks in a window the last in raster order stays; exact up to 2**24 pixels.
    rows = torch.arange(height, device=heat.device, dtype=torch.float32) * width
    columns = torch.arange(1, width + 1, device=heat.device, dtype=torch.float32)
    none = torch.zeros((), device=heat.device)
    place = torch.where(peak, rows[:, None] + columns, none)
    seed = peak & (place >= _widest(place, how.window_px))
    number = torch.cumsum(seed.reshape(-1).int(), dim=0, dtype=torch.int32)
    numbers = number.reshape(height, width).float()
    return _widest(torch.where(seed, numbers, none), how.reach_px)


def _logit(probability: float) -> float:
    if probability <= 0:
        return -math.inf
    return math.log(probability / (1 - probability))


def _pixel(y: Tensor, x: Tensor, width: int) -> Tensor:
    # in float32, exact up to 2**24 pixels: one conversion to integers in place of two
    return (torch.round(y) * width + torch.round(x)).long()


def _look_up(image: Tensor, at: Tensor) -> Tensor:
    # ONNX Runtime does `gather` in a sixth of the time of `index_select` or plain indexing
    return torch.gather(image.reshape(-1), 0, at.reshape(-1)).reshape(at.shape)


def _widest(image: Tensor, window: int) -> Tensor:
    """Largest value in the window around each pixel."""
    # In two halves: ONNX Runtime takes ten times as long for rows of more than 2,040 pixels.
    half, middle = window // 2, image.shape[1] // 2
    left = _pooled(image[:, : middle + half], window)[:, :middle]
    right = _pooled(image[:, middle - half :], window)[:, half:]
    return torch.cat([left, right], dim=1)


def _pooled(image: Tensor, window: int) -> Tensor:
    # two passes of one row and one column: 2 n comparisons a pixel in place of n squared
    half = window // 2
    rows = functional.max_pool2d(image[None, None], (1, window), stride=1, padding=(0, half))
    both = functional.max_pool2d(rows, (window, 1), stride=1, padding=(half, 0))
    return both.squeeze(0).squeeze(0)  # an index would be exported as a copy of the image


class HeadsToLabels(nn.Module):
    """Grouping by itself, as a module that exports."""

    def __init__(self, how: Grouping | None = None) -> None:
        super().__init__()
        self.how = how or Grouping()

    def forward(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """As `gather`."""
        return gather(raw, self.how)


def export_grouping(path: Path, how: Grouping | None = None) -> Path:
    """Write grouping by itself as an ONNX file, to measure it and to compare engines.

    Input ``raw`` (4, y, x) float32, y and x free multiples of 16; outputs ``labels`` and
    ``probability`` (y, x), as of `gather`.
    """
    shape = {axis: 16 * torch.export.Dim(f"length{axis}", min=2, max=512) for axis in (1, 2)}
    names = ("raw",), ("labels", "probability")
    return write_onnx(HeadsToLabels(how), path, (torch.rand(4, 96, 160),), (shape,), *names)
