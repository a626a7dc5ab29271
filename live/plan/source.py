"""The user's plan as a stream of events that can get further positions and go on without an end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import count

import useq
from useq._mda_event import ReadOnlyDict


class PlanSource:
    """Gives the plan's events in order; read lazily. The caller locks.

    Parameters
    ----------
    plan
        Usually a ``useq.MDASequence``.
    open_ended
        After its last time point the plan goes on, at its last interval.

    Raises
    ------
    ValueError
        When an open-ended plan has no time points, or they do not come first.
    """

    def __init__(self, plan: Iterable[useq.MDAEvent], *, open_ended: bool = False) -> None:
        self._plan = plan if isinstance(plan, useq.MDASequence) else None
        if open_ended and (problem := endless_problem(self._plan)):
            raise ValueError(problem)
        self._events = self._endless(self._plan) if open_ended and self._plan else iter(plan)
        self._drawn: deque[useq.MDAEvent] = deque()
        self._ahead: useq.MDAEvent | None = None
        self._time: int | None = None
        self._start_s: float | None = None
        self._extra: list[useq.MDAEvent] = []
        self._pending: list[useq.MDAEvent] = []
        self._returned: deque[useq.MDAEvent] = deque()

    def take(self) -> useq.MDAEvent | None:
        """Next event, first of all those that were returned; None at the end."""
        return self._returned.popleft() if self._returned else next(self, None)

    def prepare(self, limit: int) -> None:
        """Draw one event of a written plan ahead of its time, unless ``limit`` are drawn."""
        if self._plan is not None and len(self._drawn) < limit:
            event = next(self._events, None)
            if event is not None:
                self._drawn.append(event)

    def put_back(self, events: Iterable[useq.MDAEvent]) -> None:
        """Return events that were taken, in their order, to come again first."""
        self._returned.extendleft(reversed(list(events)))

    def take_alike(self, first: useq.MDAEvent, limit: int) -> list[useq.MDAEvent]:
        """Take untimed events that differ from ``first`` in nothing but their index."""
        alike: list[useq.MDAEvent] = []
        while len(alike) < limit and (event := self.take()) is not None:
            if event.min_start_time or not _same_setting(event, first):
                self.put_back([event])
                break
            alike.append(event)
        return alike

    def __iter__(self) -> Iterator[useq.MDAEvent]:
        return self

    def __next__(self) -> useq.MDAEvent:
        """Next event; added positions come at the end of each time point."""
        if self._pending:
            return self._pending.pop(0)
        event = self._ahead or (self._drawn.popleft() if self._drawn else next(self._events, None))
        self._ahead = None
        now = None if event is None else event.index.get("t", 0)
        if self._time is not None and now != self._time and self._extra:
            self._ahead = event
            self._pending = [self._at(extra, self._time) for extra in self._extra]
            self._time = None
            return self._pending.pop(0)
        if event is None:
            raise StopIteration
        self._time, self._start_s = now, event.min_start_time
        return event

    def add_position(self, x_um: float, y_um: float, z_um: float | None, name: str) -> str:
        """Image one more position at the end of each time point, from the present one on.

        Returns what is wrong, or an empty text.
        """
        plan = self._plan
        if problem := endless_problem(plan) or plan is None:
            return (
                problem
                if isinstance(problem, str)
                else "only a plan written as a useq sequence takes further positions"
            )
        number = max(len(plan.stage_positions), 1) + len(
            {event.index.get("p") for event in self._extra}
        )
        place = useq.Position(x=x_um, y=y_um, z=z_um, name=name or f"added {number}")
        still = list(plan.replace(time_plan=None, stage_positions=[place]))
        for event in still:
            index = ReadOnlyDict({**event.index, "p": number})
            self._extra.append(event.model_copy(update={"index": index}))
        return ""

    def _at(self, event: useq.MDAEvent, time: int) -> useq.MDAEvent:
        index = ReadOnlyDict({"t": time, **event.index})
        update = {"index": index, "min_start_time": self._start_s, "reset_event_timer": False}
        return event.model_copy(update=update)

    @staticmethod
    def _endless(plan: useq.MDASequence) -> Iterator[useq.MDAEvent]:
        assert plan.time_plan is not None
        yield from plan
        times = [float(value) for value in plan.time_plan]
        step = times[-1] - times[-2] if len(times) > 1 else 0.0
        still = list(plan.replace(time_plan=None)) or [useq.MDAEvent()]
        every = [channel.acquire_every for channel in plan.channels]
        for number in count(len(times)):
            start_s = times[-1] + (number - len(times) + 1) * step
            for event in still:
                channel = event.index.get("c")
                if channel is not None and number % every[channel]:
                    continue
                index = ReadOnlyDict({"t": number, **event.index})
                update = {
                    "index": index,
                    "min_start_time": start_s,
                    "reset_event_timer": False,
                }
                yield event.model_copy(update=update)


def endless_problem(plan: useq.MDASequence | None) -> str:
    """Why a plan cannot go on without an end, or take positions; empty when it can."""
    if plan is None:
        return ""
    if plan.time_plan is None:
        return "the plan has no time_plan; give one, such as {interval: 1, loops: 1}"
    if plan.used_axes and plan.used_axes[0] != "t":
        return (
            f"the plan's axis_order begins with '{plan.used_axes[0]}': time points must come "
            "first, so put 't' there"
        )
    if any(position.sequence is not None for position in plan.stage_positions):
        return "the plan has positions with a plan of their own; write them as plain positions"
    return ""


def _same_setting(one: useq.MDAEvent, other: useq.MDAEvent) -> bool:
    fields = ("channel", "exposure", "x_pos", "y_pos", "z_pos", "properties", "roi", "action")
    return all(getattr(one, field) == getattr(other, field) for field in fields)
