"""Images that a network should not be trusted on, made from those that it should.

Used to see whether the check of trust raises its flag, never to set its limits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.tasks.filters import smooth
from models.training.segment.data import Pair

Image = NDArray[np.float32]

SIDE = 256


def foreign_images(pairs: list[Pair], seed: int = 1) -> Iterator[tuple[str, Image]]:
    """Kind and camera counts (y, x): each image spoilt in four ways, and patterns with no cells."""
    rng = np.random.default_rng(seed)
    for pair in pairs:
        image, inside = pair.image, pair.labels > 0
        if not inside.any() or inside.all():
            continue
        yield "inverted", image.max() - image
        yield "out of focus", defocused(image, 0.5 * max(pair.diameter_px, 8.0), rng)
        yield "saturated", saturated(image, inside)
    for k in range(20):
        yield "noise", noise(k, rng)
        yield "checkerboard", checkerboard((2, 3, 4, 6, 8, 12, 16, 24, 32, 48)[k % 10], k, rng)


def defocused(image: Image, sigma_px: float, rng: np.random.Generator) -> Image:
    """Blurred before the camera: the noise of the camera is as sharp as ever, at 1 % of the range.

    Counts are stretched to 16 bit, so that a blurred 8-bit image does not show steps.
    """
    stretched = (image - image.min()) * np.float32(10_000 / max(float(np.ptp(image)), 1.0))
    blurred = smooth(stretched, sigma_px) + 500
    noise = 0.01 * float(np.ptp(blurred)) * rng.standard_normal(image.shape)
    return np.asarray(blurred + noise, np.float32)


def saturated(image: Image, inside: NDArray[np.bool_]) -> Image:
    """8-bit image exposed until all but the dimmest parts of the objects are at the top."""
    ground = float(np.median(image[~inside]))
    dim = float(np.percentile(image[inside], 5))
    top = ground + 0.5 * (dim - ground) if dim > ground else 0.8 * max(ground, dim)
    return np.asarray(np.minimum(image * (255 / max(top, 1.0)), 255), np.float32)


def noise(k: int, rng: np.random.Generator) -> Image:
    """A camera with its shutter closed, or even light."""
    if k % 2:
        return rng.poisson((2, 5, 20, 100, 400)[k % 5], (SIDE, SIDE)).astype(np.float32)
    spread = (3, 30, 100, 300)[k // 2 % 4]
    return rng.normal(1000, spread, (SIDE, SIDE)).astype(np.float32)


def checkerboard(period_px: int, k: int, rng: np.random.Generator) -> Image:
    """A test pattern, every other one with noise."""
    y, x = np.indices((SIDE, SIDE))
    board = ((y // period_px + x // period_px) % 2) * (40.0, 150.0, 3000.0)[k % 3] + 20
    return np.asarray(board + (k % 2) * rng.normal(0, 3, board.shape), np.float32)
