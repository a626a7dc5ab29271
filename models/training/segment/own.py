"""Labelled images of the user's own, to train a network on.

A label image lies beside its image or in a folder of its own, as the usual programs leave it:
``NAME_img.tif`` and ``NAME_lab.tif``; ``NAME.tif`` and ``NAME_labels``, ``NAME_masks`` or
``NAME_cp_masks``; or ``images/NAME.tif`` and ``labels/NAME.tif`` or ``masks/NAME.tif``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from models.errors import ImageError
from models.training.segment.data import Pair, make_pair, read_image

HELD_OUT = "held_out"
"""Part that is not trained on."""
HELD_OUT_SHARE = 0.2
FEWEST = 2
"""Images; with one there is nothing left to judge by."""

_SUFFIXES = (".png", ".tif", ".tiff")
_TRUTHS = ("_lab", "_labels", "_masks", "_cp_masks")
_TRUTH_FOLDERS = ("labels", "masks")


def has_own(folder: Path) -> bool:
    """Whether there are labelled images in one of the usual layouts."""
    return bool(_files(folder))


def own_pairs(folder: Path) -> list[Pair]:
    """Every labelled image, a fifth of them held out by a hash of their names.

    Raises
    ------
    ImageError
        When there are fewer than ``FEWEST``, none shows an object, a label image holds no whole
        numbers, or an image and its labels differ in size.
    """
    files = _files(folder)
    if len(files) < FEWEST:
        raise ImageError(
            f"{folder}: found {len(files)} labelled images, need {FEWEST} or more, of which a "
            "fifth is held out. Name them NAME_img.tif and NAME_lab.tif, or put them into images/ "
            "and labels/ under the same names"
        )
    held = sorted(files, key=_hash)[: max(1, round(HELD_OUT_SHARE * len(files)))]
    pairs = []
    for name, (image, truth) in files.items():
        labels = read_image(truth)
        if labels.ndim == 3 or not np.issubdtype(labels.dtype, np.integer):
            raise ImageError(
                f"{truth}: got {labels.dtype} {labels.shape}, need whole numbers (y, x), 0 for "
                "background and one for each object"
            )
        split = HELD_OUT if name in held else "train"
        pairs.append(make_pair(name, folder.name, read_image(image), labels, split))
    if not any(pair.labels.any() for pair in pairs if pair.split == "train"):
        raise ImageError(f"{folder}: the label images to train on are all background")
    return pairs


def _files(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Name -> image and label image."""
    found: dict[str, tuple[Path, Path]] = {}
    apart = folder / "images"
    for path in _pictures(apart if apart.is_dir() else folder):
        name = path.stem.removesuffix("_img")
        if path.stem.endswith(_TRUTHS):
            continue
        truth = _truth(folder, path, name)
        if truth is not None:
            found[name] = path, truth
    return found


def _truth(folder: Path, image: Path, name: str) -> Path | None:
    names = {name, *(name + ending for ending in _TRUTHS)}
    for place in (image.parent, *(folder / sub for sub in _TRUTH_FOLDERS)):
        for path in _pictures(place):
            if path != image and path.stem in names and not path.stem.endswith("_img"):
                return path
    return None


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
