"""Which pixels of a picture are worth drawing at the present zoom."""

from __future__ import annotations

import math
from dataclasses import dataclass

MARGIN = 0.25
"""Extra border round what is visible, so that a drag shows picture, not black, until redrawn."""


@dataclass(frozen=True, slots=True)
class Region:
    """Half-open rectangle of a picture, in pixels, taken at every ``stride``-th pixel."""

    y0: int
    x0: int
    y1: int
    x1: int
    stride: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of (y, x) that takes the region out of a picture."""
        return slice(self.y0, self.y1, self.stride), slice(self.x0, self.x1, self.stride)

    @property
    def rect(self) -> tuple[float, float, float, float]:
        """(x, y, width, height) that the taken pixels cover, in pixels of the picture."""
        rows = len(range(self.y0, self.y1, self.stride))
        columns = len(range(self.x0, self.x1, self.stride))
        return (
            float(self.x0),
            float(self.y0),
            float(columns * self.stride),
            float(rows * self.stride),
        )


def whole(shape: tuple[int, int]) -> Region:
    """Everything, at full resolution."""
    return Region(0, 0, shape[0], shape[1], 1)


def visible_region(
    shape: tuple[int, int],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    screen_px: tuple[float, float],
) -> Region:
    """Region to draw for a view of ``x_range`` by ``y_range`` (pixels of the picture).

    Parameters
    ----------
    shape
        (y, x) of the picture.
    x_range, y_range
        What the view shows, in pixels of the picture; may reach beyond it.
    screen_px
        Width and height of the view on the screen, physical pixels.

    Returns
    -------
    Region
        Never finer than the screen by a factor of two or more. The stride is a power of two and
        the corner a multiple of it, so that the grid does not jump when the view is dragged.
    """
    width, height = max(x_range[1] - x_range[0], 1.0), max(y_range[1] - y_range[0], 1.0)
    per_screen_px = min(width / max(screen_px[0], 1.0), height / max(screen_px[1], 1.0))
    # 1.4: half-way to the next power of two, where taking every pixel starts to be waste
    stride = 2 ** max(0, round(math.log2(max(per_screen_px * 1.4, 1.0)) - 0.5))
    stride = max(1, min(stride, min(shape) or 1))
    spans = []
    for (low, high), extent, size in ((y_range, height, shape[0]), (x_range, width, shape[1])):
        start = math.floor((low - MARGIN * extent) / stride) * stride
        stop = math.ceil((high + MARGIN * extent) / stride) * stride
        start = min(max(start, 0), max(size - 1, 0) // stride * stride)
        spans.append((start, max(min(stop, size), min(start + 1, size))))
    return Region(spans[0][0], spans[1][0], spans[0][1], spans[1][1], stride)
