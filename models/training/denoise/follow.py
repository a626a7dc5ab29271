"""Where the sample went since the frame before, so that what is remembered can go along.

Two looks. At a quarter of the size the last answer is laid over the new frame in every shift of up
to ``REACH`` pixels, and each block of eight takes the one at which a neighbourhood of five blocks
fits best. At half of the size the shifts around that one are tried in smaller neighbourhoods, and a
parabola through the three best says where between pixels the best is (block matching, Jain and
Jain, IEEE Trans. Commun. 1981). Differences count in units of the noise, so that a shift must fit
better than standing still by more than noise can make it: what stands still is not touched.
Everything is sums, least values and look-ups, so engines do it inside the network's graph.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

REACH = 4
"""Quarter-size pixels that things are looked for each way: 16 of the image."""
NEAR = 2
"""Half-size pixels around that; those at the rim only serve the parabola."""
BLOCK, WIDE, NARROW = 2, 5, 7
"""Quarter-size pixels of a block; blocks of a wide neighbourhood, and quarter-size pixels of a
narrow one."""
WORTH = 8.0
"""By how much the logarithm of the likelihood must grow before a thing has moved: the best of a
hundred shifts of nothing but noise is about 5 better than standing still."""
FARTHER = 0.02
"""Price of a shift of one quarter-size pixel, by which equally good ones are told apart."""
ODD = 16.0
"""No single pixel counts for more than four standard deviations."""


def shift_since(new: Tensor, last: Tensor, variance: Tensor) -> Tensor:
    """How far to look back, for each pixel.

    Parameters
    ----------
    new
        (b, 1, y, x) photons of the frame; y and x multiples of 8.
    last
        (b, 1, y, x) photons of what was made of the frame before.
    variance
        (b, 1, y, x) of ``new``, photons squared, above 0.

    Returns
    -------
    Tensor
        (b, 2, y, x) pixels: what is at (y, x) now was at (y + [0], x + [1]); 0 where nothing says
        that it moved.
    """
    coarse = _coarse(new, last, variance)
    frame, before = functional.avg_pool2d(new, 2), functional.avg_pool2d(last, 2)
    weight = 4 / functional.avg_pool2d(variance, 2)
    start = functional.interpolate(coarse, scale_factor=4.0, mode="nearest")
    tried = torch.cat([_shifted(moved_whole(before, start / 2), NEAR), before], dim=1)
    unlike = functional.avg_pool2d(_unlike(tried, frame, weight), BLOCK)
    unlike = _mean_around(unlike, NARROW)
    count = (2 * NEAR + 1) ** 2
    fits, still = unlike[:, :count], unlike[:, count:]
    fine, least = _best_between(fits)
    start = functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
    gained = (still - least) * (NARROW * BLOCK) ** 2 / 2
    shift = (start + 2 * fine) * (gained > WORTH).to(fine.dtype)
    return functional.interpolate(shift, scale_factor=4.0, mode="bilinear", align_corners=False)


def moved(image: Tensor, shift: Tensor) -> Tensor:
    """An image (b, c, y, x) as it is at each place plus ``shift`` (b, 2, y, x) pixels, bilinear.

    By looking up its four pixels one after the other: ONNX Runtime shares that among its threads,
    its operator for sampling by channel alone.
    """
    return _Lookup(image.shape[-2:], shift).between(image)


def moved_whole(image: Tensor, shift: Tensor) -> Tensor:
    """As `moved`, by whole pixels: the one above and to the left of each place."""
    return _Lookup(image.shape[-2:], shift).whole(image)


def both_moved(image: Tensor, smooth: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """`moved` of the one and `moved_whole` of the other, which changes slowly."""
    lookup = _Lookup(image.shape[-2:], shift)
    return lookup.between(image), lookup.whole(smooth)


class _Lookup:
    """Where the pixels of an image (b, c, y, x) lie that are at each place plus a shift."""

    def __init__(self, size: torch.Size, shift: Tensor) -> None:
        height, width = size
        y = torch.arange(height, device=shift.device, dtype=shift.dtype)[:, None] + shift[:, 0]
        x = torch.arange(width, device=shift.device, dtype=shift.dtype)[None, :] + shift[:, 1]
        y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
        top, left = y.floor(), x.floor()
        self._down, self._right = y - top, x - left
        self._line = width + 1
        self._at = (top.to(torch.int64) * self._line + left.to(torch.int64)).flatten(1)
        self._size = shift.shape[0], height, width

    def whole(self, image: Tensor) -> Tensor:
        """Pixels above and to the left."""
        parts = [self._pixels(part, self._at) for part in self._parts(image)]
        return torch.stack(parts, dim=1)

    def between(self, image: Tensor) -> Tensor:
        """Bilinear."""
        at, line, right, down = self._at, self._line, self._right, self._down
        beside, below, across = at + 1, at + line, at + (line + 1)
        made = []
        for part in self._parts(image):
            a, b = self._pixels(part, at), self._pixels(part, beside)
            c, d = self._pixels(part, below), self._pixels(part, across)
            upper, lower = a + right * (b - a), c + right * (d - c)
            made.append(upper + down * (lower - upper))
        return torch.stack(made, dim=1)

    def _parts(self, image: Tensor) -> list[Tensor]:
        """Each channel in one line; the last row and column are there twice."""
        wide = functional.pad(image, (0, 1, 0, 1), mode="replicate")
        return [wide[:, channel].flatten(1) for channel in range(image.shape[1])]

    def _pixels(self, part: Tensor, at: Tensor) -> Tensor:
        return torch.gather(part, 1, at).reshape(self._size)


def _coarse(new: Tensor, last: Tensor, variance: Tensor) -> Tensor:
    """Best whole shift of each block, (b, 2, y / 8, x / 8) in pixels of the image."""
    frame, before = functional.avg_pool2d(new, 4), functional.avg_pool2d(last, 4)
    weight = 16 / functional.avg_pool2d(variance, 4)
    unlike = functional.avg_pool2d(_unlike(_shifted(before, REACH), frame, weight), BLOCK)
    unlike = _mean_around(unlike, WIDE)
    dy, dx = _steps(torch.arange((2 * REACH + 1) ** 2, device=unlike.device), REACH)
    unlike = unlike + FARTHER * torch.sqrt(dy * dy + dx * dx)[:, None, None].to(unlike.dtype)
    return 4 * torch.stack(_steps(unlike.argmin(dim=1), REACH), dim=1).to(unlike.dtype)


def _best_between(fits: Tensor) -> tuple[Tensor, Tensor]:
    """Least of the inner shifts with its fraction (b, 2, y, x), half-size pixels; its value."""
    side, core = 2 * NEAR + 1, 2 * NEAR - 1
    inner = [column * side + row for column in range(1, side - 1) for row in range(1, side - 1)]
    dy, dx = _steps(fits[:, inner].argmin(dim=1, keepdim=True), NEAR - 1)
    best = (dx + core // 2 + 1) * side + dy + core // 2 + 1
    least = fits.gather(1, best)
    part = [
        _vertex(fits.gather(1, best - step), least, fits.gather(1, best + step))
        for step in (1, side)
    ]
    return torch.cat([dy, dx], dim=1).to(fits.dtype) + torch.cat(part, dim=1), least


def _vertex(before: Tensor, at: Tensor, after: Tensor) -> Tensor:
    """Where between -1/2 and 1/2 the parabola through three values is least."""
    bend = (2 * (before + after - 2 * at)).clamp(min=1e-6)
    return ((before - after) / bend).clamp(-0.5, 0.5)


def _unlike(tried: Tensor, frame: Tensor, weight: Tensor) -> Tensor:
    """Squared differences in units of the noise."""
    apart = tried - frame
    return (apart * apart * weight).clamp(max=ODD)


def _shifted(image: Tensor, reach: int) -> Tensor:
    """All shifts of an image (b, 1, y, x) as channels, in the order of `_steps`."""
    height, width = image.shape[-2:]
    side = 2 * reach + 1
    wide = functional.pad(image, (reach,) * 4, mode="replicate")
    rows = torch.cat([wide[:, :, dy : dy + height] for dy in range(side)], dim=1)
    return torch.cat([rows[..., dx : dx + width] for dx in range(side)], dim=1)


def _steps(number: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Rows and columns of shifts by their number."""
    side = 2 * reach + 1
    return number % side - reach, number // side - reach


def _mean_around(image: Tensor, side: int) -> Tensor:
    half = side // 2
    rows = functional.pad(image, (half, half, 0, 0), mode="replicate")
    rows = functional.avg_pool2d(rows, (1, side), stride=1)
    both = functional.pad(rows, (0, 0, half, half), mode="replicate")
    return functional.avg_pool2d(both, (side, 1), stride=1)
