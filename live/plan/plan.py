"""What to image next: the user's plan, pre-empted by blocks that decisions ask for. Pure, no clock.

The plan's due times lie on a grid that no block shifts. What became due while a block ran is late:
of each place the newest time point that is overdue is imaged at once and reported as late, older
ones are left out and reported as such, so that the sample gets no rush of light. With
``late="run"`` all are imaged, one after the other. A pause that somebody asked for stops the clock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal

import useq

from live.plan.blocks import (
    Block,
    Burst,
    Home,
    Job,
    Late,
    Note,
    Recentre,
    SetExposure,
    SetInterval,
    SetPreset,
    Shift,
    aimed,
)
from live.plan.clock import PlanClock
from live.plan.jobs import block_jobs, home_jobs
from live.plan.late import overdue_events, without_overdue
from live.plan.overlay import Overlay, shifted, with_preset
from live.plan.queue import MAX_WAITING_BLOCKS, BlockQueue, Placed
from live.plan.source import PlanSource

__all__ = ["MAX_WAITING_BLOCKS", "Block", "Burst", "Home", "Job", "Late", "Note", "Plan"]

MOST_REPORTS = 10_000


class Plan:
    """Hands out jobs in order; thread-safe, so that decisions arrive from another thread.

    Parameters
    ----------
    events
        The user's plan, usually a ``useq.MDASequence``; read lazily.
    interval_s
        Of its time points, for `SetInterval`; 0 where it has none.
    late
        ``skip``: of what became overdue, only the newest of each place is imaged. ``run``: all.
    open_ended
        The plan goes on after its last time point; ``ValueError`` where it cannot.
    """

    def __init__(
        self,
        events: Iterable[useq.MDAEvent],
        *,
        interval_s: float = 0.0,
        late: Literal["skip", "run"] = "skip",
        open_ended: bool = False,
    ) -> None:
        self._source = PlanSource(events, open_ended=open_ended)
        self._interval_s = interval_s
        self._late = late
        self._cancelled = ""
        self._queue = BlockQueue()
        self._changed = threading.Condition()
        self._clock = PlanClock()
        self._closed = False
        self._paused = False
        self._block: Block | None = None
        self._running: deque[Job] = deque()
        self._away = False
        self._home: Home | None = None
        self._returning: deque[Job] = deque()
        self._since: list[int] = []
        self._last_start: tuple[float | None, Any] | None = None
        self._start_before: tuple[float | None, Any] | None = None
        self._overlay = Overlay()
        self._here = Home(0.0, 0.0, 0.0, 0.0)
        self._lates: deque[Late] = deque(maxlen=MOST_REPORTS)
        self._notes: deque[Note] = deque(maxlen=MOST_REPORTS)

    # --- from other threads -----------------------------------------------------------------

    def insert(self, block: Block) -> Placed | None:
        """Queue a block before the plan's next event; None when too many wait already."""
        with self._changed:
            useful = block.events or block.effect is not None or block.script is not None
            if self._closed or not useful:
                return None
            self._changed.notify_all()
            return self._queue.add(block)

    def close(self) -> None:
        """Wake whoever waits; nothing more is handed out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def pause(self) -> None:
        """Hand out nothing until `resume`; the plan's clock stands still."""
        with self._changed:
            self._paused = True
            self._changed.notify_all()

    def resume(self) -> None:
        """Go on after `pause`."""
        with self._changed:
            self._paused = False
            self._changed.notify_all()

    def add_position(self, x_um: float, y_um: float, z_um: float | None, name: str = "") -> str:
        """Image one more position in each time point; what is wrong, or an empty text."""
        with self._changed:
            problem = self._source.add_position(x_um, y_um, z_um, name)
            if not problem:
                # Events without a position meant the place where the stage stood.
                self._overlay.fix(self._home or self._here)
            return problem

    def cancel(self, why: str) -> int:
        """Forget every block, the one that runs too; how many those were."""
        with self._changed:
            gone = self._queue.clear()
            self._notes.extend(Note(block.decisions, why) for block in gone)
            self._cancelled = why if self._block is not None else ""
            self._changed.notify_all()
            return len(gone) + (self._block is not None)

    # --- state ------------------------------------------------------------------------------

    @property
    def paused(self) -> bool:
        """Somebody paused it."""
        return self._paused

    @property
    def burst_waiting(self) -> bool:
        """True when a block should pre-empt what the plan does now."""
        return len(self._queue) > 0

    @property
    def in_burst(self) -> bool:
        """Whether a block or the way back from it comes before the plan's next event."""
        return self._away

    @property
    def interrupts(self) -> bool:
        """True when the block that runs gives way: to one of higher priority, or to none."""
        highest = self._queue.highest()
        higher = highest is not None and self._block is not None and highest > self._block.priority
        return higher or bool(self._cancelled)

    def wait(self, timeout_s: float) -> None:
        """Sleep until something changes or the time is over."""
        with self._changed:
            if not self._closed and not self._queue:
                self._changed.wait(timeout_s)

    def take_reports(self) -> tuple[list[Late], list[Note]]:
        """Time points left out, and blocks ended without the caller's doing, since last asked."""
        with self._changed:
            found = list(self._lates), list(self._notes)
            self._lates.clear()
            self._notes.clear()
            return found

    # --- the acquisition's side -------------------------------------------------------------

    def hold(self, now_s: float) -> None:
        """Stop the plan's clock until the next `next`."""
        with self._changed:
            self._clock.hold(now_s)

    def next(self, now_s: float, here: Home) -> Job | None:
        """Take the next job; None when the plan is done or closed.

        Parameters
        ----------
        now_s
            Monotonic clock. A job may be due later; the caller waits for it, and calls
            ``put_back`` when a block comes first.
        here
            How the microscope stands, kept when a block is about to change it.
        """
        with self._changed:
            if self._closed:
                return None
            self._clock.begin(now_s)
            self._clock.resume(now_s)
            for block in self._queue.drop_expired(now_s):
                self._notes.append(Note(block.decisions, "it waited too long for its turn"))
            if self._running and self.interrupts:
                self._suspend(list(self._running))
            if self._running:
                return self._running.popleft()
            if self._queue:
                return self._start_block(now_s, here)
            return self._lead_home(now_s) or self._plan_job(now_s, here)

    def due(self, job: Job, now_s: float) -> float:
        """When a job is due by now; the interval may have changed since it was handed out."""
        if job.planned is None or not job.planned.min_start_time:
            return job.due_s
        with self._changed:
            return self._clock.due(job.planned.min_start_time, now_s)

    def put_back(self, job: Job) -> None:
        """Return a job that was not run, so that it comes again."""
        with self._changed:
            if job.planned is not None:
                self._source.put_back([job.planned])
                self._overlay.uncount()
                self._last_start = self._start_before
            elif job.block is not None:
                self._running.appendleft(job)
            else:
                self._returning.appendleft(job)

    def interrupted(self, job: Job, done: int) -> None:
        """A sequence ended early, after ``done`` frames; the rest comes later or is dropped."""
        with self._changed:
            self._running.clear()
            self._suspend([job] * (job.sequence - done))

    def note_presets(self, presets: dict[str, str]) -> None:
        """What the groups that a block is about to change stood at."""
        with self._changed:
            if self._home is not None:
                presets = {**presets, **dict(self._home.presets)}
                self._home = replace(self._home, presets=tuple(presets.items()))

    def unknown_groups(self, block: Block) -> tuple[str, ...]:
        """Groups that a block changes for a while and whose preset nobody has noted yet."""
        known = dict(self._home.presets) if self._home is not None else {}
        return tuple(group for group in block.groups if block.restores and group not in known)

    def drop_burst(self) -> int:
        """Forget the rest of the block that runs and of its chain; how many jobs those were."""
        with self._changed:
            left, self._block, self._cancelled = len(self._running), None, ""
            self._running.clear()
            return left

    def follow(self, job: Job) -> bool:
        """Queue what comes after a block that is done; False when nothing does."""
        with self._changed:
            cancelled, self._cancelled, self._block = self._cancelled, "", None
            if job.block is None or job.block.following is None or cancelled:
                return False
            self._queue.put_first(replace(job.block.following, begun=True))
            self._changed.notify_all()
            return True

    def apply(self, effect: object, now_s: float) -> str:
        """Let an effect change the plan; what is wrong, or an empty text."""
        with self._changed:
            match effect:
                case SetInterval() if not self._interval_s:
                    return "the plan has no interval that could be changed"
                case SetInterval(seconds, for_s):
                    speed = 1.0 if seconds is None else self._interval_s / seconds
                    self._clock.set_speed(speed, now_s, for_s)
                case SetExposure(exposure_ms):
                    self._overlay.set_exposure(exposure_ms)
                case SetPreset():
                    self._overlay.set_preset(effect)
                    if self._home is not None:
                        self._home = with_preset(self._home, effect.channel)
                case Recentre():
                    by = self._overlay.towards(effect, self._home or self._here)
                    return self._shift(by) if by is not None else ""
                case Shift():
                    return self._shift(effect)
                case _:
                    return f"{type(effect).__name__} does not change a plan"
        return ""

    def take_immediate(self, first: Job, limit: int) -> list[useq.MDAEvent]:
        """Take the plan's next events that differ from ``first`` in nothing but their index.

        They can run as one hardware sequence: same place, preset and exposure, nothing to wait for.
        Empty when the plan is timed, or a block waits.
        """
        with self._changed:
            planned = first.planned
            if planned is None or self._queue or planned.min_start_time or self._overlay.counting:
                return []
            return self._source.take_alike(planned, limit)

    def take_exposure(self) -> Block | None:
        """Take a change of exposure, if it is all that waits; else use `return_block`."""
        with self._changed:
            return self._queue.take_exposure()

    def return_block(self, block: Block) -> None:
        """Return a block that could not be done yet."""
        with self._changed:
            self._queue.put_back(block)

    def prepare(self, limit: int) -> None:
        """Make one event of the plan ready, unless ``limit`` are; changes nothing that comes."""
        with self._changed:
            self._source.prepare(limit)

    def give_back(self, events: Iterable[useq.MDAEvent]) -> None:
        """Return events of ``take_immediate`` that were not imaged, in their order."""
        with self._changed:
            self._source.put_back(events)

    # --- inside, locked ---------------------------------------------------------------------

    def _shift(self, by: Shift) -> str:
        self._overlay.shift(by)
        if self._home is not None:
            self._home = shifted(self._home, by)
        return ""

    def _suspend(self, rest: list[Job]) -> None:
        """Set the rest of the running block aside for one of higher priority."""
        block = self._block
        self._block = None
        self._running.clear()
        cancelled, self._cancelled = self._cancelled, ""
        if block is None:
            return
        if cancelled:
            self._notes.append(Note(block.decisions, cancelled))
            return
        if (block.drop_rest and not self._paused) or not rest:
            problem = f"interrupted with {len(rest)} frames to go"
            self._notes.append(Note(block.decisions, problem))
            return
        events = tuple(job.event for job in rest)
        self._queue.put_back(replace(block, events=events, begun=True))

    def _start_block(self, now_s: float, here: Home) -> Job | None:
        place = here if self._home is None else self._here
        block = self._queue.take(place.x_um, place.y_um)
        assert block is not None
        self._block = block = aimed(block, now_s)
        self._returning.clear()
        self._since = [*self._since, block.decision][-8:]
        if block.restores:
            self._away = True
            self._home = self._home or here
        first, *rest = block_jobs(block, now_s)
        self._running.extend(rest)
        return first

    def _lead_home(self, now_s: float) -> Job | None:
        """Next step of the way back to how the plan was imaging; None when there."""
        home = self._home
        if home is None:
            return None
        if not self._returning:
            self._returning.extend(home_jobs(home, now_s))
        job = self._returning.popleft()
        if not self._returning:
            self._home = None
        return job

    def _plan_job(self, now_s: float, here: Home) -> Job | None:
        self._here = here
        why = ""
        if self._away or self._since:
            why = f"decision {', '.join(map(str, self._since))} came first"
            if self._late == "skip":
                self._skip_overdue(now_s, why)
            self._away, self._since = False, []
        ending = self._overlay.ending()
        if ending is not None:
            return Job(ending, now_s)
        event = self._source.take()
        if event is None:
            return None
        if event.reset_event_timer:
            self._clock.reset(now_s)
        timed = event.min_start_time
        due_s = self._clock.due(timed, now_s) if timed else now_s
        start = event.min_start_time, event.index.get("t")
        leads = bool(start[0]) and start != self._last_start
        self._start_before, self._last_start = self._last_start, start
        event_now = self._overlay.over(event)
        return Job(event_now, due_s, planned=event, leads=leads, why_late=why)

    def _skip_overdue(self, now_s: float, why: str) -> None:
        overdue = overdue_events(self._source, lambda plan_s: self._clock.due(plan_s, now_s), now_s)
        kept, left_out = without_overdue(overdue)
        self._source.put_back(kept)
        self._lates.extend(
            Late(dict(event.index), now_s - due_s, True, why) for event, due_s in left_out
        )
