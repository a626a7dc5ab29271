"""Training crops: geometry, then optics, then light, then noise, as a microscope adds them.

Intensity changes are mild on purpose: strong blur and gamma hide the cue by which labs differ in
where they draw an outline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.training.segment.crowding import add_light, pale, paste
from models.training.segment.data import Pair
from models.training.segment.dust import draw_dust
from models.training.segment.targets import targets_from_labels
from models.training.segment.views import normalise

Draw = Callable[[int, float, np.random.Generator], tuple[NDArray[np.float32], NDArray[np.int32]]]
"""Side in px, median diameter in px and random numbers to picture and labels (side, side).

The picture is about 0 at the darkest and 1 at the brightest of what it shows, as a normalised image
is; light and noise are changed afterwards like those of a real crop."""


@dataclass(frozen=True, slots=True)
class Augment:
    """How far crops stray from the data."""

    diameter_px: float = 24.0
    """Objects are brought to about this size; the network is used at this size."""
    near: tuple[float, float] = (0.65, 1.5)
    """Usual range of sizes around it."""
    far: tuple[float, float] = (0.35, 2.6)
    """Rare range, so that a first look at any scale finds enough to measure the size."""
    far_share: float = 0.2
    invert_share: float = 0.0
    """Share of crops with contrast inverted; for phase contrast only."""
    noise: float = 0.08
    """Largest noise, in units of the image's range."""
    crowd_share: float = 0.0
    """Share of crops made more crowded and paler; for phase contrast only."""
    overlap_share: float = 0.0
    """Share of crops with objects of other crops laid over them; for fluorescence only."""
    drawn_share: float = 0.0
    """Share of crops that are drawn."""
    draw: Draw | None = None
    """What draws them."""
    debris_share: float = 0.1
    """Share of crops with bright specks that belong to no object."""
    dust_share: float = 0.0
    """Share of crops with dust on them; for phase contrast only."""


@dataclass(frozen=True, slots=True)
class Crop:
    """One training example."""

    image: Tensor
    """(1, 1, y, x), normalised."""
    target: Tensor
    """(5, y, x) as `HEADS` of the network names them."""
    valid: Tensor
    """(y, x), 0 where the crop reaches beyond the image."""


def _affine(scale: float, rng: np.random.Generator, rotate: bool) -> NDArray[np.float64]:
    angle = rng.integers(4) * np.pi / 2 if not rotate else rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    flip = np.diag([1.0, -1.0 if rng.random() < 0.5 else 1.0])
    return np.asarray(turn @ flip / scale)


def _blur(image: Tensor, sigma: float) -> Tensor:
    radius = max(1, int(3 * sigma + 0.5))
    taps = torch.exp(-(torch.arange(-radius, radius + 1.0) ** 2) / (2 * sigma**2))
    taps = taps / taps.sum()
    padded = functional.pad(image, (radius,) * 4, mode="reflect")
    return functional.conv2d(
        functional.conv2d(padded, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1)
    )


def _cut(
    pair: Pair, size: int, scale: float, rng: np.random.Generator, rotate: bool
) -> tuple[Tensor, NDArray[np.int32], Tensor]:
    """Resample a crop of ``size`` pixels at ``scale`` around a random place, mostly an object."""
    height, width = pair.image.shape
    if rng.random() < 0.6 and (spots := np.flatnonzero(pair.labels)).size:
        y, x = np.divmod(rng.choice(spots), width)
    else:
        y, x = rng.integers(height), rng.integers(width)
    half = 0.4 * size / scale
    centre = np.array(
        [
            np.clip(y, min(half, height / 2), max(height - half, height / 2)),
            np.clip(x, min(half, width / 2), max(width - half, width / 2)),
        ]
    )
    steps = np.arange(size) - (size - 1) / 2
    turn = _affine(scale, rng, rotate)
    local = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1) @ turn.T + centre
    grid = np.stack(
        [(2 * local[..., 1] + 1) / width - 1, (2 * local[..., 0] + 1) / height - 1], axis=-1
    )
    where = torch.from_numpy(grid[None].astype(np.float32))
    source = torch.from_numpy(normalise(pair.image))[None, None]
    if scale < 0.7:  # bilinear sampling alone would alias
        source = _blur(source, 0.4 / scale)
    image = functional.grid_sample(source, where, padding_mode="reflection", align_corners=False)
    numbers = torch.from_numpy(pair.labels.astype(np.float32))[None, None]
    labels = functional.grid_sample(
        numbers, where, mode="nearest", padding_mode="zeros", align_corners=False
    )
    valid = (where.abs().amax(dim=-1)[0] <= 1.0).float()
    return image, labels[0, 0].numpy().astype(np.int32), valid


def _light(image: Tensor, rng: np.random.Generator, how: Augment) -> Tensor:
    """Gamma, uneven light, haze, specks, noise and gain of a normalised image (1, 1, y, x)."""
    size = image.shape[-1]
    if rng.random() < 0.5:
        image = image.clamp(min=0.0) ** float(np.exp(rng.uniform(-0.35, 0.35)))
    if rng.random() < 0.25:
        image = _blur(image, float(rng.uniform(0.4, 1.3)))
    if rng.random() < 0.3:
        ramp = torch.linspace(-1, 1, size)
        tilt = rng.uniform(-0.12, 0.12) * ramp[:, None] + rng.uniform(-0.12, 0.12) * ramp[None]
        image = image * (1 + 2 * tilt) if rng.random() < 0.5 else image + tilt
    if rng.random() < 0.1:
        image = image + float(rng.uniform(0.05, 0.25)) * _blur(image, 8.0)
    if rng.random() < how.debris_share:
        yy, xx = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        for _ in range(int(rng.integers(1, 5))):
            y, x = rng.uniform(0, size, 2)
            radius, height = rng.uniform(0.6, 2.2), np.exp(rng.uniform(-1, 2.5))
            image = image + height * torch.exp(-((yy - y) ** 2 + (xx - x) ** 2) / (2 * radius**2))
    if rng.random() < 0.6:
        level = how.noise * float(rng.random()) ** 2
        shot = level * image.clamp(min=0.0).sqrt()
        spread = shot if rng.random() < 0.5 else torch.full_like(image, level)
        image = image + spread * torch.from_numpy(
            rng.standard_normal(tuple(image.shape), dtype=np.float32)
        )
    gain = np.exp(rng.uniform(-0.35, 0.35))
    if rng.random() < 0.08:  # a bright bead elsewhere in the image sets the scale
        gain *= np.exp(-rng.uniform(0.5, 2.5))
    image = image * float(gain) + float(rng.uniform(-0.04, 0.04))
    return 1.0 - image if rng.random() < how.invert_share else image


def make_crop(
    pair: Pair, size: int, rng: np.random.Generator, how: Augment, rotate: bool = True
) -> Crop:
    """One augmented training example of ``size`` x ``size`` pixels."""
    low, high = how.far if rng.random() < how.far_share else how.near
    aim = how.diameter_px / max(pair.diameter_px, 4.0)
    scale = float(np.clip(aim * np.exp(rng.uniform(np.log(low), np.log(high))), 0.15, 6.0))
    if how.draw is not None and rng.random() < how.drawn_share:
        counts, labels = how.draw(size, pair.diameter_px * scale, rng)
        valid = torch.ones(size, size)
    else:
        counts, labels, valid = _from_pair(pair, size, scale, rng, how, rotate)
    if rng.random() < how.dust_share:
        counts = counts + draw_dust(size, pair.diameter_px * scale, rng)
    image = _light(torch.from_numpy(counts)[None, None], rng, how)
    return Crop(image.contiguous(), torch.from_numpy(targets_from_labels(labels)), valid)


def _from_pair(
    pair: Pair, size: int, scale: float, rng: np.random.Generator, how: Augment, rotate: bool
) -> tuple[NDArray[np.float32], NDArray[np.int32], Tensor]:
    """Crop of a real picture, now and then with objects of another crop of it."""
    image, labels, valid = _cut(pair, size, scale, rng, rotate and rng.random() < 0.5)
    counts: NDArray[np.float32] = image[0, 0].numpy()
    if rng.random() < how.overlap_share:
        # dying and dividing cells lie, small and bright, on dim neighbours
        bright = rng.random() < 0.3
        smaller, brighter = (rng.uniform(0.45, 0.9), rng.uniform(2.0, 7.0)) if bright else (1, 1)
        other, other_labels, _ = _cut(pair, size, scale * smaller, rng, rotate)
        counts, labels = add_light(counts, labels, other[0, 0].numpy(), other_labels, rng, brighter)
    if rng.random() < how.crowd_share:
        other, other_labels, _ = _cut(pair, size, scale, rng, rotate)
        counts, labels = paste(counts, labels, other[0, 0].numpy(), other_labels, rng)
        counts = pale(counts, labels, rng)
    return counts, labels, valid
