"""How long to sleep between two looks at a camera's buffer, which tells nobody when a frame comes.

A look costs about 5 µs, a sleep lasts about 60 µs longer than was asked for. Close to the moment
at which the last interval says that a frame is due, looks are frequent; otherwise rare.
"""

from __future__ import annotations

DUE_S = 0.0001
BEFORE_S = 0.0015
AFTER_S = 0.005


class Naps:
    """The naps of one running sequence."""

    def __init__(self) -> None:
        self._came_s = 0.0
        self._period_s = 0.0

    def came(self, popped_ns: int) -> None:
        """A frame came, at this monotonic time."""
        now_s = popped_ns / 1e9
        if self._came_s:
            self._period_s = now_s - self._came_s
        self._came_s = now_s

    def next_s(self, exposure_ms: float, now_s: float) -> float:
        """How long to sleep, in seconds, at this monotonic time."""
        late_s = now_s - self._came_s - self._period_s
        if self._period_s and -BEFORE_S < late_s < AFTER_S:
            return DUE_S
        return min(max(exposure_ms / 20, 0.2), 1.0) / 1e3
