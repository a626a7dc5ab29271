"""How a run went: why it ended, what went wrong, and which exit code that makes."""

from __future__ import annotations

import threading
from collections.abc import Callable

from live.errors import ExitCode
from live.recording.errors import JournalError
from live.recording.export import export_tables
from live.recording.journal import RunState
from live.recording.reconcile import reconcile
from live.recording.runfolder import RunFolder

_ORDER = (
    ExitCode.FRAMES_LOST,
    ExitCode.HARDWARE,
    ExitCode.ANALYSIS_FAILED,
    ExitCode.RULE_FAILED,
    ExitCode.BAD_INPUT,
    ExitCode.CRASH,
)
"""The failure that matters most comes first."""


class Outcome:
    """Gathers what happens to a run. Any thread may add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._codes: list[ExitCode] = []
        self._problems: list[str] = []
        self._reason = ""
        self.notes: tuple[str, ...] = ()

    def end(self, reason: str) -> None:
        """The run ends for this reason; the first one given stays."""
        with self._lock:
            self._reason = self._reason or reason

    def wrong(self, code: ExitCode, sentence: str, *, ends: bool = False) -> None:
        """Something went wrong; ``ends`` when it is why the run ends."""
        with self._lock:
            self._codes.append(code)
            self._problems.append(sentence)
            if ends:
                self._reason = self._reason or sentence

    @property
    def reason(self) -> str:
        """Why the run ended; empty while it goes on."""
        return self._reason

    @property
    def problems(self) -> tuple[str, ...]:
        """What went wrong, one sentence each."""
        return tuple(self._problems)

    @property
    def exit_code(self) -> ExitCode:
        """What the process should end with."""
        return next((code for code in _ORDER if code in self._codes), ExitCode.OK)

    def state(self, *, interrupted: bool) -> RunState:
        """What the journal says became of the run."""
        if self._codes:
            return RunState.FAILED
        return RunState.INTERRUPTED if interrupted else RunState.FINISHED

    def add_up(
        self, folder: RunFolder, captured: int, say: Callable[[str], None] | None = None
    ) -> None:
        """Hold frames, label images and rows against each other, and export the tables.

        ``say`` gets a line about how far it is, again and again.
        """

        def told(table: str, rows: int) -> None:
            if say is not None:
                say(f"Writing the table of {table}: {rows:,} ...")

        try:
            found = reconcile(folder.path, captured)
            export_tables(folder, told)
        except (JournalError, OSError) as error:
            self.wrong(ExitCode.FRAMES_LOST, f"the run cannot be added up: {error}")
            return
        if not found.ok:
            self.wrong(ExitCode.FRAMES_LOST, found.line())
            self.notes = found.notes
        else:
            self.notes = (found.line(), *found.notes)
