"""The latency ledger: when each frame passed each station, and how long each leg took.

Pure apart from a lock: times come in as numbers, the clock is the caller's. Memory is one table of
fixed size, so a run of any length costs the same.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

HOPS: Final = (
    "captured",
    "popped",
    "in_ring",
    "received",
    "inference_start",
    "inference_end",
    "tracked",
    "result_received",
    "decided",
    "event_queued",
    "event_started",
    "done",
)
"""Stations in the order in which a frame, and the decision made on it, passes them."""

LEGS: Final[Mapping[str, tuple[str, str]]] = {
    "camera_to_memory": ("captured", "popped"),
    "camera_to_ring": ("captured", "in_ring"),
    "ring_to_inference": ("in_ring", "inference_start"),
    "handover": ("in_ring", "received"),
    "inference": ("inference_start", "inference_end"),
    "tracking": ("inference_end", "tracked"),
    "result_return": ("inference_end", "result_received"),
    "decision": ("result_received", "decided"),
    "camera_to_decision": ("captured", "decided"),
    "decision_to_queue": ("decided", "event_queued"),
    "queue_to_event": ("event_queued", "event_started"),
    "camera_to_event": ("captured", "event_started"),
    "event": ("event_started", "done"),
}
"""Leg of the report -> the two stations between which it is measured. Names are stable."""

CALM: Final = 50
"""Frames in a row within the budget that end a `LatencyAlarm`."""

_COLUMN: Final = {hop: number for number, hop in enumerate(HOPS)}


class Ledger:
    """Times of the newest ``capacity`` frames. Any thread may call any method.

    Parameters
    ----------
    capacity
        Frames remembered; an older one gives way to the frame ``capacity`` later.
    """

    def __init__(self, capacity: int = 100_000) -> None:
        if capacity < 1:
            raise ValueError(f"a ledger needs room for at least 1 frame, got {capacity}")
        self._lock = threading.Lock()
        self._seq: NDArray[np.int64] = np.full(capacity, -1, dtype=np.int64)
        # written at once: pages that fill up with time look like a leak
        self._times_ns: NDArray[np.int64] = np.full((capacity, len(HOPS)), 0, dtype=np.int64)
        self._late = 0
        self._last = -1

    def mark(self, seq: int, **times_ns: int) -> None:
        """Note stations of frame ``seq``, such as ``mark(7, in_ring=t)``; 0 means not passed.

        A later mark of the same station replaces the earlier. A frame that was forgotten already
        is counted in ``late`` and otherwise passed over.

        Raises
        ------
        KeyError
            When a station is not one of ``HOPS``.
        """
        columns = [(_COLUMN[hop], time_ns) for hop, time_ns in times_ns.items()]
        slot = seq % len(self._seq)
        with self._lock:
            held = int(self._seq[slot])
            if held > seq:
                self._late += 1
                return
            if held < seq:
                self._seq[slot] = seq
                self._times_ns[slot] = 0
                self._last = max(self._last, seq)
            for column, time_ns in columns:
                if time_ns:
                    self._times_ns[slot, column] = time_ns

    def times(self, seq: int) -> dict[str, int]:
        """Stations that frame ``seq`` is known to have passed, ns; empty when it is forgotten."""
        slot = seq % len(self._seq)
        with self._lock:
            if int(self._seq[slot]) != seq:
                return {}
            row = self._times_ns[slot].tolist()
        return {hop: time_ns for hop, time_ns in zip(HOPS, row, strict=True) if time_ns}

    @property
    def late(self) -> int:
        """Marks that came when their frame had been forgotten."""
        return self._late

    def legs_ms(self, newest: int | None = None) -> dict[str, NDArray[np.float64]]:
        """Leg -> its duration for every remembered frame that passed both ends, oldest first.

        ``newest`` looks at so many places of the table alone: to be asked while frames come, for
        the frame loop waits for the copy of the whole.
        """
        with self._lock:
            if newest is None or newest >= len(self._seq):
                used = np.flatnonzero(self._seq >= 0)
                order = used[np.argsort(self._seq[used], kind="stable")]
            else:
                wanted = np.arange(max(0, self._last - newest + 1), self._last + 1)
                slots = wanted % len(self._seq)
                order = slots[self._seq[slots] == wanted]
            times = self._times_ns[order]
        legs: dict[str, NDArray[np.float64]] = {}
        for leg, (start, end) in LEGS.items():
            first, last = times[:, _COLUMN[start]], times[:, _COLUMN[end]]
            both = (first > 0) & (last > 0)
            legs[leg] = (last[both] - first[both]) / 1e6
        return legs

    def summary(self, newest: int | None = None) -> dict[str, dict[str, float]]:
        """Leg -> ``p50``, ``p95``, ``p99`` in ms, for the legs that were measured at all."""
        return {leg: _percentiles(ms) for leg, ms in self.legs_ms(newest).items() if ms.size}


class LatencyAlarm:
    """Counts decisions that came later than the user allows. One thread calls `take`.

    Parameters
    ----------
    budget_ms
        From the end of exposure to the decision; None allows any time.
    """

    def __init__(self, budget_ms: float | None) -> None:
        self.budget_ms = budget_ms
        self.over = 0
        """Decisions that came too late."""
        self.worst_ms = 0.0
        self.ringing = False
        """Since a decision came too late, and until ``CALM`` in a row did not."""
        self._calm = 0

    def take(self, seq: int, times_ns: Mapping[str, int]) -> str:
        """Look at one frame's stations; a sentence when the alarm begins or ends, else empty."""
        start, end = times_ns.get("captured", 0), times_ns.get("decided", 0)
        if self.budget_ms is None or not (start and end):
            return ""
        took_ms = (end - start) / 1e6
        self.worst_ms = max(self.worst_ms, took_ms)
        if took_ms > self.budget_ms:
            self.over += 1
            began, self.ringing, self._calm = not self.ringing, True, 0
            return (
                f"frame {seq} was decided on {took_ms:.1f} ms after its exposure, over the budget "
                f"latency_budget_ms = {self.budget_ms:g}"
                if began
                else ""
            )
        self._calm += 1
        if self.ringing and self._calm >= CALM:
            self.ringing = False
            return f"decisions keep to the latency budget again since {CALM} frames"
        return ""

    def to_json(self) -> dict[str, float]:
        """For the report; empty without a budget."""
        if self.budget_ms is None:
            return {}
        return {"budget_ms": self.budget_ms, "over": self.over, "worst_ms": self.worst_ms}


def _percentiles(ms: NDArray[np.float64]) -> dict[str, float]:
    p50, p95, p99 = np.percentile(ms, (50, 95, 99))
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99)}
