"""Cell Tracking Challenge files: a label image a frame, and a table of tracks.

``mask000.tif``... hold the track's number at each pixel; ``res_track.txt`` has a line "L B E P" for
each: number, first and last frame, number of the mother or 0. A number must be in every frame from
B to E, so a track that was lost for a while goes on under a new number whose mother is the old one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
from numpy.typing import NDArray

from drivers.errors import SettingsError

TABLE: Final = "res_track.txt"
_MOST: Final = 65_535


@dataclass(frozen=True, slots=True)
class CtcTrack:
    """One line of the table."""

    number: int
    first: int
    last: int
    parent: int
    """0 for none."""


class CtcWriter:
    """Writes masks as frames come, and the table at the end.

    Parameters
    ----------
    folder
        Where to; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._frame = 0
        self._tracks: list[CtcTrack] = []
        self._number_of: dict[int, int] = {}
        """Track id -> number that it has at present."""

    def add(self, labels: NDArray[np.int32], objects: NDArray[np.void]) -> Path:
        """Write the next frame; returns the file.

        Parameters
        ----------
        labels
            (y, x) label image.
        objects
            Its object table, with track ids.

        Raises
        ------
        SettingsError
            When there are more tracks than the format can number.
        """
        numbers = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.uint16)
        # mothers by their number before this frame: a daughter may not be numbered first
        mothers = {int(row["parent_id"]) for row in objects if row["parent_id"]}
        known = {mother: self._number_of.get(mother, 0) for mother in mothers}
        for row in objects:
            parent = known.get(int(row["parent_id"]), 0)
            numbers[row["label"]] = self._number(int(row["track_id"]), parent)
        path = self._folder / f"mask{self._frame:03d}.tif"
        tifffile.imwrite(path, numbers[labels], compression="zlib")
        self._frame += 1
        return path

    def close(self) -> None:
        """Write the table."""
        write_table(self._folder / TABLE, self._tracks)

    def _number(self, track_id: int, parent: int) -> int:
        old = self._number_of.get(track_id, 0)
        if old and self._tracks[old - 1].last == self._frame - 1:
            track = self._tracks[old - 1]
            self._tracks[old - 1] = CtcTrack(old, track.first, self._frame, track.parent)
            return old
        number = len(self._tracks) + 1
        if number > _MOST:
            raise SettingsError(
                f"more than {_MOST} tracks by frame {self._frame}; the Cell Tracking Challenge "
                "format cannot number them; analyse the movie in parts"
            )
        # a track is listed as daughter of its mother once: after a gap it follows itself
        self._tracks.append(CtcTrack(number, self._frame, self._frame, old or parent))
        self._number_of[track_id] = number
        return number


def write_table(path: Path, tracks: list[CtcTrack]) -> None:
    """Write "L B E P" lines."""
    lines = (f"{track.number} {track.first} {track.last} {track.parent}\n" for track in tracks)
    path.write_text("".join(lines), encoding="ascii")


def read_table(path: Path) -> list[CtcTrack]:
    """Read "L B E P" lines.

    Raises
    ------
    SettingsError
        Naming the line that is not four whole numbers.
    """
    tracks = []
    for at, line in enumerate(path.read_text(encoding="ascii", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            number, first, last, parent = (int(part) for part in line.split())
        except ValueError as error:
            raise SettingsError(
                f"{path}, line {at}: got {line!r}, need four whole numbers L B E P"
            ) from error
        tracks.append(CtcTrack(number, first, last, parent))
    return tracks


def table_of(folder: Path) -> Path | None:
    """The table of tracks in a folder of results or of truth, or None where there is none."""
    for name in (TABLE, "man_track.txt", "TRA/man_track.txt"):
        if (folder / name).is_file():
            return folder / name
    return None


def check(tracks: list[CtcTrack], masks: list[NDArray[Any]]) -> list[str]:
    """What is wrong with a result, in sentences; empty when the format's rules are met."""
    seen: dict[int, list[int]] = {}
    for frame, mask in enumerate(masks):
        for number in np.unique(mask[mask > 0]):
            seen.setdefault(int(number), []).append(frame)
    listed = {track.number: track for track in tracks}
    unlisted = sorted(set(seen) - set(listed))
    wrong = [f"number {number} is in the masks and not in the table" for number in unlisted]
    for number, track in sorted(listed.items()):
        if seen.get(number, []) != list(range(track.first, track.last + 1)):
            wrong.append(f"track {number} is not in every frame {track.first} to {track.last}")
        mother = listed.get(track.parent)
        if track.parent and (mother is None or mother.last >= track.first):
            wrong.append(f"track {number} starts before its mother {track.parent} ends")
    return wrong
