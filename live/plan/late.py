"""Which of several overdue time points is imaged still: the newest of each place. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import useq

from live.plan.source import PlanSource

Dated = tuple[useq.MDAEvent, float]
"""An event of the plan and when it was due."""


MOST_LOOKED_AHEAD = 20_000


def overdue_events(source: PlanSource, due: Callable[[float], float], now_s: float) -> list[Dated]:
    """Take timed events out of a plan while they are overdue.

    Parameters
    ----------
    source
        The plan's events; the first that is not overdue is put back.
    due
        From the plan's time to that of ``now_s``.
    """
    overdue: list[Dated] = []
    while (event := source.take()) is not None:
        due_s = due(event.min_start_time or 0.0)
        full = len(overdue) >= MOST_LOOKED_AHEAD
        if full or not event.min_start_time or event.reset_event_timer or due_s > now_s:
            source.put_back([event])
            break
        overdue.append((event, due_s))
    return overdue


def without_overdue(events: Sequence[Dated]) -> tuple[list[useq.MDAEvent], list[Dated]]:
    """Split overdue events into those to image and those to leave out, both in order.

    Events that differ in nothing but their time point show the same place in the same way; of
    these the last is kept. An event without a time point is always kept.
    """
    newest: dict[tuple[tuple[str, int], ...], int] = {}
    for number, (event, _) in enumerate(events):
        newest[_kind(event)] = number
    kept: list[useq.MDAEvent] = []
    left_out: list[Dated] = []
    for number, (event, due_s) in enumerate(events):
        if "t" not in event.index or newest[_kind(event)] == number:
            kept.append(event)
        else:
            left_out.append((event, due_s))
    return kept, left_out


def _kind(event: useq.MDAEvent) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((str(axis), at) for axis, at in event.index.items() if axis != "t"))
