"""When the plan's events are due: its own clock, which can run faster, slower, or stand still."""

from __future__ import annotations


class PlanClock:
    """Maps the plan's time to the caller's clock. Pure; times are seconds.

    The grid of due times never shifts by itself: a block in between takes time from the plan, and
    what was due meanwhile is late.
    """

    def __init__(self) -> None:
        self._real_s: float | None = None
        self._plan_s = 0.0
        self._speed = 1.0
        self._until_s: float | None = None
        self._held = False

    def begin(self, now_s: float) -> None:
        """Start, if it has not."""
        if self._real_s is None:
            self._real_s = now_s

    def reset(self, now_s: float) -> None:
        """Start anew from 0, as an event asks that resets the timer; the speed stays."""
        self._real_s, self._plan_s = now_s, 0.0

    def due(self, plan_s: float, now_s: float) -> float:
        """The caller's time at which ``plan_s`` is due."""
        self._expire(now_s)
        return (self._real_s or 0.0) + (plan_s - self._plan_s) / self._speed

    def set_speed(self, speed: float, now_s: float, for_s: float | None = None) -> None:
        """Run ``speed`` times as fast from now on, or for ``for_s`` seconds."""
        self._expire(now_s)
        self._anchor(now_s)
        self._speed = speed
        self._until_s = None if for_s is None else now_s + for_s

    @property
    def speed(self) -> float:
        """How much faster than the plan says; 1 when nothing was changed."""
        return self._speed

    def hold(self, now_s: float) -> None:
        """Stand still until `resume`."""
        if not self._held:
            self._anchor(now_s)
            self._held = True

    def resume(self, now_s: float) -> None:
        """Go on after `hold`; what is due comes later by as long as it stood."""
        if self._held:
            if self._until_s is not None and self._real_s is not None:
                self._until_s += now_s - self._real_s
            self._real_s, self._held = now_s, False

    def _anchor(self, now_s: float) -> None:
        if self._real_s is None:
            self._real_s = now_s
        elif not self._held:
            self._plan_s += (now_s - self._real_s) * self._speed
            self._real_s = now_s

    def _expire(self, now_s: float) -> None:
        until = self._until_s
        if until is not None and now_s >= until and not self._held:
            self._until_s = None
            self._anchor(until)
            self._speed = 1.0
