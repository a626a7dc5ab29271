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
        self._times_ns: NDArray[np.int64] = np.zeros((capacity, len(HOPS)), dtype=np.int64)
        self._late = 0

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

    def legs_ms(self) -> dict[str, NDArray[np.float64]]:
        """Leg -> its duration for every remembered frame that passed both ends, oldest first."""
        with self._lock:
            used = np.flatnonzero(self._seq >= 0)
            order = used[np.argsort(self._seq[used], kind="stable")]
            times = self._times_ns[order]
        legs: dict[str, NDArray[np.float64]] = {}
        for leg, (start, end) in LEGS.items():
            first, last = times[:, _COLUMN[start]], times[:, _COLUMN[end]]
            both = (first > 0) & (last > 0)
            legs[leg] = (last[both] - first[both]) / 1e6
        return legs

    def summary(self) -> dict[str, dict[str, float]]:
        """Leg -> ``p50``, ``p95``, ``p99`` in ms, for the legs that were measured at all."""
        return {leg: _percentiles(ms) for leg, ms in self.legs_ms().items() if ms.size}


def _percentiles(ms: NDArray[np.float64]) -> dict[str, float]:
    p50, p95, p99 = np.percentile(ms, (50, 95, 99))
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99)}
