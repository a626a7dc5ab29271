"""Probe: the live window, drawn offscreen: how often it draws, and what that costs."""

from __future__ import annotations

import time
from typing import Any

from live.display import ShownFrame, ShownResult, ShownStatus
from live.display.app import run_window
from live.display.availability import missing_library
from live.display.errors import DisplayError
from live.doctor.samples import read_sample, there_and_back
from live.doctor.timing import Timing, Watch


class _Movie:
    """A feed with a new frame whenever the window asks, for some seconds."""

    def __init__(self, sample: str, seconds: float) -> None:
        self._frames = read_sample(sample)
        self._seconds = seconds
        self._until = time.monotonic() + 30.0
        self._asked = 0
        self.watch: Watch | None = None

    def newest_frame(self) -> ShownFrame | None:
        self._asked += 1
        if self._asked == 5:  # the first pictures also build the scene
            self.watch = Watch()
            self._until = time.monotonic() + self._seconds
        elif self.watch is not None:
            self.watch.lap()
        pixels = self._frames[there_and_back(len(self._frames), self._asked)].copy()
        now_ns = time.monotonic_ns()
        return ShownFrame(pixels, self._asked, now_ns, 0.0, 0.0, 0.5, "DAPI", 16)

    def newest_result(self) -> ShownResult | None:
        return None

    def status(self) -> ShownStatus:
        return ShownStatus()

    def closed(self) -> bool:
        return time.monotonic() > self._until


def time_window(*, sample: str, seconds: float) -> dict[str, Any]:
    """Draw the window offscreen; ``DisplayError`` when Qt cannot start here."""
    if missing := missing_library(offscreen=True):
        raise DisplayError(f"the window needs {missing}, which is not installed")
    movie = _Movie(sample, seconds)
    run_window(movie, title="parfocal doctor", offscreen=True, screenshot=None, on_close=_nothing)
    if movie.watch is None or not movie.watch.samples_ms:
        raise DisplayError("the window drew nothing")
    timing: Timing = movie.watch.timing()
    return timing.to_json()


def _nothing() -> None:
    """There is nobody to tell that the window closed."""
