"""The one table of what flows between the processes, how fast, and what gives when one is slow.

Recording never drops: when the disk cannot follow, the acquisition waits, and when it cannot wait
any longer the run stops and says so. Every other stream has a bound, and each item that does not
get through is counted under the stage named here and shown in window and report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Policy = Literal["never_drop", "every", "newest", "wait"]


@dataclass(frozen=True, slots=True)
class Stream:
    """One flow from a sender to a reader."""

    name: str
    sender: str
    reader: str
    rate_hz: float
    """Rate that it is laid out for; faster works until something below overflows."""
    queue: int
    """Items that may wait."""
    when_slow: Policy
    counted_as: tuple[str, ...]
    """Stages under which lost items appear in ``drops``."""


STREAMS: tuple[Stream, ...] = (
    Stream("raw", "acquisition", "recorder", 100, 64, "never_drop", ()),
    Stream(
        "frame", "acquisition", "inference", 100, 64, "every",
        ("inference_queue", "inference_passed_over", "inference_stale", "inference_refused"),
    ),
    Stream("view", "acquisition", "display", 30, 8, "newest", ("display_queue",)),
    Stream("result", "inference", "rig", 100, 256, "every", ("result_queue", "result_stale")),
    Stream("labels", "rig", "recorder", 100, 32, "every", ("labels_queue",)),
    Stream("overlay", "rig", "display", 30, 64, "newest", ("display_results",)),
    Stream("decision", "rig", "acquisition", 10, 256, "every", ("decision_stale",)),
    Stream("control", "rig", "children", 2, 256, "every", ("control_refused",)),
)  # fmt: skip
"""``frame`` is ``newest`` where the experiment says so, and ``wait`` for replayed data, where
nobody is hurt by waiting: then every frame is analysed, in order, however long it takes."""


def stream(name: str) -> Stream:
    """The row of that name."""
    return next(row for row in STREAMS if row.name == name)
