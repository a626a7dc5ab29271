"""Examples of classes, read from folders: fields with tables, or one crop a file.

Two layouts are known. *Fields*: ``<stem>_img.tif`` and ``<stem>_lab.tif`` with ``<stem>_cells.csv``
of columns ``label,class``. *Crops*: one folder a class, with images that have the object in their
middle, three of its diameters wide; ``<stem>_mask.png`` (the object is not 0) and ``<stem>.json``
(what is usual in the image it comes from) may lie beside.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ImageError, ModelError
from models.result import ImageContext
from models.settings import ThresholdSettings
from models.tasks.crops import CROP_PX, Crops, Typical, cut_crops, typical_of
from models.tasks.measure import compact, measure
from models.tasks.threshold import segment
from models.training.segment.data import read_image

MARGIN = 8
"""Samples around a crop that turning and shifting it can bring in."""
FEWEST_CROPS = 10
"""Of each class; with fewer there is nothing to hold out."""
HELD_OUT_SHARE = 0.2

_SUFFIXES = {".png", ".tif", ".tiff"}
_MASK = "_mask"


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """n crops with their classes."""

    image: NDArray[np.float16]
    """(n, y, x) as the first channel of `Crops`, ``MARGIN`` wider on each side."""
    masks: NDArray[np.uint8]
    """(n, y, x), 1 is the object, 2 are others."""
    context: NDArray[np.float32]
    """(n, 3) as in `Crops`."""
    target: NDArray[np.int64]
    """(n,) place in ``classes``."""
    held_out: NDArray[np.bool_]
    """(n,) not to be trained on."""
    classes: tuple[str, ...]

    def counts(self) -> list[tuple[str, int, int]]:
        """Class, number trained on, number held out."""
        return [
            (
                name,
                int(((self.target == k) & ~self.held_out).sum()),
                int(((self.target == k) & self.held_out).sum()),
            )
            for k, name in enumerate(self.classes)
        ]


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Crops of one file, all held out or none."""

    stem: str
    crops: Crops
    names: tuple[str, ...]


def read_examples(folder: Path, classes: Sequence[str] = ()) -> Examples:
    """All examples in a folder, a fifth of them held out by a hash of their file's name.

    Parameters
    ----------
    folder
        In either layout.
    classes
        Which to take, in the order of the network's answers; none for all, by name.

    Raises
    ------
    ModelError
        When there is no folder, fewer than two classes, or fewer than ``FEWEST_CROPS`` of one.
    ImageError
        When a file cannot be read.
    """
    if not folder.is_dir():
        raise ModelError(f"no folder {folder}; give one with a folder of crops for each class")
    tables = sorted(folder.glob("*_cells.csv"))
    groups = list(_fields(tables) if tables else _crops(folder))
    names = [name for group in groups for name in group.names]
    chosen = tuple(classes) or tuple(sorted(set(names)))
    _check_enough(folder, names, chosen)
    groups_held = _held_out(groups, chosen, by_class=not tables)
    crops = [group.crops for group in groups]
    windows = np.concatenate([one.windows.astype(np.float16) for one in crops])
    keep = np.isin(names, chosen)
    held = np.repeat(groups_held, [len(group.names) for group in groups])
    place = {name: k for k, name in enumerate(chosen)}
    masks = (windows[:, 1] + 2 * windows[:, 2]).astype(np.uint8)
    return Examples(
        windows[keep, 0],
        masks[keep],
        np.concatenate([one.context for one in crops])[keep],
        np.array([place[name] for name in names if name in place], np.int64),
        held[keep],
        chosen,
    )


def _check_enough(folder: Path, names: list[str], classes: tuple[str, ...]) -> None:
    found = {name: names.count(name) for name in classes}
    told = ", ".join(f"{name} {count}" for name, count in found.items()) or "none"
    if len(classes) < 2:
        raise ModelError(
            f"{folder}: need two classes or more, each a folder of crops; found: {told}"
        )
    few = [name for name, count in found.items() if count < FEWEST_CROPS]
    if few:
        raise ModelError(
            f"{folder}: need {FEWEST_CROPS} crops or more of each class, too few of "
            f"{', '.join(few)}; found: {told}"
        )


def _held_out(groups: list[_Group], classes: tuple[str, ...], by_class: bool) -> NDArray[np.bool_]:
    """Which groups are held out: the fifth whose names have the lowest hashes.

    Of crops a fifth of each class; of fields a fifth in all, since each shows several classes.
    """
    held = np.zeros(len(groups), bool)
    order = sorted(range(len(groups)), key=lambda i: _hash(groups[i].stem))
    for name in classes if by_class else (None,):
        those = [i for i in order if name is None or groups[i].names == (name,)]
        held[those[: max(1, round(HELD_OUT_SHARE * len(those)))]] = True
    return held


def _hash(stem: str) -> str:
    return hashlib.sha256(stem.encode()).hexdigest()


def _fields(tables: list[Path]) -> Iterator[_Group]:
    for path in tables:
        stem = path.name.removesuffix("_cells.csv")
        found = [sorted(path.parent.glob(f"{stem}_{part}.*")) for part in ("img", "lab")]
        if not all(found):
            raise ModelError(f"{path}: need {stem}_img.tif and {stem}_lab.tif beside it")
        pixels, labels = (read_image(mates[0]) for mates in found)
        yield field_group(stem, pixels, labels, read_table(path))


def read_table(path: Path) -> dict[int, str]:
    """Class of each label in a ``_cells.csv``; other columns are left alone."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if not {"label", "class"} <= set(rows.fieldnames or ()):
            raise ModelError(f"{path}: need the columns label and class, got {rows.fieldnames}")
        return {int(row["label"]): row["class"] for row in rows}


def field_group(
    stem: str, pixels: NDArray[Any], labels: NDArray[Any], names: dict[int, str]
) -> _Group:
    """Crops of the named objects of one field."""
    if labels.shape != pixels.shape:
        raise ImageError(f"{stem}: image {pixels.shape} and labels {labels.shape} differ in size")
    found = compact(labels)
    objects = measure(found, pixels, np.ones(int(found.max(initial=0)), np.float32), _NOWHERE)
    old = np.unique(labels)
    named = [names.get(int(label), "") for label in old[old > 0]]
    picked = np.flatnonzero([bool(name) for name in named])
    crops = cut_crops(pixels, found, objects[picked], typical_of(objects), margin=MARGIN)
    return _Group(stem, crops, tuple(named[i] for i in picked))


def _crops(folder: Path) -> Iterator[_Group]:
    for place in sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."):
        for path in sorted(place.iterdir()):
            if path.suffix.lower() in _SUFFIXES and not path.stem.endswith(_MASK):
                yield _Group(f"{place.name}/{path.stem}", crop_from_file(path), (place.name,))


def crop_from_file(path: Path) -> Crops:
    """The object in the middle of one image, with the mask and the facts that lie beside it.

    Without a mask the object is what a threshold finds nearest to the middle, or, where it finds
    nothing, a disc of a third of the image's side.
    """
    pixels = read_image(path)
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4):
        pixels = pixels[..., :3].mean(axis=2)
    if pixels.ndim != 2 or min(pixels.shape) < 4:
        raise ImageError(f"{path}: got an image of {pixels.shape}, need (y, x) of 4 x 4 or more")
    mates = [
        mate for mate in sorted(path.parent.glob(f"{path.stem}{_MASK}.*"))
        if mate.suffix.lower() in _SUFFIXES
    ]  # fmt: skip
    if mates:
        mask = read_image(mates[0])
        if mask.shape != pixels.shape or not mask.any():
            raise ImageError(
                f"{mates[0]}: got a mask of {mask.shape} with {np.count_nonzero(mask)} pixels of "
                f"object, need {pixels.shape} with one or more"
            )
        labels = (mask > 0).astype(np.int32)
    else:
        labels = _middle_object(pixels)
    objects = measure(labels, pixels, np.ones(1, np.float32), _NOWHERE)
    return cut_crops(pixels, labels, objects, _typical_beside(path), margin=MARGIN)


def _middle_object(pixels: NDArray[Any]) -> NDArray[np.int32]:
    low, high = float(pixels.min()), float(pixels.max())
    counts = pixels
    if pixels.dtype not in (np.uint8, np.uint16):
        counts = ((pixels - low) * (60000 / max(high - low, 1e-9))).astype(np.uint16)
    found, _ = segment(counts, ThresholdSettings(polarity="auto"))
    y, x = np.indices(pixels.shape)
    far = np.hypot(y - (pixels.shape[0] - 1) / 2, x - (pixels.shape[1] - 1) / 2)
    if not found.any():
        return (far <= min(pixels.shape) / 6).astype(np.int32)
    nearest = found.flat[int(np.argmin(np.where(found > 0, far, np.inf)))]
    return (found == nearest).astype(np.int32)


def _typical_beside(path: Path) -> Typical | None:
    facts = path.with_suffix(".json")
    if not facts.is_file():
        return None
    try:
        told = json.loads(facts.read_text(encoding="utf-8"))
        diameter, mean = (
            float(told[key]) for key in ("median_diameter_px", "median_mean_intensity")
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"{facts}: need median_diameter_px and median_mean_intensity as numbers ({error!r}); "
            "mend it, or take the file away"
        ) from error
    return Typical(diameter, mean) if diameter > 0 and np.isfinite(mean) else None


_NOWHERE = ImageContext(seq=0, time_s=0.0)
assert 2 * MARGIN < CROP_PX
