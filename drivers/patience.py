"""A call that may hang, made with a time limit.

MMCore's ``snapImage`` blocks for as long as the camera's driver likes, and Python cannot interrupt
it. So one thread makes such calls, and the caller waits for the answer no longer than it wants.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_Answer = tuple[Any, BaseException | None]


class TookTooLong(Exception):
    """The call has not returned within its time; it goes on in its thread."""


class Patience:
    """One daemon thread that makes calls for one caller. Hold it between `open` and `close`.

    Parameters
    ----------
    name
        Name of the thread, as a debugger shows it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        # One call is out at a time, so neither queue ever holds more than two items.
        self._calls: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        self._out = False
        self.late = 0
        """Answers that came after their caller had given up, and were thrown away."""

    def open(self) -> None:
        """Start the thread."""
        # Daemon: a driver that never returns must not keep the interpreter alive.
        self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], T], timeout_s: float) -> T:
        """Answer of ``function``, or `TookTooLong` after ``timeout_s`` seconds.

        What ``function`` raises is raised here. When an earlier call is still out, its answer is
        awaited first, within the same time, and thrown away (see `late`).
        """
        deadline = time.monotonic() + timeout_s
        self._settle(timeout_s)
        self._calls.put(function)
        self._out = True
        value, error = self._answer(deadline - time.monotonic())
        if error is not None:
            raise error
        answer: T = value
        return answer

    def close(self, timeout_s: float) -> bool:
        """End the thread; False when it still hangs in a call after ``timeout_s`` seconds."""
        if self._thread is None:
            return True
        try:
            self._settle(timeout_s)
        except TookTooLong:
            return False
        self._calls.put(None)
        self._thread.join(timeout_s)
        ended = not self._thread.is_alive()
        if ended:
            self._thread = None
        return ended

    def _settle(self, timeout_s: float) -> None:
        if self._out:
            self._answer(timeout_s)
            self.late += 1

    def _answer(self, timeout_s: float) -> _Answer:
        try:
            answer = self._answers.get(timeout=max(timeout_s, 0.0))
        except queue.Empty:
            raise TookTooLong from None
        self._out = False
        return answer

    def _work(self) -> None:
        while (function := self._calls.get()) is not None:
            try:
                self._answers.put((function(), None))
            except BaseException as error:
                self._answers.put((None, error))
            del function
