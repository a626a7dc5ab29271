"""The few image filters that the classical tasks share, in single precision."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


def gaussian_kernel(sigma_px: float) -> Image:
    """Weights of a Gaussian, cut at three standard deviations, sum 1, odd length."""
    radius = max(1, int(3.0 * sigma_px + 0.5))
    offsets = np.arange(-radius, radius + 1, dtype=np.float64)
    weights = np.exp(-0.5 * (offsets / sigma_px) ** 2)
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def smooth(image: NDArray[Any], sigma_px: float) -> Image:
    """Gaussian of an image (y, x), mirrored at the border; float32, a new array.

    Two passes of shifted additions: for the small widths used here three times faster than a
    general correlation.
    """
    out = np.array(image, dtype=np.float32)
    if sigma_px <= 0.05 or out.size == 0:
        return out
    weights = gaussian_kernel(sigma_px)
    for axis in (1, 0):
        out = _along(out, weights, axis)
    return out


def _along(image: Image, weights: Image, axis: int) -> Image:
    radius = len(weights) // 2
    length = image.shape[axis]
    pad = [(0, 0), (0, 0)]
    pad[axis] = (radius, radius)
    padded = np.pad(image, pad, mode="symmetric")

    def shifted(start: int) -> Image:
        window = [slice(None), slice(None)]
        window[axis] = slice(start, start + length)
        return padded[tuple(window)]

    out: Image = weights[radius] * shifted(radius)
    pair = np.empty_like(out)
    for k in range(radius):
        np.add(shifted(k), shifted(2 * radius - k), out=pair)
        pair *= weights[k]
        out += pair
    return out


def block_reduce(image: NDArray[Any], size: int) -> NDArray[Any]:
    """Cut an image into whole blocks: (rows, columns, size * size), a copy.

    What is left over at the lower and right border is not in any block; an image smaller than
    one block is mirrored up to it.
    """
    height, width = image.shape
    if height < size or width < size:
        grow = [(0, max(0, size - height)), (0, max(0, size - width))]
        image = np.pad(image, grow, mode="symmetric")
        height, width = image.shape
    rows, columns = height // size, width // size
    whole = image[: rows * size, : columns * size].reshape(rows, size, columns, size)
    return whole.swapaxes(1, 2).reshape(rows, columns, size * size)


def enlarge(small: NDArray[Any], shape: tuple[int, int], size: int) -> Image:
    """Bilinear interpolation of one value a block back to the image that the blocks came from."""
    coarse = np.asarray(small, dtype=np.float32)
    for axis in (0, 1):
        centre = (np.arange(shape[axis], dtype=np.float32) + 0.5) / size - 0.5
        centre = np.clip(centre, 0, coarse.shape[axis] - 1)
        low = centre.astype(np.intp)
        high = np.minimum(low + 1, coarse.shape[axis] - 1)
        part = (centre - low).astype(np.float32)
        part = part[:, None] if axis == 0 else part[None, :]
        coarse = np.take(coarse, low, axis) * (1 - part) + np.take(coarse, high, axis) * part
    return coarse


def noise_variance(image: NDArray[Any], block_px: int = 16) -> float:
    """Mean variance of the pixel noise, from second differences that cancel smooth structure.

    Immerkær's mask (Comput Vis Image Underst 1996, doi 10.1006/cviu.1996.0060) with a median of
    absolute values in each block, so that outlines of objects count little, and the mean over
    blocks, so that noise that grows with brightness is averaged over the image.
    """
    pixels = np.asarray(image, dtype=np.float32)
    if min(pixels.shape) < 3:
        return 0.0
    rows = pixels[:-2] - 2 * pixels[1:-1] + pixels[2:]
    residual = np.abs(rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:])
    medians = np.median(block_reduce(residual, min(block_px, *residual.shape)), axis=2)
    # 0.6745: median of |N(0, 1)|; 36: sum of the squared weights of the mask
    return float(np.mean((medians / 0.6745) ** 2) / 36.0)


def middle(image: NDArray[Any], size_px: int = 256) -> NDArray[Any]:
    """The middle of an image, at most ``size_px`` square; a view."""
    top = max(0, (image.shape[0] - size_px) // 2)
    left = max(0, (image.shape[1] - size_px) // 2)
    return image[top : top + size_px, left : left + size_px]


def noise_after(image: NDArray[Any], sigma_px: float) -> float:
    """Standard deviation that the pixel noise of ``image`` has left after ``smooth``."""
    left = 1.0 if sigma_px <= 0.05 else float(np.sum(gaussian_kernel(sigma_px) ** 2))
    return left * float(np.sqrt(noise_variance(middle(image))))
