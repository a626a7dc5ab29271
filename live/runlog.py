"""What happened, in sentences: into the log file, the journal, the window and onto the screen."""

from __future__ import annotations

import threading
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console

from live.recording.journal import Journal

KEPT = 50


class RunLog:
    """Takes events, not frames. Any thread may add; hold it in a ``with`` block.

    Parameters
    ----------
    path
        Text file, one line an event.
    journal
        Keeps them too, with the wall clock.
    console
        Where people read.
    """

    def __init__(self, path: Path, journal: Journal, console: Console) -> None:
        self._path = path
        self._journal = journal
        self._console = console
        self._lock = threading.Lock()
        self._file: TextIO | None = None
        self._newest: deque[str] = deque(maxlen=KEPT)

    def __enter__(self) -> Self:
        """Open the file."""
        self._file = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file; what comes later is only kept for the screen."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def add(self, text: str) -> None:
        """Note an event and show it on the screen at once."""
        line = f"{time.strftime('%H:%M:%S')}  {text}"
        with self._lock:
            self._newest.append(line)
            if self._file is not None:
                self._file.write(line + "\n")
                self._file.flush()
                self._journal.add_log("event", text)
        self._console.print(line, markup=False, soft_wrap=True)

    def newest(self) -> list[str]:
        """The last events, newest last."""
        with self._lock:
            return list(self._newest)
