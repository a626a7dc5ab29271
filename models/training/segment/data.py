"""Training images: pairs of an image and its label image, in groups that are sampled evenly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from models.errors import ImageError
from models.training.segment.targets import object_centres


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One image with its truth."""

    name: str
    group: str
    """Images of one plate, laboratory or movie; groups are sampled evenly."""
    image: NDArray[np.float32]
    """(y, x) camera counts."""
    labels: NDArray[np.int32]
    """(y, x), 0 is background."""
    diameter_px: float
    """Median equivalent diameter of the objects; 0 for an image without any."""
    split: str = "train"
    """``train``, or the name of the held-out part that it belongs to."""


def read_image(path: Path) -> NDArray[Any]:
    """The (y, x) or (t, y, x) array in a PNG or TIFF file."""
    try:
        if path.suffix.lower() in {".tif", ".tiff"}:
            return np.asarray(tifffile.imread(path))
        with Image.open(path) as image:
            return np.asarray(image)
    except (OSError, ValueError, tifffile.TiffFileError) as error:
        raise ImageError(f"cannot read {path}: {error}; need a PNG or TIFF image") from error


def make_pair(
    name: str, group: str, image: NDArray[Any], labels: NDArray[Any], split: str = "train"
) -> Pair:
    """Check an image against its labels and measure the objects."""
    if image.ndim == 3:
        image = image[..., :3].mean(axis=2)
    if image.shape != labels.shape or labels.ndim != 2:
        raise ImageError(
            f"{name}: image {image.shape} and labels {labels.shape} must both be the same (y, x)"
        )
    clean = labels.astype(np.int32)
    _, _, diameters = object_centres(clean)
    size = float(np.median(diameters)) if len(diameters) else 0.0
    return Pair(name, group, image.astype(np.float32), clean, size, split)


def pairs_from_folder(folder: Path, group: str = "") -> list[Pair]:
    """Every ``<stem>_img.png|tif`` in ``folder`` that has a ``<stem>_lab.png|tif`` beside it."""
    found = []
    for path in sorted(folder.glob("*_img.*")):
        stem = path.name[: path.name.rindex("_img.")]
        mates = sorted(folder.glob(f"{stem}_lab.*"))
        if mates:
            where = group or folder.name
            found.append(make_pair(stem, where, read_image(path), read_image(mates[0])))
    if not found:
        raise ImageError(f"{folder}: no <name>_img.png|tif with a <name>_lab.png|tif beside it")
    return found


def pairs_from_tracking(folder: Path, frames: range, split: str = "train") -> list[Pair]:
    """Frames of a Cell Tracking Challenge folder (``01``, ``01_GT/TRA``) with their truth."""
    out = []
    for path in sorted((folder / "01").glob("t*.tif")):
        number = re.sub(r"\D", "", path.stem)
        truth = folder / "01_GT" / "TRA" / f"man_track{number}.tif"
        if int(number) in frames and truth.exists():
            name = f"{folder.name}_{number}"
            out.append(make_pair(name, folder.name, read_image(path), read_image(truth), split))
    if not out:
        raise ImageError(f"{folder}: no frame with a man_track file under 01_GT/TRA")
    return out


def nuclei_group(pair: Pair) -> str:
    """Which plate of the 2018 Data Science Bowl set an image looks like.

    The set does not name its plates; image size, camera background and nucleus size tell most of
    them apart.
    """
    height, width = pair.image.shape
    background = float(np.median(pair.image[pair.labels == 0]))
    size = pair.diameter_px
    if (height, width) == (256, 256):
        if background >= 10:
            return "dsb_tiny" if size < 12 else "dsb_grey"
        return "dsb_fibres" if size < 16 else "dsb_packed"
    if (height, width) == (520, 696):
        if size > 35:
            return "dsb_large"
        return "dsb_field_dim" if background >= 10 else "dsb_field"
    return f"dsb_{height}x{width}"


HELD_OUT_GROUPS = ("dsb_512x640", "dsb_260x347", "dsb_field_dim", "dsb_large")
"""Plates of the Data Science Bowl set of which no image is trained on."""


def nuclei_pairs(root: Path, hold_out: bool = True) -> list[Pair]:
    """The nuclei of the development data, split into training and held-out parts.

    Parts: ``train``; ``plate`` (whole groups never trained on); ``image`` (every seventh image of
    the other groups); ``depth16`` (a cell line imaged at 16 bit, never trained on); ``stardist``.
    Drawn fields are trained on too where there are any, in ``drawn/nuclei``.
    """
    out: list[Pair] = []
    for index, pair in enumerate(pairs_from_folder(root / "seg" / "dsb", "dsb")):
        group = nuclei_group(pair)
        split = "plate" if group in HELD_OUT_GROUPS else "image" if index % 7 == 3 else "train"
        out.append(Pair(pair.name, group, pair.image, pair.labels, pair.diameter_px, split))
    for pair in pairs_from_folder(root / "seg", "depth16"):
        split = "depth16" if "u2os" in pair.name else "train"
        if "stardist" in pair.name:
            split = "stardist"
        out.append(Pair(pair.name, pair.name, pair.image, pair.labels, pair.diameter_px, split))
    drawn = root / "drawn" / "nuclei"
    if drawn.is_dir():
        out += pairs_from_folder(drawn, "drawn")
    if hold_out:
        return out
    return [
        Pair(p.name, p.group, p.image, p.labels, p.diameter_px)
        if p.split in ("plate", "image", "depth16")
        else p
        for p in out
    ]
