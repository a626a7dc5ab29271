"""Reading a journal, of a run that goes on, is over, or was killed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from live.recording.errors import JournalError
from live.recording.journal_schema import SCHEMA_VERSION, TABLES


class JournalReader:
    """A read-only view of a journal. Hold it in a ``with`` block, in one thread.

    Reading does not disturb a writer, and sees all that was committed.

    Raises
    ------
    JournalError
        On entering, when there is no journal, it is not one, or of another version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        if not self._path.is_file():
            raise JournalError(f"{self._path} is missing; give the folder of a recorded run")
        try:
            uri = f"{self._path.resolve().as_uri()}?mode=ro"
            self._connection = sqlite3.connect(uri, uri=True, timeout=5.0)
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error as error:
            self.close()
            raise JournalError(f"{self._path} cannot be read as a journal: {error}") from error
        if version != SCHEMA_VERSION:
            self.close()
            raise JournalError(
                f"{self._path} is of version {version}, this program reads {SCHEMA_VERSION}; "
                "open it with the version of parfocal that wrote it"
            )
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. Safe to call twice."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def run(self) -> dict[str, str]:
        """Facts about the run: ``state``, ``pid``, ``started_unix``, ``heartbeat_unix``..."""
        return {str(key): str(value) for key, value in self.rows("SELECT key, value FROM run")}

    def count(self, table: str, where: str = "1") -> int:
        """Rows of ``table`` that meet the SQL condition ``where``."""
        if table not in TABLES:
            raise JournalError(f"no table {table!r} in a journal; there are {', '.join(TABLES)}")
        ((number,),) = self.rows(f"SELECT count(*) FROM {table} WHERE {where}")
        return int(str(number))

    def classes(self) -> tuple[str, ...]:
        """Names that ``class_id`` of the objects counts into; empty where none was classified."""
        return tuple(
            str(name) for (name,) in self.rows("SELECT name FROM classes ORDER BY class_id")
        )

    def drops(self) -> dict[str, int]:
        """Stage -> number of drops."""
        return {str(s): int(str(n)) for s, n in self.rows("SELECT stage, count FROM drops")}

    def rows(self, query: str, parameters: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
        """Rows of a query, read as they are asked for."""
        if self._connection is None:
            raise JournalError(f"{self._path} is not open; call it inside its with block")
        try:
            yield from self._connection.execute(query, parameters)
        except sqlite3.Error as error:
            raise JournalError(f"{self._path} cannot be read: {error}") from error
