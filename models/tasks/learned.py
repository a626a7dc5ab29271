"""What a segmenter has learned of the size of objects, as a plain value."""

from __future__ import annotations

import msgspec


class Learned(msgspec.Struct, frozen=True):
    """All of earlier images that the labels of the next one depend on.

    Another segmenter of the same weights that is given this labels the next image alike.
    """

    scale: float = 1.0
    """Network pixels to a camera pixel, at which the next image is first looked at."""
    fits: bool = False
    """Whether objects enough were seen to trust it."""
    pixel_size_um: float = 0.0
    """Of the image that it was found in; 0 where unknown."""
