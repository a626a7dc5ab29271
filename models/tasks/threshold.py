"""Classical segmentation, with no network: a threshold, then touching objects are parted.

*Bright* objects (fluorescence): uneven background is taken off, Otsu's threshold (IEEE Trans SMC
1979, doi 10.1109/TSMC.1979.4310076) on a compressed scale finds dim objects beside bright ones,
the distance to the outline parts those that touch, and each object is then cut at half its own
height. *Dark* objects (bodies in phase contrast): darkness is taken against the surroundings, so
that a packed colony and its halo do not matter, and objects part where the dark ridge narrows.

Nothing is learned and nothing is remembered between frames.
"""

from __future__ import annotations

from typing import Any, Literal

import mahotas
import numpy as np
from numpy.typing import NDArray

from models.settings import ThresholdSettings
from models.tasks.basins import part, part_rods
from models.tasks.filters import Image, block_reduce, enlarge, noise_after, smooth
from models.tasks.measure import compact

_HALF_HEIGHT = 0.5
_SPECK = 0.12
"""Objects smaller than this part of the usual area are debris."""
_FAINTEST = 0.2
"""Part of the usual contrast below which something dark is the foot of a halo, not a body."""
_CHANCE = 25.0
"""Contrast, times the root of the area, that clumps of noise reach in a blank image, with reserve.
Measured: 17 in 120 images of 512 x 512, white noise, at the usual smoothing."""
_TEXTURE = 1.6
"""Transmitted light has texture of its own, so dark objects must stand out by this much more."""
_COMPRESS = 0.7
"""Between 0.5 (Poisson noise becomes even) and 1 (outlines stay sharp)."""

Found = tuple[NDArray[np.int32], NDArray[np.float32]]


def segment(pixels: NDArray[Any], settings: ThresholdSettings) -> Found:
    """Label image (y, x) int32, objects from 1 without gaps, and confidence (n,) float32, 0 to 1.

    Confidence grows with how far an object stands out of the background noise. A blank image, of
    noise or of one value, has no objects.
    """
    image = smooth(pixels, settings.smooth_px)
    low, high = np.percentile(image[::2, ::2], (0.2, 99.8)) if image.size else (0.0, 0.0)
    if not high > low:
        return np.zeros(pixels.shape, dtype=np.int32), np.zeros(0, dtype=np.float32)
    noise = noise_after(pixels, settings.smooth_px)
    polarity = settings.polarity
    if polarity == "auto":
        polarity = guess_polarity(image, noise)
    if polarity == "bright":
        labels, signal = _bright(image, settings)
        return _select(labels, signal, noise, settings.min_area_px, settings.min_contrast)
    labels, signal = _dark(image, settings)
    least = _TEXTURE * settings.min_contrast
    return _select(labels, signal, noise, settings.min_area_px, least, _FAINTEST)


def guess_polarity(image: Image, noise: float) -> Literal["bright", "dark"]:
    """Whether objects are brighter or darker than the commonest grey value, the background.

    In fluorescence nothing but noise is darker than the background; in phase contrast bodies are,
    though their halo is brighter. ``noise`` is the standard deviation of the pixels.
    """
    low, high = np.percentile(image[::2, ::2], (0.2, 99.8))
    counts, edges = np.histogram(image[::2, ::2], bins=64, range=(low, high))
    mode = float(edges[int(np.argmax(np.convolve(counts, (1, 1, 1), "same")))])
    below = mode - low - 4 * noise
    return "dark" if below > 0.1 * (high - low) else "bright"


def spread_of(values: Image) -> float:
    """Standard deviation of most of the values, from the median of absolute deviations."""
    if values.size == 0:
        return 0.0
    some = values[:: max(1, values.size // 50_000)]
    return 1.4826 * float(np.median(np.abs(some - np.median(some))))


def otsu(values: NDArray[Any]) -> float:
    """The value that parts two classes with the largest variance between them."""
    low, high = float(values.min()), float(values.max())
    if not high > low:
        return high
    counts, edges = np.histogram(values, bins=256, range=(low, high))
    centres = (edges[1:] + edges[:-1]) / 2
    weight = np.cumsum(counts, dtype=np.float64)
    moment = np.cumsum(counts * centres)
    total, mean = weight[-1], moment[-1] / weight[-1]
    between = (mean * weight - moment) ** 2 / np.maximum(weight * (total - weight), 1e-12)
    return float(centres[int(np.argmax(between[:-1]))])


def illumination(image: Image) -> Image:
    """Slow background: a low percentile over large blocks, its minimum and mean over neighbours."""
    size = max(32, min(image.shape) // 8)
    coarse = np.percentile(block_reduce(image, size)[:, :, ::4], 10, axis=2).astype(np.float32)
    coarse = _window(coarse, np.minimum.reduce)
    coarse = smooth(coarse, 1.0)
    return enlarge(coarse, image.shape, size)


def _window(image: Image, reduce: Any) -> Image:
    padded = np.pad(image, 1, mode="edge")
    rows = [padded[dy : dy + image.shape[0]] for dy in range(3)]
    return np.asarray(reduce([row[:, dx : dx + image.shape[1]] for row in rows for dx in range(3)]))


def _bright(image: Image, settings: ThresholdSettings) -> tuple[NDArray[np.int32], Image]:
    floor = illumination(image) if settings.background else np.float32(np.percentile(image, 5))
    signal = np.maximum(image - floor, 0)
    # a bead or hot spot far brighter than all else must not set the scale
    scaled = np.minimum(signal, np.percentile(signal[::2, ::2], 99.5)) ** np.float32(_COMPRESS)
    mask = scaled > 0.9 * otsu(scaled)
    mask = _fill(mask)
    labels = _split(mask, 0.5) if settings.split else _connected(mask)
    count = int(labels.max(initial=0)) + 1
    area = np.maximum(np.bincount(labels.ravel(), minlength=count), 1)
    mean = np.bincount(labels.ravel(), weights=signal.ravel(), minlength=count) / area
    limit = mean[0] + _HALF_HEIGHT * (mean - mean[0])
    limit[0] = np.inf
    labels[signal < limit[labels].astype(np.float32)] = 0
    return labels, signal - np.float32(mean[0])


def _dark(image: Image, settings: ThresholdSettings) -> tuple[NDArray[np.int32], Image]:
    response = smooth(image, settings.surround_px) - image
    strength = np.sqrt(smooth(response * response, 2 * settings.surround_px))
    # inside a colony contrast is low: measured against what is usual around, but not without limit
    relative = response / np.maximum(strength, 0.3 * strength.max() + 1e-6)
    mask = relative > 0.2
    if not settings.split:
        return _connected(mask), response
    ridge = smooth(np.maximum(relative, 0) * _distance(mask), 1.0)
    return part_rods(ridge, mask, along=0.2, across=0.95, wider=1.15), response


def _distance(mask: NDArray[np.bool_]) -> Image:
    distance = np.sqrt(mahotas.distance(mask)).astype(np.float32)
    # with no background at all the reference distance is to nowhere
    return smooth(np.minimum(distance, max(mask.shape)), 1.0)


def _split(mask: NDArray[np.bool_], depth_px: float) -> NDArray[np.int32]:
    return part(_distance(mask), mask, depth_px)


def _fill(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask with its holes: background that does not reach the border of the image."""
    outside, count = mahotas.label(~mask)
    open_ = np.zeros(count + 1, dtype=bool)
    for edge in (outside[0], outside[-1], outside[:, 0], outside[:, -1]):
        open_[edge] = True
    open_[0] = False
    return np.asarray(~open_[outside])


def _connected(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    labels, _ = mahotas.label(mask)
    return np.asarray(labels, dtype=np.int32)


def _select(
    labels: NDArray[np.int32],
    signal: Image,
    pixel_noise: float,
    min_area_px: int,
    min_contrast: float,
    faintest: float = 0.0,
) -> Found:
    """Drop what is small or does not stand out; number the rest from 1."""
    count = int(labels.max(initial=0)) + 1
    area = np.bincount(labels.ravel(), minlength=count)
    mean = np.bincount(labels.ravel(), weights=signal.ravel(), minlength=count)
    # what a threshold calls background in a blank image is too even, so the pixels are asked too
    noise = max(spread_of(signal[labels == 0]), pixel_noise, 1e-6)
    contrast = mean / np.maximum(area, 1) / noise
    # chance gathers a few noisy pixels, not many: a small object must stand out more
    chance = _CHANCE / np.sqrt(np.maximum(area, 1))
    keep = (area >= min_area_px) & (contrast > np.maximum(min_contrast, chance))
    keep[0] = False
    if keep.any():
        # the area that a pixel of an object sees: specks, however many, do not move it
        weight = np.maximum(area[keep] // 8, 1)
        keep &= area >= _SPECK * np.median(np.repeat(area[keep], weight))
    if keep.any():
        weight = np.maximum(area[keep] // 8, 1)
        strong = np.quantile(np.repeat(contrast[keep], weight), 0.9)
        keep &= contrast >= faintest * strong
    labels[~keep[labels]] = 0
    # 0.5 at twice the least contrast that is let through
    half = max(2 * min_contrast, 1e-6)
    confidence = (contrast / (contrast + half))[keep].astype(np.float32)
    return compact(labels), confidence
