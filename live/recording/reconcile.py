"""Does what lies on disk add up?"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from live.recording.journal_reader import JournalReader
from live.recording.runfolder import RunFolder
from live.recording.zarrstore import chunk_path, frames_on_disk


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Counts of one run, and where they differ."""

    captured: int
    """As the acquisition counted; as the journal knows where nobody said."""
    recorded: int
    """Frames whose pixels the journal says are on disk."""
    chunks: int
    """Frames whose pixels are on disk."""
    results: int
    labels: int
    """Label images on disk."""
    objects: int
    mismatches: tuple[str, ...]
    """One line for each thing that does not add up."""
    notes: tuple[str, ...] = ()
    """What was left out on purpose and counted."""

    @property
    def ok(self) -> bool:
        """Everything adds up."""
        return not self.mismatches

    def line(self) -> str:
        """One line for people."""
        if self.ok:
            return (
                f"{self.captured} frames captured = {self.chunks} on disk = {self.recorded} in the "
                f"journal; {self.results} analysed, {self.labels} label images, "
                f"{self.objects} objects"
            )
        return "; ".join(self.mismatches)


def reconcile(path: Path, captured: int | None = None) -> Reconciliation:
    """Compare frames, chunks, label images and table rows of a closed run.

    Parameters
    ----------
    path
        Folder of the run.
    captured
        Frames that the acquisition counted.

    Raises
    ------
    SettingsError, JournalError
        When there is no run, or its journal cannot be read.
    """
    folder = RunFolder.open(path)
    wrong: list[str] = []
    with JournalReader(folder.journal) as journal:
        recorded, arriving = journal.count("frames"), journal.count("arriving")
        known = recorded + arriving
        if captured is not None and captured != known:
            wrong.append(f"{captured} frames captured but {known} in the journal")
        if arriving:
            seqs = [_int(seq) for (seq,) in journal.rows("SELECT seq FROM arriving ORDER BY seq")]
            wrong.append(f"{arriving} captured frames have no pixels: seq {name_some(seqs)}")
        chunks = _check_raw(folder, journal, wrong)
        labels = _check_followers(folder, journal, "labels", wrong)
        _check_followers(folder, journal, "denoised", wrong)
        results, objects = journal.count("results"), journal.count("objects")
        _check_objects(journal, wrong)
        drops = journal.drops()
    notes = tuple(f"{count} left out: {stage}" for stage, count in sorted(drops.items()) if count)
    return Reconciliation(
        captured if captured is not None else known,
        recorded,
        chunks,
        results,
        labels,
        objects,
        tuple(wrong),
        notes,
    )


def _check_raw(folder: RunFolder, journal: JournalReader, wrong: list[str]) -> int:
    rows: dict[str, dict[int, int]] = defaultdict(dict)
    query = "SELECT store, t_index, height * width, dtype FROM frames"
    for store, t_index, pixels, dtype in journal.rows(query):
        rows[str(store)][_int(t_index)] = _int(pixels) * np.dtype(str(dtype)).itemsize
    total = 0
    names = {folder.raw(number).name for number in folder.stores()}
    for name in sorted(names | rows.keys()):
        there, expected = frames_on_disk(folder.path / name), rows.get(name, {})
        total += len(there)
        if missing := expected.keys() - there:
            wrong.append(f"{name}: {len(missing)} frames have no pixels: t {name_some(missing)}")
        if extra := there - expected.keys():
            wrong.append(
                f"{name}: {len(extra)} frames are not in the journal: t {name_some(extra)}"
            )
        short = [
            t
            for t in there & expected.keys()
            if chunk_path(folder.path / name, t).stat().st_size != expected[t]
        ]
        if short:
            wrong.append(f"{name}: {len(short)} frames are cut short: t {name_some(short)}")
        claimed = frames_claimed(folder.path / name)
        if claimed != len(there):
            wrong.append(f"{name}: the image claims {claimed} frames, {len(there)} are real")
    return total


def _check_followers(folder: RunFolder, journal: JournalReader, kind: str, wrong: list[str]) -> int:
    """Label or denoised images: those on disk are those that the journal has; returns how many."""
    query = (
        "SELECT f.store, f.t_index FROM results r JOIN (SELECT seq, store, t_index FROM frames "
        "UNION ALL SELECT seq, store, t_index FROM arriving) f ON f.seq = r.seq "
        f"WHERE r.{kind}_written = 1"
    )
    rows: dict[str, set[int]] = defaultdict(set)
    for store, t_index in journal.rows(query):
        rows[str(store)].add(_int(t_index))
    total = 0
    for number in folder.stores():
        image = folder.labels(number) if kind == "labels" else folder.denoised(number)
        there = frames_on_disk(image)
        expected = rows.get(folder.raw(number).name, set())
        total += len(there)
        if missing := expected - there:
            wrong.append(f"{len(missing)} {kind} images are missing: t {name_some(missing)}")
        if extra := there - expected:
            wrong.append(f"{len(extra)} {kind} images have no result: t {name_some(extra)}")
    return total


def _check_objects(journal: JournalReader, wrong: list[str]) -> None:
    query = (
        "SELECT r.seq FROM results r LEFT JOIN "
        "(SELECT seq, count(*) AS n FROM objects GROUP BY seq) o ON o.seq = r.seq "
        "WHERE r.n_objects != coalesce(o.n, 0)"
    )
    if seqs := [_int(seq) for (seq,) in journal.rows(query)]:
        wrong.append(f"{len(seqs)} results and their object rows differ: seq {name_some(seqs)}")


def frames_claimed(raw: Path) -> int:
    """Frames that the array of image ``raw`` claims; 0 where there is none."""
    array = raw / "0" / "zarr.json"
    if not array.is_file():
        return 0
    return int(json.loads(array.read_text(encoding="utf-8"))["shape"][0])


def name_some(numbers: Iterable[int], most: int = 5) -> str:
    """The first few of ``numbers`` for a message."""
    ordered = sorted(numbers)
    text = ", ".join(map(str, ordered[:most]))
    return f"{text}..." if len(ordered) > most else text


def _int(value: object) -> int:
    return int(str(value))
