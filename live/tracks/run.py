"""Tracks of a recorded run, from its journal to files that other programs read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from live.recording.errors import JournalError, RecorderError
from live.recording.journal_reader import JournalReader
from live.recording.runfolder import RunFolder
from live.tracks.files import GEFF_NAME, write_geff, write_trackmate
from live.tracks.lineage import SPOT_DTYPE, TAKEN, Lineages, lineages_of
from live.tracks.picture import draw_lineage

LINEAGES_NAME: Final = "lineages.png"
MOST_AT_END: Final = 100_000
"""Objects of a run whose tracks are written at its end: they take a second or two."""
_ROWS_AT_ONCE: Final = 50_000


def export_tracks(
    folder: RunFolder, *, trackmate: bool = False, picture: bool = False
) -> list[Path]:
    """Write ``tracks.geff`` beside the journal, and the CSV files that TrackMate writes.

    Nothing is written for a run without tracks. Needs some 80 bytes of memory an object.

    Parameters
    ----------
    folder
        The run, which is over or was killed.
    trackmate
        Also write the CSV files.
    picture
        Also draw the family trees as ``lineages.png``.

    Returns
    -------
    list[Path]
        What was written; what an earlier export left is replaced.

    Raises
    ------
    JournalError
        When the journal cannot be read.
    RecorderError
        When a file cannot be written.
    """
    lineages = lineages_of_run(folder)
    if not (lineages.spots["track_id"] > 0).any():
        return []
    stores = folder.stores()
    labels = folder.labels(stores[0]) if len(stores) == 1 else None
    made = [folder.path / GEFF_NAME]
    try:
        write_geff(made[0], lineages, labels=labels if labels and labels.is_dir() else None)
        made += write_trackmate(folder.path, lineages) if trackmate else []
        if picture:
            made.append(folder.path / LINEAGES_NAME)
            draw_lineage(lineages, folder.path.name).save(made[-1])
    except (OSError, ValueError) as error:
        raise RecorderError(f"cannot write the tracks of {folder.path}: {error}") from error
    return made


def export_cheap(folder: RunFolder) -> tuple[str, ...]:
    """At the end of a run: tracks and picture, unless so many that it would take long.

    Returns
    -------
    tuple[str, ...]
        A sentence for people where nothing was written though something could have been.
    """
    with JournalReader(folder.journal) as journal:
        count = journal.count("objects")
    if count > MOST_AT_END:
        return (
            f"{count} objects: their tracks are not written yet; `parfocal report "
            f"{folder.path}` does it",
        )
    try:
        export_tracks(folder, picture=True)
    except (RecorderError, JournalError) as error:
        # the run is whole without them, and they can be written from it at any time
        return (f"the tracks were not written: {error}",)
    return ()


def lineages_of_run(folder: RunFolder) -> Lineages:
    """Tracks of a recorded run, from its journal; frames count from the run's first.

    Raises
    ------
    JournalError
        When the journal cannot be read.
    """
    columns = ", ".join(f"o.{name}" for name in TAKEN)
    # the place in the image where there is one image, so that frames and pixels go together
    place = "f.t_index" if len(folder.stores()) <= 1 else "f.place"
    query = (
        f"SELECT {place}, f.delta_s, {columns} FROM objects o JOIN "
        "(SELECT seq, t_index, delta_s, pixel_size_um, row_number() OVER (ORDER BY seq) - 1 "
        "AS place FROM frames) f ON f.seq = o.seq"
    )
    with JournalReader(folder.journal) as journal:
        parts = [np.zeros(0, SPOT_DTYPE), *_pieces(journal.rows(query))]
        sizes = {float(str(size)) for (size,) in journal.rows(
            "SELECT DISTINCT pixel_size_um FROM frames"
        )}  # fmt: skip
        classes = journal.classes()
    return lineages_of(np.concatenate(parts), classes, sizes.pop() if len(sizes) == 1 else 0.0)


def _pieces(rows: Iterator[tuple[object, ...]]) -> Iterator[NDArray[np.void]]:
    held: list[tuple[object, ...]] = []
    for row in rows:
        # a number that is not known is NULL in the journal
        held.append(tuple(np.nan if value is None else value for value in row))
        if len(held) == _ROWS_AT_ONCE:
            yield np.array(held, SPOT_DTYPE)
            held.clear()
    yield np.array(held, SPOT_DTYPE)
