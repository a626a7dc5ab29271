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


def resize_part(
    pixels: NDArray[Any], shape: tuple[int, int], part: tuple[tuple[int, int], tuple[int, int]]
) -> NDArray[np.float32]:
    """Part of what `resize_image` would give, without making the whole.

    Parameters
    ----------
    pixels
        Image (y, x) of any number type.
    shape
        (y, x) of the whole at the new size.
    part
        Half-open (y, x) spans in the new image.

    Returns
    -------
    NDArray[np.float32]
        (y, x) of ``part``.
    """
    box: list[tuple[float, float]] = []
    crop: list[slice] = []
    for old, new, (start, stop) in zip(pixels.shape, shape, part, strict=True):
        step = old / new
        # the interpolation reaches as far as its widened triangle, rounding a pixel more
        margin = int(2 * max(step, 1.0)) + 2
        first = max(int(start * step) - margin, 0)
        last = min(int(stop * step) + margin, old)
        crop.append(slice(first, last))
        box.append((start * step - first, min(stop * step, last) - first))
    counts = np.ascontiguousarray(pixels[tuple(crop)], dtype=np.float32)
    height, width = (stop - start for start, stop in part)
    (top, bottom), (left, right) = box
    small = Image.fromarray(counts).resize(
        (width, height), Image.Resampling.BILINEAR, box=(left, top, right, bottom)
    )
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
