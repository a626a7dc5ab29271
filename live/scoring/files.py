"""Which result belongs to which truth, and their label images, read one pair at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from drivers import SettingsError, Source, list_frames

LABEL_DTYPES: Final = ("uint8", "uint16", "uint32", "int32", "int64")
_READABLE: Final = (*LABEL_DTYPES, "bool", "int8", "int16", "uint64", "float32", "float64")
_ENDING: Final = re.compile(r"(_(labels?|lab|img|images?|cp_masks|masks?|gt)|\.ome)$")
_LABEL_ENDING: Final = re.compile(r"_(labels?|lab|masks?|gt)$")
_IMAGES: Final = {".tif", ".tiff", ".png"}
_NAMED: Final = 5
"""Names listed in a sentence before the rest becomes a number."""
_RESTLESS: Final = 0.2
"""Share of neighbours that differ, above which there are no objects: of 222 images of nuclei the
labels reach 0.03 and the images themselves start at 0.28."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A result and its truth; each one file or OME-Zarr, of one frame or several."""

    stem: str
    pred: Path
    truth: Path


@dataclass(frozen=True, slots=True)
class Pairs:
    """What can be compared, and what was passed over."""

    pairs: tuple[Pair, ...]
    without_truth: tuple[str, ...] = ()
    """Names of result files that no truth belongs to."""


@dataclass(frozen=True, slots=True)
class Case:
    """One image of a pair."""

    name: str
    pair: Pair
    index: int


def find_pairs(pred: Path, truth: Path) -> Pairs:
    """Match results with truths, by stem where both are folders; reads no pixels.

    Raises
    ------
    SettingsError
        When a truth has no result, or two files are of one image.
    """
    if _is_one(pred) != _is_one(truth):
        one, other = (pred, truth) if _is_one(pred) else (truth, pred)
        raise SettingsError(
            f"{one} is one file and {other} is a folder of files; give two files or two folders"
        )
    if _is_one(pred):
        return Pairs((Pair(stem_of(truth), pred, truth),))
    found, true = by_stem(pred, "_labels"), by_stem(truth)
    missing = sorted(set(true) - set(found))
    if missing or not true:
        what = f"no result for {listed(true[stem].name for stem in missing)}"
        raise SettingsError(
            f"{pred} and {truth}: {what if missing else 'no label images of the truth'}; files "
            "are matched by their names without endings such as _labels, _lab, _masks or _gt, "
            "so that STEM_labels.tif belongs to STEM_lab.png"
        )
    extra = tuple(found[stem].name for stem in sorted(set(found) - set(true)))
    return Pairs(tuple(Pair(stem, found[stem], true[stem]) for stem in sorted(true)), extra)


def by_stem(folder: Path, ending: str = "") -> dict[str, Path]:
    """Label images of a folder by the part of their name that the image has too.

    Where some files are marked as labels by their name, others are passed over; of results those
    marked with ``ending`` come first.
    """
    files = _files(folder)
    marked = [
        file for file in files if _LABEL_ENDING.search(_bare(file)) and _bare(file).endswith(ending)
    ]
    return _named(folder, marked or files)


def images_by_stem(folder: Path) -> dict[str, Path]:
    """Images of a folder, not its label images, by the part of their name that both have."""
    files = [file for file in _files(folder) if not _LABEL_ENDING.search(_bare(file))]
    marked = [file for file in files if re.search(r"_(img|images?)$", _bare(file))]
    return _named(folder, marked or files)


def stem_of(path: Path) -> str:
    """Name without the endings that tell images from label images."""
    stem = _bare(path)
    while (shorter := _ENDING.sub("", stem)) != stem:
        stem = shorter
    return stem


def listed(names: Iterator[str] | list[str] | tuple[str, ...]) -> str:
    """The first few names, and how many more."""
    every = list(names)
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return ", ".join(every[:_NAMED]) + more


def open_labels(path: Path) -> Source:
    """Label images at ``path``."""
    return list_frames(path, dtypes=_READABLE)


def label_pairs(pair: Pair) -> Iterator[tuple[Case, NDArray[Any], NDArray[Any]]]:
    """(case, predicted, true) label images (y, x) of every frame of a pair.

    Raises
    ------
    SettingsError
        When they differ in number or size, or are no label images.
    """
    with open_labels(pair.pred) as found, open_labels(pair.truth) as true:
        if len(found) != len(true):
            raise SettingsError(
                f"{pair.pred} has {len(found)} images, {pair.truth} has {len(true)}; need one "
                "result for each true image"
            )
        for index in range(len(true)):
            name = pair.stem if len(true) == 1 else f"{pair.stem}_{index:04d}"
            one, other = _labels(found, index), _labels(true, index)
            if one.shape != other.shape:
                raise SettingsError(
                    f"{pair.pred} is {_size(one)} and {pair.truth} is {_size(other)}; need one "
                    "size: compare label images of the same image, neither cropped nor scaled"
                )
            yield Case(name, pair, index), one, other


def read_case(case: Case) -> tuple[NDArray[Any], NDArray[Any]]:
    """(predicted, true) label images of one case, read again."""
    with open_labels(case.pair.pred) as found, open_labels(case.pair.truth) as true:
        return _labels(found, case.index), _labels(true, case.index)


def _labels(source: Source, index: int) -> NDArray[Any]:
    """Frame ``index`` as whole numbers, refused where it cannot be a label image."""
    part, inside = source.part_of(index)
    where = f"{part.path}" if part.count == 1 else f"{part.path}, frame {inside}"
    try:
        labels = source.read(index)
    except SettingsError as error:
        if not _is_colour(part.path):
            raise
        raise SettingsError(
            f"{where} is a colour picture; need a label image, in which each object has one whole "
            "number: export the labels themselves, not a view of them"
        ) from error
    if labels.dtype.kind == "f":
        labels = _whole(labels, where)
    if labels.dtype.kind == "i" and int(labels.min(initial=0)) < 0:
        raise SettingsError(
            f"{where} holds negative numbers such as {int(labels.min())}; need 0 for background "
            "and a number from 1 for each object"
        )
    if (restless := _restless(labels)) > _RESTLESS:
        raise SettingsError(
            f"{where} does not look like a label image: {restless:.0%} of neighbouring pixels "
            "differ, as in a camera image; give the file with one number for each object"
        )
    return labels


def _whole(values: NDArray[Any], where: str) -> NDArray[np.int64]:
    whole = np.nan_to_num(values, nan=0.5)
    odd = values[whole != np.rint(whole)]
    if odd.size or abs(whole).max(initial=0) >= 2**53:
        example = f"{odd[0]:.4g}" if odd.size else f"{abs(whole).max():.4g}"
        raise SettingsError(
            f"{where} is {values.dtype} with values such as {example}; need a label image of whole "
            "numbers: cut a map of probabilities at a threshold and number its objects first"
        )
    return np.asarray(whole, np.int64)


def _restless(labels: NDArray[Any]) -> float:
    """Share of horizontal neighbours inside objects that differ; 0 in images of few pixels."""
    left, right = labels[:, :-1], labels[:, 1:]
    inside = (left != 0) & (right != 0)
    pairs = int(np.count_nonzero(inside))
    return int(np.count_nonzero(inside & (left != right))) / pairs if pairs >= 1000 else 0.0


def _is_colour(path: Path) -> bool:
    if path.suffix.lower() == ".png":
        with Image.open(path) as image:
            return image.mode in ("RGB", "RGBA", "LA")
    if path.suffix.lower() in (".tif", ".tiff"):
        with tifffile.TiffFile(path) as tiff:
            return str(tiff.series[0].axes).endswith("S")
    return False


def _is_one(path: Path) -> bool:
    return path.is_file() or (path / "zarr.json").is_file()


def _bare(path: Path) -> str:
    return re.sub(r"(\.ome)?\.(tiff?|png|zarr)$", "", path.name, flags=re.IGNORECASE)


def _files(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in _IMAGES and not file.name.startswith(".") and file.is_file()
    )


def _named(folder: Path, files: list[Path]) -> dict[str, Path]:
    out: dict[str, Path] = {}
    for file in files:
        stem = stem_of(file)
        if stem in out:
            raise SettingsError(
                f"{folder}: {out[stem].name} and {file.name} are of one image; keep one of them"
            )
        out[stem] = file
    return out


def _size(labels: NDArray[Any]) -> str:
    return f"{labels.shape[1]} x {labels.shape[0]}"
