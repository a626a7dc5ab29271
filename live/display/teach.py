"""Cutting one object out of its picture, as an example to train a classifier with. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from live.display.errors import TeachError

WINDOW_DIAMETERS = 3.0
"""Side of a crop in diameters of its object: the object and its neighbours."""
LEAST_SIDE_PX = 8
MOST_SIDE_PX = 2048
LONGEST_NAME = 60

# Folder names that Windows gives to devices, whatever stands behind a dot.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TaughtFacts:
    """What is kept beside a crop: sizes and counts that it alone does not show."""

    diameter_px: float
    """Of a disc of the object's area."""
    median_diameter_px: float
    """Of all objects of the frame."""
    mean_intensity: float
    """Camera counts inside the object."""
    median_mean_intensity: float
    """Of all objects of the frame."""
    pixel_size_um: float
    """0 where it is not known."""
    seq: int
    label: int

    def to_json(self) -> dict[str, float | int]:
        """The same as plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class TaughtCrop:
    """One object with what is round it."""

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    """(side, side) raw counts; beyond the border of the picture its edge goes on."""
    mask: NDArray[np.bool_]
    """(side, side), the object's own pixels; false beyond the border."""
    facts: TaughtFacts


def crop_of(
    pixels: NDArray[np.uint8] | NDArray[np.uint16],
    labels: NDArray[np.int32],
    objects: NDArray[np.void],
    label: int,
    *,
    seq: int,
    pixel_size_um: float,
) -> TaughtCrop:
    """Cut an object out, with the object's centroid in the middle.

    Parameters
    ----------
    pixels
        (y, x) raw picture.
    labels
        (y, x) label image of the same picture.
    objects
        (n,) of ``OBJECT_DTYPE``, all objects of the picture.
    label
        Which of them.
    seq, pixel_size_um
        Of the picture.

    Raises
    ------
    TeachError
        When there is no such object, or it is too large to be one.
    """
    rows = objects[objects["label"] == label]
    if len(rows) == 0 or pixels.shape != labels.shape:
        raise TeachError(f"no object {label} in frame {seq}; click inside an outline")
    row = rows[0]
    diameters = 2.0 * np.sqrt(objects["area_px"].astype(np.float64) / math.pi)
    diameter = 2.0 * math.sqrt(float(row["area_px"]) / math.pi)
    side = max(round(WINDOW_DIAMETERS * diameter), LEAST_SIDE_PX)
    if side > MOST_SIDE_PX:
        raise TeachError(
            f"this object is {diameter:.0f} px wide, at most {MOST_SIDE_PX / WINDOW_DIAMETERS:.0f} "
            "can be taught; choose one that is outlined well"
        )
    y, x = (round(float(row[axis]) - (side - 1) / 2) + np.arange(side) for axis in ("y_px", "x_px"))
    height, width = pixels.shape
    inside = ((y >= 0) & (y < height))[:, None] & ((x >= 0) & (x < width))[None, :]
    at = np.ix_(np.clip(y, 0, height - 1), np.clip(x, 0, width - 1))
    facts = TaughtFacts(
        diameter_px=diameter,
        median_diameter_px=float(np.median(diameters)),
        mean_intensity=float(row["mean_intensity"]),
        median_mean_intensity=float(np.median(objects["mean_intensity"].astype(np.float64))),
        pixel_size_um=float(pixel_size_um),
        seq=int(seq),
        label=int(label),
    )
    return TaughtCrop(pixels[at], (labels[at] == label) & inside, facts)


def class_name(text: str, known: Iterable[str] = ()) -> str:
    """Name of a class as it was typed, made fit for a folder on every system.

    A name that differs from one of ``known`` in capitals only is that one.

    Raises
    ------
    TeachError
        When it holds other signs than letters, digits, space, - and _, or is no folder's name.
    """
    name = " ".join(text.split())
    if not name:
        raise TeachError("the class has no name yet; type one, such as mitotic")
    if not re.fullmatch(r"[A-Za-z0-9 _-]+", name):
        bad = re.sub(r"[A-Za-z0-9 _-]", "", name)[:1]
        raise TeachError(
            f"a class cannot be called '{name[:40]}' because of '{bad}'; use letters a to z, "
            "digits, space, - and _ only"
        )
    if len(name) > LONGEST_NAME:
        raise TeachError(f"'{name[:20]}...' is too long; at most {LONGEST_NAME} letters")
    if _DEVICES.fullmatch(name):
        raise TeachError(f"'{name}' cannot be the name of a folder on Windows; choose another")
    same = (other for other in known if other.casefold() == name.casefold())
    return next(same, name)
