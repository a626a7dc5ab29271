"""Ctrl-C and SIGTERM: the first ends the run in order, the second at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

_NAMES = ("SIGINT", "SIGTERM", "SIGBREAK")


class EndRequests:
    """Turns the signals that ask a process to end into a call, while its ``with`` block runs.

    Outside the main thread, where Python delivers no signals, it does nothing.

    Parameters
    ----------
    on_first
        Called with the reason, from the signal handler: it must only set flags.
    """

    def __init__(self, on_first: Callable[[str], None]) -> None:
        self._on_first = on_first
        self._before: dict[int, object] = {}
        self.count = 0

    def __enter__(self) -> Self:
        """Install the handlers."""
        if threading.current_thread() is threading.main_thread():
            for name in _NAMES:
                number = getattr(signal, name, None)
                if number is not None:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put the handlers back that were there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.count += 1
        if self.count > 1:
            raise KeyboardInterrupt
        what = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        # Taking a lock in a signal handler can deadlock with the thread that it interrupted.
        threading.Thread(
            target=self._on_first, args=(f"ended by {what}",), name="end-request", daemon=True
        ).start()
