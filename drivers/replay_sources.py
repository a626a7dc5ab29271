"""Recorded frames, read one at a time: TIFF stacks, folders of images, OME-Zarr, folders of a run.

`list_frames` finds out what lies at a path without reading pixels.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from drivers.errors import SettingsError

CAMERA_DTYPES = ("uint8", "uint16")
_SUFFIXES = {".tif", ".tiff", ".png"}


@dataclass(frozen=True, slots=True)
class Part:
    """One file or array of a recording."""

    path: Path
    count: int
    """Frames in it."""
    shape: tuple[int, int]
    """(height, width), pixels."""
    dtype: str
    read: Callable[[int], NDArray[Any]]
    """Frame number inside this part -> (y, x) pixels, a new array or a read-only view."""
    close: Callable[[], None] = lambda: None
    """Lets go of what `read` holds open; reading again opens it again."""
    pixel_size_um: float = 0.0
    """0: unknown."""
    interval_ms: float = 0.0
    """Between frames; 0: unknown."""


@dataclass(slots=True)
class Source:
    """Frames of a recording, in order. Close it, or hold it in a ``with`` block.

    Frames may differ in size from part to part; whoever needs equal ones asks `same_format`.
    """

    path: Path
    parts: tuple[Part, ...]
    _ends: list[int] = field(init=False)
    _open: Part | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._ends = list(accumulate(part.count for part in self.parts))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @property
    def pixel_size_um(self) -> float:
        """Of the first part; 0 when the files do not say."""
        return self.parts[0].pixel_size_um

    @property
    def interval_ms(self) -> float:
        """Between frames, of the first part; 0 when the files do not say."""
        return self.parts[0].interval_ms

    def part_of(self, index: int) -> tuple[Part, int]:
        """The part that holds frame ``index``, and its number in there."""
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        at = bisect_right(self._ends, index)
        return self.parts[at], index - (self._ends[at - 1] if at else 0)

    def name(self, index: int) -> str:
        """Name for results of frame ``index``: the file's stem, numbered in a file of several."""
        part, inside = self.part_of(index)
        stem = re.sub(r"\.(ome|zarr)$", "", part.path.stem)
        return stem if part.count == 1 else f"{stem}_{inside:04d}"

    def read(self, index: int) -> NDArray[Any]:
        """(y, x) pixels of frame ``index``, C-contiguous.

        Raises
        ------
        SettingsError
            When the file cannot be read after all.
        """
        part, inside = self.part_of(index)
        if self._open is not None and self._open is not part:
            self._open.close()  # one file at a time: a folder may hold more than a process may open
        self._open = part
        try:
            return np.ascontiguousarray(part.read(inside))
        except SettingsError:
            raise
        except Exception as error:
            raise SettingsError(f"{part.path}: frame {inside} is unreadable: {error}") from error

    def same_format(self) -> None:
        """Raise ``SettingsError``, naming the file, unless all frames have one size and dtype."""
        first = self.parts[0]
        for part in self.parts:
            if (part.shape, part.dtype) != (first.shape, first.dtype):
                raise SettingsError(
                    f"{part.path} is {_kind(part)}, but {first.path.name} is {_kind(first)}; "
                    "put images of one size and depth in a folder of their own"
                )

    def close(self) -> None:
        """Close the file that is open. Safe to call twice."""
        if self._open is not None:
            self._open.close()
            self._open = None


def list_frames(
    path: str | Path, *, channel: int = 0, dtypes: Sequence[str] = CAMERA_DTYPES
) -> Source:
    """Find the frames at ``path``, without reading their pixels.

    Parameters
    ----------
    path
        A TIFF (single or stack; time before z), a PNG, a folder of either in natural order of
        their names (a Cell Tracking Challenge sequence is one), an OME-Zarr 0.5 with axes
        (t, y, x) or a superset, or the folder of a run with its ``raw-*.ome.zarr``. Of a folder
        that has ``*_img.*`` files only these are taken.
    channel
        Which one, of files that have several.
    dtypes
        What is accepted; label images need ``int32`` too.

    Raises
    ------
    SettingsError
        One sentence that names the file at fault.
    """
    place = Path(path)
    if not place.exists():
        raise SettingsError(f"{place} does not exist")
    if place.is_file():
        parts = [_file_part(place, channel)]
    elif arrays := _zarr_folders(place):
        from drivers.replay_zarr import zarr_part

        parts = [zarr_part(array, channel) for array in arrays]
    else:
        parts = [_file_part(file, channel) for file in _image_files(place)]
    for part in parts:
        _check(part, dtypes)
    return Source(place, tuple(parts))


def _check(part: Part, dtypes: Sequence[str]) -> None:
    if part.count == 0 or 0 in part.shape:
        raise SettingsError(f"{part.path} holds no frames")
    if part.dtype not in dtypes:
        raise SettingsError(
            f"{part.path} is {part.dtype}, need {' or '.join(dtypes)}; {_cure(part.dtype)}"
        )


def _cure(dtype: str) -> str:
    if dtype.startswith("float"):
        return (
            "scale it to camera counts first, e.g. "
            "tifffile.imwrite(new, (image * (65535 / image.max())).astype('uint16'))"
        )
    return f"convert it first; values of {dtype} may not fit"


def _file_part(path: Path, channel: int) -> Part:
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise SettingsError(f"{path} is no TIFF or PNG; it ends in {suffix or 'nothing'}")
    from drivers.replay_files import png_part, tiff_part

    return png_part(path) if suffix == ".png" else tiff_part(path, channel)


def _image_files(folder: Path) -> list[Path]:
    files = [
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() in _SUFFIXES and not entry.name.startswith(".") and entry.is_file()
    ]
    images = [file for file in files if file.stem.endswith("_img")]
    chosen = sorted(images or files, key=lambda file: natural(file.name))
    if not chosen:
        inside = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())[:10]
        more = f"; did you mean one of its folders {', '.join(inside)}?" if inside else ""
        raise SettingsError(f"{folder} has no TIFF, PNG or OME-Zarr 0.5{more}")
    return chosen


def _zarr_folders(folder: Path) -> list[Path]:
    """Arrays' groups at ``folder``: itself an OME-Zarr, or the folder of a run with several."""
    if (folder / "zarr.json").is_file():
        return [folder]
    if (folder / ".zattrs").is_file() or (folder / ".zgroup").is_file():
        raise SettingsError(f"{folder} is zarr version 2, need OME-Zarr 0.5 (zarr version 3)")
    found = [entry for entry in folder.glob("raw-*.ome.zarr") if (entry / "zarr.json").is_file()]
    return sorted(found, key=lambda entry: natural(entry.name))


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts ``t2`` before ``t10``."""
    pieces = re.split(r"(\d+)", name.casefold())
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]


def _kind(part: Part) -> str:
    return f"{part.shape[1]} x {part.shape[0]} {part.dtype}"
