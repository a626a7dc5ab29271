"""The journal's tables as Parquet files, for pandas, polars, R, DuckDB and whoever comes next."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np

from live.ledger import HOPS
from live.recording.errors import RecorderError
from live.recording.journal_reader import JournalReader
from live.recording.journal_schema import DECISION_COLUMNS, FRAME_COLUMNS, OBJECT_COLUMNS
from live.recording.runfolder import RunFolder

# A night gives tens of millions of objects, so rows pass through in pieces.
_ROWS_AT_ONCE: Final = 20_000
_MEMORY: Final = "256MB"
"""DuckDB would take four fifths of the machine before it went to disk."""
_DUCKDB_TYPE: Final = {"INTEGER": "BIGINT", "REAL": "DOUBLE", "TEXT": "VARCHAR"}
_NUMPY_TYPE: Final[Mapping[str, Any]] = {
    "BIGINT": np.int64,
    "DOUBLE": np.float64,
    "VARCHAR": object,
    "BOOLEAN": np.bool_,
}
_EMPTY: Final = {"BIGINT": "0", "DOUBLE": "NULL", "VARCHAR": "''", "BOOLEAN": "0"}


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    kind: str
    source: str


def _columns(
    declared: Mapping[str, str], alias: str, flags: frozenset[str] = frozenset()
) -> list[_Column]:
    return [
        _Column(
            name,
            "BOOLEAN" if name in flags else _DUCKDB_TYPE[kind.split()[0]],
            f"{alias}.{name}",
        )
        for name, kind in declared.items()
    ]


_FRAMES: Final = (
    *_columns(FRAME_COLUMNS, "f"),
    _Column("written", "BOOLEAN", "f.written"),
    _Column("analysed", "BOOLEAN", "r.analysed"),
    _Column("labels_written", "BOOLEAN", "r.labels_written"),
    _Column("n_objects", "BIGINT", "r.n_objects"),
    _Column("engine", "VARCHAR", "r.engine"),
    _Column("precision", "VARCHAR", "r.precision"),
    _Column("device", "VARCHAR", "r.device"),
    _Column("model", "VARCHAR", "r.model"),
    _Column("stage_ms_json", "VARCHAR", "r.stage_ms_json"),
    _Column("checked_seq", "BIGINT", "coalesce(r.checked_seq, -1)"),
    _Column("strangeness", "DOUBLE", "r.strangeness"),
    _Column("unlike_reason", "VARCHAR", "r.unlike_reason"),
    *(_Column(f"at_{hop}_ns", "BIGINT", f"l.{hop}_ns") for hop in HOPS),
)
_FRAMES_FROM: Final = (
    "(SELECT *, 1 AS written FROM frames UNION ALL SELECT *, 0 AS written FROM arriving) f "
    "LEFT JOIN results r ON r.seq = f.seq LEFT JOIN ledger l ON l.seq = f.seq ORDER BY f.seq"
)
_OBJECTS: Final = (
    *_columns(OBJECT_COLUMNS, "o", frozenset({"divided"})),
    _Column("class", "VARCHAR", "k.name"),
    _Column("store", "VARCHAR", "f.store"),
    _Column("t_index", "BIGINT", "coalesce(f.t_index, -1)"),
    _Column("delta_s", "DOUBLE", "f.delta_s"),
)
_OBJECTS_FROM: Final = (
    "objects o LEFT JOIN frames f ON f.seq = o.seq "
    "LEFT JOIN classes k ON k.class_id = o.class_id ORDER BY o.rowid"
)
_DECISIONS: Final = tuple(_columns(DECISION_COLUMNS, "d"))
_DECISIONS_FROM: Final = "decisions d ORDER BY d.number"


@dataclass(frozen=True, slots=True)
class Exported:
    """Rows in each Parquet file."""

    frames: int
    """One row per captured frame; column ``written`` tells whether its pixels are there."""
    objects: int
    decisions: int


def export_tables(folder: RunFolder, told: Callable[[str, int], None] | None = None) -> Exported:
    """Write ``frames.parquet``, ``objects.parquet`` and ``decisions.parquet`` beside the journal.

    A file appears complete or not at all, and replaces one of an earlier export. Numbers that are
    not known (NaN) become NULL; a station that a frame did not pass is 0 in ``at_..._ns``.
    ``told`` hears the name of a table and how many of its rows were read, again and again.

    Raises
    ------
    JournalError
        When the journal cannot be read.
    RecorderError
        When a table cannot be written.
    """

    def written(name: str, columns: tuple[_Column, ...], source: str, target: Path) -> int:
        rows = 0
        for rows in _export(journal, columns, source, target):
            if told is not None:
                told(name, rows)
        return rows

    with JournalReader(folder.journal) as journal:
        try:
            return Exported(
                frames=written("frames", _FRAMES, _FRAMES_FROM, folder.frames_table),
                objects=written("objects", _OBJECTS, _OBJECTS_FROM, folder.objects_table),
                decisions=written("decisions", _DECISIONS, _DECISIONS_FROM, folder.decisions_table),
            )
        except (duckdb.Error, OSError) as error:
            raise RecorderError(f"cannot write the tables of {folder.path}: {error}") from error


def _export(
    journal: JournalReader, columns: tuple[_Column, ...], source: str, target: Path
) -> Iterator[int]:
    """Write one table; yields how many rows were read, after every piece of them."""
    picks = (f"coalesce({c.source}, {_EMPTY[c.kind]}) AS {c.name}" for c in columns)
    rows = journal.rows(f"SELECT {', '.join(picks)} FROM {source}")
    total = 0
    with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as scratch:
        # On disk, so that memory stays flat; extensions stay off, so that nothing is downloaded.
        offline: dict[str, str | bool | int | float | list[str]] = {
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": _MEMORY,
        }
        connection = duckdb.connect(str(Path(scratch) / "table.duckdb"), config=offline)
        try:
            kinds = ", ".join(f'"{c.name}" {c.kind}' for c in columns)
            connection.execute(f"CREATE TABLE made ({kinds})")
            for piece in _pieces(rows, columns):
                connection.register("piece", piece)
                connection.execute("INSERT INTO made SELECT * FROM piece")
                connection.unregister("piece")
                total += len(piece[columns[0].name])
                yield total
            partial = Path(scratch) / target.name
            quoted = str(partial).replace("'", "''")
            connection.execute(f"COPY made TO '{quoted}' (FORMAT parquet, COMPRESSION zstd)")
        finally:
            connection.close()
        os.replace(partial, target)  # noqa: PTH105 - atomic on every system, unlike Path.rename


def _pieces(
    rows: Iterator[tuple[object, ...]], columns: tuple[_Column, ...]
) -> Iterator[dict[str, np.ndarray]]:
    while piece := list(islice(rows, _ROWS_AT_ONCE)):
        yield {
            column.name: np.array(values, dtype=_NUMPY_TYPE[column.kind])
            for column, values in zip(columns, zip(*piece, strict=True), strict=True)
        }
