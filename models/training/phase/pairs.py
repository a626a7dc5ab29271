"""Pictures of adherent cells: drawn ones to train on, real ones to judge by."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from models.training.phase.fields import draw_counts
from models.training.segment.data import Pair, make_pair, read_image

NATIVE_PX = (9.0, 40.0)
"""Diameters at which fields are drawn, before they are brought to the network's scale."""

FIELDS = 560
"""Fields that are trained on, seeds 0 and up."""

HELD_OUT_SEED = 1_000_000
SEEN = 2
"""Real frames that were looked at while the drawing was designed."""

FIELD_DIAMETERS = 14.0
FIELD_PX = (144, 256)
"""A field is so many diameters wide, within these limits."""


def drawn_pairs(count: int, first_seed: int, split: str = "train") -> list[Pair]:
    """Fields of one seed each, from ``first_seed`` on, at many sizes of cells."""
    pairs = []
    for seed in range(first_seed, first_seed + count):
        rng = np.random.default_rng([31, seed])
        diameter = float(np.exp(rng.uniform(*np.log(NATIVE_PX))))
        size = int(np.clip(FIELD_DIAMETERS * diameter, *FIELD_PX))
        counts, labels = draw_counts(size, diameter, rng)
        pairs.append(make_pair(f"drawn_{seed}", "drawn", counts, labels, split))
    return pairs


@lru_cache(maxsize=1)
def _training_fields() -> tuple[Pair, ...]:
    return (*drawn_pairs(FIELDS, 0), *drawn_pairs(24, HELD_OUT_SEED, "drawn"))


def cells_pairs(root: Path) -> list[Pair]:
    """Drawn fields to train on, and every labelled frame of real cells, held out.

    Drawing takes minutes and is done once a process. Parts: ``train``; ``drawn`` (other seeds);
    `c2c12_pairs`.
    """
    return [*_training_fields(), *c2c12_pairs(root)]


def c2c12_pairs(root: Path) -> list[Pair]:
    """C2C12 myoblasts in phase contrast, never trained on.

    Parts: ``c2c12_seen``, the first two frames, which the drawing was designed after; ``c2c12``,
    the others.
    """
    folder = root / "seg" / "c2c12_phase"
    images = read_image(folder / "images_10frames.tif")
    labels = read_image(folder / "labels_10frames.tif")
    return [
        make_pair(f"c2c12_{t}", "c2c12", image, truth, "c2c12_seen" if t < SEEN else "c2c12")
        for t, (image, truth) in enumerate(zip(images, labels, strict=True))
    ]
