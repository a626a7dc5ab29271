"""What is left of a run that was killed, and putting it in order without touching a pixel."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from live.recording.errors import JournalError, RecorderError
from live.recording.export import Exported, export_tables
from live.recording.frametable import frame_table, put_into_image
from live.recording.journal import RunState
from live.recording.journal_reader import JournalReader
from live.recording.reconcile import Reconciliation, frames_claimed, name_some, reconcile
from live.recording.runfolder import RunFolder, status
from live.recording.zarrstore import NAMESPACE, chunk_path


@dataclass(frozen=True, slots=True)
class Recovery:
    """What is real of a run that was killed."""

    frames: int
    """Frames whose pixels and metadata are whole."""
    confirmed_now: int
    """Of these, frames whose pixels had come to disk in the last moment, found only now."""
    lost: tuple[int, ...]
    """``seq`` of captured frames without pixels; their place in the image reads as black."""
    claimed: dict[str, int]
    """Image -> frames that its array claims."""
    tables: Exported
    reconciliation: Reconciliation

    def line(self) -> str:
        """One line for people."""
        text = f"{self.frames} frames are whole"
        if self.lost:
            text += f"; {len(self.lost)} were captured and lost: seq {name_some(self.lost)}"
        return text


def recover(path: Path) -> Recovery:
    """Set a killed run in order: which frames are real, tables, metadata. Removes no pixels.

    Frames whose chunk is whole are confirmed, the journal's state becomes ``interrupted``, each
    raw image is told which frames are real and when they were taken, and the Parquet tables are
    written. Safe to repeat, and on a run that ended in order it only writes the tables again.

    Raises
    ------
    RecorderError
        When the run is still being written.
    """
    state = status(path, now_unix=time.time())
    folder = RunFolder.open(path)
    if state.state is RunState.RUNNING and state.writer_alive:
        raise RecorderError(f"{path} is still being recorded; stop that run first")
    confirmed = _confirm_whole(folder) if state.dead else 0
    with JournalReader(folder.journal) as journal:
        lost = [int(str(seq)) for (seq,) in journal.rows("SELECT seq FROM arriving ORDER BY seq")]
        frames = journal.count("frames")
        if state.dead:
            for number in folder.stores():
                _describe(folder.raw(number), journal)
    claimed = {folder.raw(n).name: frames_claimed(folder.raw(n)) for n in folder.stores()}
    tables = export_tables(folder)
    return Recovery(frames, confirmed, tuple(lost), claimed, tables, reconcile(path))


def _confirm_whole(folder: RunFolder) -> int:
    """Move rows whose chunk is whole from ``arriving`` to ``frames``; returns how many."""
    try:
        connection = sqlite3.connect(folder.journal, isolation_level=None, timeout=5.0)
        try:
            connection.execute("BEGIN IMMEDIATE")
            query = "SELECT seq, store, t_index, height * width, dtype FROM arriving"
            whole = [
                (seq,)
                for seq, store, t_index, pixels, dtype in connection.execute(query)
                if _is_whole(folder.path / store, t_index, pixels * np.dtype(dtype).itemsize)
            ]
            connection.executemany("INSERT INTO frames SELECT * FROM arriving WHERE seq = ?", whole)
            connection.executemany("DELETE FROM arriving WHERE seq = ?", whole)
            ended = [
                ("state", RunState.INTERRUPTED),
                ("reason", "the process was killed; recovered"),
                ("recovered_unix", str(time.time())),
            ]
            connection.executemany("INSERT OR REPLACE INTO run VALUES (?, ?)", ended)
            connection.execute("COMMIT")
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise JournalError(f"{folder.journal} cannot be put in order: {error}") from error
    return len(whole)


def _is_whole(store: Path, t_index: int, nbytes: int) -> bool:
    chunk = chunk_path(store, t_index)
    return chunk.is_file() and chunk.stat().st_size == nbytes


def _describe(raw: Path, journal: JournalReader) -> None:
    """Put into the image what its writer would have put there on closing it."""
    if not (raw / "zarr.json").is_file():
        return
    metadata = frame_table(journal, raw.name)
    real = {entry["storage_index"][0] for entry in metadata}
    missing = sorted(set(range(frames_claimed(raw))) - real)
    state = {"state": "recovered", "frames_written": len(metadata), "missing": missing}
    put_into_image(raw, metadata, {NAMESPACE: state})
