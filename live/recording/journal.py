"""The journal of a run: one SQLite file that tells what really happened, at every instant.

One thread owns the connection; everybody else hands rows in through one bounded queue. Rows are
committed together, some tens of milliseconds after they came. The file is in WAL mode with
``synchronous=NORMAL``: a commit survives the death of the process, ``kill -9`` included.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import psutil

from live.ledger import HOPS
from live.recording.errors import JournalError
from live.recording.journal_schema import (
    DecisionRow,
    create_statements,
    insert_statement,
    object_rows,
    repair_rows,
    result_row,
)
from models.result import EngineInfo, Repair, Verdict

_Row = tuple[object, ...]
_Op = tuple[str, Sequence[_Row]]

# One commit costs about 0.1 ms; at 500 frames/s one each would take 5 % of a core.
_GATHER_S = 0.02
_HEARTBEAT_S = 0.5
_BATCH = 5000
_CACHE_KIB = 256
"""Of the file in memory: rows go to its end. By default 2 MB, which grow with every frame until
they are full."""
_LOCKED_S = 30.0

_LEDGER_UPSERT = (
    f"INSERT INTO ledger VALUES ({', '.join('?' * (len(HOPS) + 1))}) "
    "ON CONFLICT (seq) DO UPDATE SET "
    + ", ".join(f"{hop}_ns = max({hop}_ns, excluded.{hop}_ns)" for hop in HOPS)
)


class RunState(StrEnum):
    """What became of a run, as its journal says."""

    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


class Journal:
    """Writes a new journal. Hold it in a ``with`` block; any thread may call its methods.

    A method returns once the row is queued. It waits while the queue is full, and raises
    ``JournalError`` when the queue stays full for ``timeout_s`` or the file can no longer be
    written. Leaving the block commits what is queued and sets the state of the run: as given to
    `finish`, else ``interrupted`` after Ctrl-C, ``failed`` after another error, else ``finished``.

    Parameters
    ----------
    path
        File to create; one that exists is refused.
    max_queued
        Calls waiting to be committed at most.
    timeout_s
        Longest wait for room, for the file to open and for the last commit.
    """

    def __init__(self, path: Path, *, max_queued: int = 20_000, timeout_s: float = 10.0) -> None:
        self._path, self._max_queued, self._timeout_s = path, max_queued, timeout_s
        self._changed = threading.Condition()
        self._ops: deque[list[_Op]] = deque()
        self._submitted = 0
        self._committed = 0
        self._hurry = False
        self._closing = False
        self._error: JournalError | None = None
        self._end = (RunState.FINISHED, "")
        self._end_given = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._path.exists():
            raise JournalError(f"{self._path} exists; a journal belongs to one run, start another")
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()
        self.set_run(
            state=RunState.RUNNING,
            pid=os.getpid(),
            pid_created=psutil.Process().create_time(),
            host=platform.node(),
            started_unix=time.time(),
            clock_monotonic_ns=time.monotonic_ns(),
            clock_unix_ns=time.time_ns(),
        )
        self.flush()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if not self._end_given and error is not None:
            stopped = isinstance(error, KeyboardInterrupt)
            state = RunState.INTERRUPTED if stopped else RunState.FAILED
            self._end = (state, f"{type(error).__name__}: {error}")
        self._close(raises=kind is None)

    def finish(self, state: RunState, reason: str = "") -> None:
        """Say how the run ended; written when the block is left."""
        self._end, self._end_given = (state, reason), True

    @property
    def error(self) -> JournalError | None:
        """Why nothing can be written any more; None while all is well."""
        return self._error

    # --- rows -------------------------------------------------------------------------------

    def set_run(self, **values: object) -> None:
        """Set facts about the run (table ``run``); a value is kept as text."""
        rows = [(key, str(value)) for key, value in values.items()]
        self._submit((insert_statement("run", replace=True), rows))

    def put(self, table: str, rows: Sequence[_Row]) -> None:
        """Rows with every column of ``table``; one with the same primary key is replaced."""
        self._submit((insert_statement(table, replace=True), rows))

    def set_classes(self, names: Sequence[str]) -> None:
        """Names that ``class_id`` of the objects counts into; given again they are replaced."""
        self._submit(
            ("DELETE FROM classes", [()]),
            (insert_statement("classes"), list(enumerate(names))),
        )

    def announce(self, row: Mapping[str, object]) -> int:
        """A frame was captured and is about to be written: its row goes to ``arriving``.

        Returns
        -------
        int
            Ticket for `wait_committed`.
        """
        return self._submit((insert_statement("arriving"), [tuple(row.values())]))

    def confirm(self, seqs: Sequence[int]) -> None:
        """The pixels of these frames lie complete on disk: their rows move to ``frames``."""
        marks = [(seq,) for seq in seqs]
        self._submit(
            ("INSERT INTO frames SELECT * FROM arriving WHERE seq = ?", marks),
            ("DELETE FROM arriving WHERE seq = ?", marks),
        )

    def add_result(
        self,
        seq: int,
        objects: np.ndarray,
        *,
        engine: EngineInfo,
        stage_ms: Mapping[str, float],
        labels_written: bool,
        denoised_written: bool = False,
        verdict: Verdict | None = None,
    ) -> None:
        """What the pipeline found in frame ``seq``; ``objects`` is (n,) of ``OBJECT_DTYPE``."""
        kept = (("labels", labels_written), ("denoised", denoised_written))
        written = frozenset(kind for kind, there in kept if there)
        result = result_row(seq, len(objects), engine, stage_ms, written, verdict)
        self._submit(
            (insert_statement("results", replace=True), [result]),
            ("DELETE FROM objects WHERE seq = ?", [(seq,)]),
            (insert_statement("objects"), object_rows(seq, objects)),
        )

    def add_repairs(self, seq: int, repairs: Sequence[Repair]) -> None:
        """What tracking changed of the segmentation of frame ``seq``."""
        if repairs:
            self._submit((insert_statement("repairs"), repair_rows(seq, repairs)))

    def add_decision(self, row: DecisionRow) -> None:
        """A decision; the same ``number`` again replaces what was known of it."""
        values: _Row = tuple(getattr(row, name) for name in row.__dataclass_fields__)
        statement = (
            f"INSERT OR REPLACE INTO decisions ({', '.join(row.__dataclass_fields__)}) "
            f"VALUES ({', '.join('?' * len(values))})"
        )
        self._submit((statement, [values]))

    def add_times(self, seq: int, times_ns: Mapping[str, int]) -> None:
        """Stations of the latency ledger for frame ``seq``; the latest time of each one stays."""
        row: _Row = (seq, *(int(times_ns.get(hop, 0)) for hop in HOPS))
        self._submit((_LEDGER_UPSERT, [row]))

    def add_log(self, kind: str, text: str) -> None:
        """An event that a person may want to read, with the wall clock."""
        self._submit((insert_statement("log"), [(time.time(), kind, text)]))

    def add_drops(self, stage: str, count: int) -> None:
        """``count`` more drops at ``stage``."""
        statement = (
            "INSERT INTO drops VALUES (?, ?) "
            "ON CONFLICT (stage) DO UPDATE SET count = count + excluded.count"
        )
        self._submit((statement, [(stage, count)]))

    def add_restart(self, process: str, reason: str) -> None:
        """A process was started anew."""
        self._submit((insert_statement("restarts"), [(time.time(), process, reason)]))

    def add_engine_event(self, seq: int, fault: str, step: str, text: str) -> None:
        """An engine failed on frame ``seq`` (-1: on none), and ``step`` was done about it."""
        row = (time.time(), seq, fault, step, text)
        self._submit((insert_statement("engine_events"), [row]))

    # --- commits ----------------------------------------------------------------------------

    def flush(self) -> None:
        """Wait until everything that was handed in before is committed."""
        with self._changed:
            ticket = self._submitted
            self._hurry = True
            self._changed.notify_all()
        if not self.wait_committed(ticket, self._timeout_s):
            raise JournalError(f"{self._path} did not take a commit in {self._timeout_s:g} s")

    def wait_committed(self, ticket: int, timeout_s: float) -> bool:
        """Whether the call that returned ``ticket`` was committed within ``timeout_s``.

        Raises
        ------
        JournalError
            When the journal can no longer be written.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._committed >= ticket or self._error is not None, timeout_s
            )
            if self._committed >= ticket:
                return True
            if self._error is not None:
                raise self._error
            return False

    def _submit(self, *ops: _Op) -> int:
        with self._changed:
            if self._thread is None or self._closing:
                raise JournalError(f"{self._path} is not open; call it inside its with block")
            fits = self._changed.wait_for(
                lambda: len(self._ops) < self._max_queued or self._error is not None,
                self._timeout_s,
            )
            if self._error is not None:
                raise self._error
            if not fits:
                raise JournalError(
                    f"{self._path}: {self._max_queued} rows wait for the disk and none was "
                    f"written in {self._timeout_s:g} s; use a faster or local disk"
                )
            self._ops.append(list(ops))
            self._submitted += 1
            self._changed.notify_all()
            return self._submitted

    def _close(self, *, raises: bool) -> None:
        with self._changed:
            thread = self._thread
            self._closing = True
            self._changed.notify_all()
        if thread is None:
            return
        thread.join(self._timeout_s)
        if thread.is_alive() and self._error is None:
            self._error = JournalError(f"{self._path} was not closed in {self._timeout_s:g} s")
        if raises and self._error is not None:
            raise self._error

    # --- the journal's thread ---------------------------------------------------------------

    def _run(self) -> None:
        try:
            # Someone may look into the file with a tool that locks it for a moment.
            connection = sqlite3.connect(self._path, isolation_level=None, timeout=_LOCKED_S)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
                for statement in create_statements():
                    connection.execute(statement)
                while self._commit_next(connection):
                    pass
                state, reason = self._end
                ended = [("state", state), ("reason", reason), ("ended_unix", str(time.time()))]
                connection.executemany(insert_statement("run", replace=True), ended)
                _into_one_file(connection)
            finally:
                connection.close()
        except (sqlite3.Error, OverflowError, TypeError) as error:
            with self._changed:
                self._error = JournalError(f"{self._path} cannot be written: {error}")
                self._error.__cause__ = error
                self._changed.notify_all()

    def _commit_next(self, connection: sqlite3.Connection) -> bool:
        """Commit what is queued, or a sign of life; False when all is done."""
        with self._changed:
            self._changed.wait_for(lambda: self._ops or self._closing, _HEARTBEAT_S)
            if self._closing and not self._ops:
                return False
            if self._ops:
                self._changed.wait_for(lambda: self._hurry or self._closing, _GATHER_S)
            batch = [self._ops.popleft() for _ in range(min(_BATCH, len(self._ops)))]
            self._hurry = bool(self._ops) and self._hurry
            self._changed.notify_all()
        connection.execute("BEGIN")
        for ops in batch:
            for statement, rows in ops:
                connection.executemany(statement, rows)
        heartbeat: list[tuple[str, Any]] = [("heartbeat_unix", str(time.time()))]
        connection.executemany(insert_statement("run", replace=True), heartbeat)
        connection.execute("COMMIT")
        with self._changed:
            self._committed += len(batch)
            self._changed.notify_all()
        return True


def _into_one_file(connection: sqlite3.Connection) -> None:
    """Fold the write-ahead log into the file, so that a finished run is one file to copy."""
    try:
        connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError:
        # Somebody reads it at this moment; the log beside the file is as good.
        return
