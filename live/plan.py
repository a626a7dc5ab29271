"""What to image next: the user's plan, pre-empted by bursts that decisions ask for. Pure, no clock.

While a burst runs the plan's own clock stands still, so that afterwards the plan goes on with the
spacing that was asked for, instead of catching up in a rush of overdue frames.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import useq
from useq._mda_event import Channel as EventChannel

MAX_WAITING_BURSTS = 16


@dataclass(frozen=True, slots=True)
class Home:
    """Where and how the plan was imaging; a burst that moved the stage leads back here."""

    x_um: float
    y_um: float
    z_um: float
    exposure_ms: float
    channel: EventChannel | None = None


@dataclass(frozen=True, slots=True)
class Burst:
    """Frames that a decision asks for."""

    decision: int
    events: tuple[useq.MDAEvent, ...]
    interval_s: float
    """Between starts of exposures; 0 is as fast as the camera can."""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """One event to run, not before ``due_s`` of the run's clock."""

    event: useq.MDAEvent
    due_s: float
    decision: int = -1
    burst_length: int = 0
    """Frames of the burst that this is the first of; 0 for every other job."""
    interval_s: float = 0.0


class Plan:
    """Hands out jobs in order; thread-safe, so that decisions arrive from another thread.

    Parameters
    ----------
    events
        The user's plan, usually a ``useq.MDASequence``; read lazily.
    """

    def __init__(self, events: Iterable[useq.MDAEvent]) -> None:
        self._baseline: Iterator[useq.MDAEvent] = iter(events)
        self._peeked: deque[useq.MDAEvent] = deque()
        self._bursts: list[Burst] = []
        self._running: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._paused_s = 0.0
        self._zero_s = 0.0
        self._burst_since: float | None = None
        self._home: Home | None = None

    def insert(self, burst: Burst) -> bool:
        """Queue a burst before the plan's next event; False when too many wait already."""
        with self._changed:
            if self._closed or len(self._bursts) >= MAX_WAITING_BURSTS or not burst.events:
                return False
            self._bursts.append(burst)
            self._bursts.sort(key=lambda waiting: -waiting.priority)
            self._changed.notify_all()
            return True

    def close(self) -> None:
        """Wake whoever waits; nothing more is handed out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def burst_waiting(self) -> bool:
        """True when a burst should pre-empt what runs now."""
        return bool(self._bursts)

    @property
    def burst_running(self) -> bool:
        """True while the burst that runs has frames left."""
        return bool(self._running)

    @property
    def in_burst(self) -> bool:
        """True from a burst's first job until the plan's next."""
        return self._burst_since is not None

    def wait(self, timeout_s: float) -> None:
        """Sleep until a burst arrives, the plan is closed or the time is over."""
        with self._changed:
            if not self._closed and not self._bursts:
                self._changed.wait(timeout_s)

    def next(self, now_s: float, here: Home) -> Job | None:
        """Take the next job; None when the plan is done or closed.

        Parameters
        ----------
        now_s
            The run's clock. A job may be due later; the caller waits for it, and calls
            ``put_back`` when a burst comes first.
        here
            Where the microscope is, kept when a burst is about to move it.
        """
        with self._changed:
            if self._closed:
                return None
            if self._running:
                return self._running.popleft()
            if self._bursts:
                return self._start_burst(now_s, here)
            self._end_burst(now_s)
            event = self._take()
            if event is None:
                return None
            if event.reset_event_timer:
                self._zero_s = now_s
                self._paused_s = 0.0
            due = now_s
            if event.min_start_time is not None:
                due = self._zero_s + self._paused_s + event.min_start_time
            return Job(self._lead_home(event), due)

    def put_back(self, job: Job) -> None:
        """Return a job that was not run, so that it comes again after the burst."""
        with self._changed:
            if job.decision >= 0:
                self._running.appendleft(job)
            else:
                self._peeked.appendleft(job.event)

    def drop_burst(self) -> int:
        """Forget the rest of the burst that runs, and say how many frames that were."""
        with self._changed:
            left = len(self._running)
            self._running.clear()
            return left

    def take_immediate(self, first: Job, limit: int) -> list[useq.MDAEvent]:
        """Take the plan's next events that differ from ``first`` in nothing but their index.

        They can run as one hardware sequence: same place, preset and exposure, nothing to wait for.
        Empty when the plan is timed, or a burst waits.
        """
        alike: list[useq.MDAEvent] = []
        with self._changed:
            if first.decision >= 0 or self._bursts or first.event.min_start_time:
                return alike
            while len(alike) < limit:
                event = self._take()
                if event is None:
                    break
                if event.min_start_time or not _same_setting(event, first.event):
                    self._peeked.appendleft(event)
                    break
                alike.append(event)
        return alike

    def give_back(self, events: Iterable[useq.MDAEvent]) -> None:
        """Return events of ``take_immediate`` that were not imaged, in their order."""
        with self._changed:
            self._peeked.extendleft(reversed(list(events)))

    def _take(self) -> useq.MDAEvent | None:
        if self._peeked:
            return self._peeked.popleft()
        return next(self._baseline, None)

    def _start_burst(self, now_s: float, here: Home) -> Job:
        burst = self._bursts.pop(0)
        if self._burst_since is None:
            self._burst_since = now_s
        if self._home is None:
            self._home = here
        for number, event in enumerate(burst.events):
            self._running.append(
                Job(
                    event,
                    due_s=now_s + number * burst.interval_s,
                    decision=burst.decision,
                    burst_length=len(burst.events) if number == 0 else 0,
                    interval_s=burst.interval_s,
                )
            )
        return self._running.popleft()

    def _end_burst(self, now_s: float) -> None:
        if self._burst_since is not None:
            self._paused_s += now_s - self._burst_since
            self._burst_since = None

    def _lead_home(self, event: useq.MDAEvent) -> useq.MDAEvent:
        home, self._home = self._home, None
        if home is None:
            return event
        ours = {
            "x_pos": home.x_um,
            "y_pos": home.y_um,
            "z_pos": home.z_um,
            "exposure": home.exposure_ms,
            "channel": home.channel,
        }
        filled = {
            field: value
            for field, value in ours.items()
            if value is not None and getattr(event, field) is None
        }
        return event.model_copy(update=filled)


def _same_setting(one: useq.MDAEvent, other: useq.MDAEvent) -> bool:
    fields = ("channel", "exposure", "x_pos", "y_pos", "z_pos", "properties", "roi", "action")
    return all(getattr(one, field) == getattr(other, field) for field in fields)
