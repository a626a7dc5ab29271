"""Frames to train a denoiser on: of a run, also while it is recorded, or of pictures in files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from drivers import SettingsError, list_frames
from live.recording.errors import JournalError
from live.recording.journal_reader import JournalReader
from live.recording.runfolder import RunFolder

MOST_FRAMES: Final = 64
"""More of one place teach little that is new."""
MOST_BYTES: Final = 256 * 2**20
FEWEST_SIDE_PX: Final = 96
_STAY_UM: Final = 0.05
"""A stage that moved less than this between frames stayed."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingFrames:
    """Frames of one place in order, (t, y, x) uint8 or uint16, and where they come from."""

    pixels: NDArray[Any]
    source: str


@dataclass(frozen=True, slots=True)
class _Row:
    store: str
    t_index: int
    channel: str
    exposure_ms: float
    place_um: tuple[float, float, float]
    shape: tuple[int, int, str]

    def same_place(self, other: _Row) -> bool:
        """Whether both show one place with one setting."""
        if (self.store, self.channel, self.exposure_ms, self.shape) != (
            other.store, other.channel, other.exposure_ms, other.shape,
        ):  # fmt: skip
            return False
        pairs = zip(self.place_um, other.place_um, strict=True)
        return all(abs(a - b) <= _STAY_UM or math.isnan(a - b) for a, b in pairs)


def training_frames(path: Path, *, channel: str = "") -> TrainingFrames:
    """Frames at ``path`` that a denoiser can be trained on.

    Parameters
    ----------
    path
        Folder of a run, finished or being recorded; a TIFF or a stack; an OME-Zarr; a folder of
        pictures.
    channel
        Of a run, the preset whose frames are taken; empty for any.

    Raises
    ------
    SettingsError
        In one sentence, when there is nothing to train on.
    """
    if not path.exists():
        raise SettingsError(f"{path} does not exist")
    folder = RunFolder(path.resolve())
    found = _of_run(folder, channel) if folder.journal.is_file() else _of_files(path)
    height, width = found.pixels.shape[1:]
    if min(height, width) < FEWEST_SIDE_PX:
        raise SettingsError(
            f"{path} has frames of {width} x {height}, need {FEWEST_SIDE_PX} px each way at least"
        )
    return found


def _of_files(path: Path) -> TrainingFrames:
    with list_frames(path) as source:
        shapes = [source.part_of(index)[0] for index in range(len(source))]
        kinds = [(part.shape, part.dtype) for part in shapes]
        # pictures of one size and depth form a stack; of several kinds, the one with most pictures
        usual = max(set(kinds), key=lambda kind: (kinds.count(kind), kind))
        every = [index for index, kind in enumerate(kinds) if kind == usual]
        chosen = _spread(every, _room(usual[0], usual[1]))
        frames = np.stack([source.read(index) for index in chosen])
    return TrainingFrames(frames, f"{len(frames)} of {len(kinds)} frames of {path}")


def _of_run(folder: RunFolder, channel: str) -> TrainingFrames:
    try:
        with JournalReader(folder.journal) as journal:
            rows = list(_rows(journal, channel))
    except JournalError as error:
        raise SettingsError(f"{folder.path}: {error}") from error
    if not rows:
        which = f" of channel {channel}" if channel else ""
        raise SettingsError(f"{folder.path} has no frames{which} on disk yet; image some first")
    best = max(
        _stretches(rows), key=lambda stretch: (min(len(stretch), MOST_FRAMES), stretch[-1][0])
    )
    height, width, dtype = best[0][1].shape
    kept = best[-_room((height, width), dtype) :]
    with list_frames(folder.path / kept[0][1].store) as source:
        # the array may claim fewer frames than are confirmed, for the moment in which it grows
        inside = [row.t_index for _, row in kept if row.t_index < len(source)]
        if not inside:
            raise SettingsError(f"{folder.path} is only beginning to record; try again in a second")
        frames = np.stack([source.read(index) for index in inside])
    return TrainingFrames(frames, f"{len(frames)} of {len(rows)} frames of {folder.path}")


def _rows(journal: JournalReader, channel: str) -> Iterator[_Row]:
    query = (
        "SELECT store, t_index, channel, exposure_ms, x_um, y_um, z_um, height, width, dtype "
        "FROM frames ORDER BY seq"
    )
    for row in journal.rows(query):
        place = tuple(math.nan if um is None else float(str(um)) for um in row[4:7])
        if channel and row[2] != channel:
            continue
        yield _Row(
            str(row[0]), int(str(row[1])), str(row[2]), float(str(row[3])),
            (place[0], place[1], place[2]), (int(str(row[7])), int(str(row[8])), str(row[9])),
        )  # fmt: skip


def _stretches(rows: Sequence[_Row]) -> list[list[tuple[int, _Row]]]:
    """Frames of one place that follow each other, with their number."""
    out: list[list[tuple[int, _Row]]] = []
    for number, row in enumerate(rows):
        if out and out[-1][-1][1].same_place(row):
            out[-1].append((number, row))
        else:
            out.append([(number, row)])
    return out


def _room(shape: tuple[int, int], dtype: str) -> int:
    """Frames that fit in the memory set aside."""
    each = shape[0] * shape[1] * np.dtype(dtype).itemsize
    return max(1, min(MOST_FRAMES, MOST_BYTES // each))


def _spread(numbers: Sequence[int], most: int) -> list[int]:
    """At most so many that follow each other, from the middle: neighbours teach what moves."""
    start = max(0, (len(numbers) - most) // 2)
    return list(numbers[start : start + most])
