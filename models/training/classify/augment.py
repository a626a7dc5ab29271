"""Batches of crops for training: turned, shifted, brighter or noisier than they were, on the fly.

What a crop lacks in use is taken from some of them in training: neighbours that nobody outlined,
and the image's usual size and brightness.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as nnf

from models.tasks.crops import CROP_PX
from models.training.classify.examples import MARGIN, Examples

Batch = tuple[Tensor, Tensor, Tensor]
"""Windows (n, 3, y, x), context (n, 3), target (n,)."""

_OWN, _OTHER = 1, 2
_NO_OTHERS = 0.3
_NO_CONTEXT = 0.2
_MASK_CHANGED = 0.5


class ClassSampler:
    """Draws examples for training so that each class has the same share."""

    def __init__(self, examples: Examples, rng: np.random.Generator) -> None:
        self._examples, self._rng = examples, rng
        self._of_class = [
            np.flatnonzero((examples.target == k) & ~examples.held_out)
            for k in range(len(examples.classes))
        ]

    def draw(self, size: int) -> Batch:
        """``size`` augmented examples."""
        rng = self._rng
        kinds = rng.integers(len(self._of_class), size=size)
        picked = np.array([rng.choice(self._of_class[k]) for k in kinds])
        image, masks, context, target = _tensors(self._examples, picked)
        image, masks = _turned(image, masks, rng)
        own, other = _mask_change((masks == _OWN).float(), rng), (masks == _OTHER).float()
        other *= _column(rng.random(size) >= _NO_OTHERS)
        # a mask that grows takes from what was another's
        windows = torch.cat([_light(image, rng), own, other * (1 - own)], dim=1)
        known = context[:, 2:].clone()
        context = context + torch.from_numpy(rng.normal(0, 0.1, context.shape)).float()
        context[:, 2:] = known
        keep = torch.from_numpy(rng.random(size) >= _NO_CONTEXT).float()[:, None] * known
        return windows, context * keep, target


def plain(examples: Examples, picked: NDArray[np.intp]) -> Batch:
    """Examples as they are in use."""
    image, masks, context, target = _tensors(examples, picked)
    inner = slice(MARGIN, MARGIN + CROP_PX)
    parts = [image, (masks == _OWN).float(), (masks == _OTHER).float()]
    return torch.cat(parts, dim=1)[:, :, inner, inner].contiguous(), context, target


def _tensors(examples: Examples, picked: NDArray[np.intp]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        torch.from_numpy(examples.image[picked].astype(np.float32))[:, None],
        torch.from_numpy(examples.masks[picked].astype(np.float32))[:, None],
        torch.from_numpy(examples.context[picked]),
        torch.from_numpy(examples.target[picked]),
    )


def _turned(image: Tensor, masks: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Turn, flip, scale and shift; the middle ``CROP_PX`` square is left."""
    n, side = len(image), image.shape[-1]
    # half are turned by right angles alone, which blurs nothing
    angle = np.where(
        rng.random(n) < 0.5, rng.integers(0, 4, n) * math.pi / 2, rng.uniform(0, 2 * math.pi, n)
    )
    scale = np.where(rng.random(n) < 0.5, 1.0, np.exp(rng.uniform(-0.15, 0.15, n)))
    scale = scale * CROP_PX / side
    flip = np.where(rng.random(n) < 0.5, -1.0, 1.0)
    shift = rng.uniform(-2, 2, (n, 2)) * (2 / side) * (rng.random((n, 1)) < 0.5)
    how = np.empty((n, 2, 3))
    how[:, 0] = np.stack([np.cos(angle) * scale * flip, -np.sin(angle) * scale, shift[:, 0]], 1)
    how[:, 1] = np.stack([np.sin(angle) * scale * flip, np.cos(angle) * scale, shift[:, 1]], 1)
    where = nnf.affine_grid(
        torch.from_numpy(how).float(), [n, 1, CROP_PX, CROP_PX], align_corners=False
    )
    image = nnf.grid_sample(image, where, padding_mode="border", align_corners=False)
    masks = nnf.grid_sample(
        masks, where, mode="nearest", padding_mode="border", align_corners=False
    )
    return image, masks


def _mask_change(own: Tensor, rng: np.random.Generator) -> Tensor:
    """Grow or shrink some masks by a sample or two: no segmentation draws the true outline."""
    draw, far = rng.random(len(own)), rng.random(len(own)) < 0.3
    for repeat in (np.ones(len(own), bool), far):
        grown = nnf.max_pool2d(own, 3, 1, 1)
        shrunk = -nnf.max_pool2d(-own, 3, 1, 1)
        own = torch.where(_column((draw < _MASK_CHANGED / 2) & repeat) > 0, grown, own)
        smaller = _column((draw > 1 - _MASK_CHANGED / 2) & repeat) > 0
        left = shrunk.sum(dim=(1, 2, 3), keepdim=True) > 0
        own = torch.where(smaller & left, shrunk, own)
    return own


def _light(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Gain and offset as another outline would give them, blur, and noise."""
    n = len(image)
    gain = np.where(rng.random(n) < 0.7, np.exp(rng.uniform(-0.25, 0.25, n)), 1.0)
    offset = np.where(rng.random(n) < 0.5, rng.uniform(-0.12, 0.12, n), 0.0)
    image = image * _column(gain) + _column(offset)
    softer = nnf.avg_pool2d(image, 3, 1, 1, count_include_pad=False)
    image = torch.lerp(image, softer, _column((rng.random(n) < 0.2) * rng.uniform(0.3, 1, n)))
    noise = (rng.random(n) < 0.4) * 0.2 * rng.random(n) ** 2
    deviates = rng.standard_normal(tuple(image.shape), dtype=np.float32)
    return image + torch.from_numpy(deviates) * _column(noise)


def _column(values: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))[:, None, None, None]
