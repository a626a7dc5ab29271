"""Images and label images at another scale."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def resize_image(pixels: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Image (y, x) of any number type, linearly interpolated to ``shape``, float32.

    Where it shrinks, the interpolation widens with the step, so that no fine pattern aliases.
    """
    counts = np.ascontiguousarray(pixels, dtype=np.float32)
    if shape == counts.shape:
        return counts
    small = Image.fromarray(counts).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(small, dtype=np.float32)


def resize_labels(labels: NDArray[np.int32], shape: tuple[int, int]) -> NDArray[np.int32]:
    """Label image (y, x) at ``shape``: each pixel takes the label under its middle."""
    if shape == labels.shape:
        return labels
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip(shape, labels.shape, strict=True)
    )
    return np.ascontiguousarray(labels[np.ix_(rows, columns)])


def pad_to_multiple(image: NDArray[np.float32], multiple: int) -> NDArray[np.float32]:
    """Image with its last row and column repeated until both lengths are a multiple, two at least.

    Images smaller than two multiples would leave the deepest level of a network a single pixel.
    """
    height, width = image.shape
    grow = [max(-(-length // multiple), 2) * multiple - length for length in (height, width)]
    if not any(grow):
        return image
    return np.pad(image, ((0, grow[0]), (0, grow[1])), mode="edge")
