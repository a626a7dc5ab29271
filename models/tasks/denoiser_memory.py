"""What a denoiser remembers of each place, and when it must not use it.

Earlier frames help only where they show the same place in the same way. A memory is kept for each
position, channel, image shape and epoch, and put aside when the stage, the focus or the exposure
moved, when numbers or the clock went back, or after a pause.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.result import ImageContext

MOST_PLACES = 16
"""Places remembered; beyond it the one unused for longest is forgotten."""

MOST_BYTES = 512 * 2**20
"""Memory that they take together, at most; the newest is always kept."""

MOVED_PX = 0.5
"""A stage that moved by more shows other pixels. Half a pixel, as a stage's own reports jitter."""

MOVED_UNKNOWN_UM = 0.05
"""The same where the pixel size is unknown: half a pixel of a strong objective."""

MOVED_Z_UM = 0.25
"""A focus that moved by more shows another plane; less is what autofocus does all the time."""

EXPOSURE_CHANGED = 0.01
"""Relative."""

INTERVALS = 8
"""Intervals between frames of which the middle one is the usual."""

Place = tuple[str, str, tuple[int, ...], str, int]
"""Position, channel, shape, dtype and epoch."""


@dataclass(slots=True)
class Memory:
    """What is kept of one place."""

    context: ImageContext
    """Of the newest frame."""
    state: NDArray[np.float32]
    """(1, s, y, x), what the network made of the frames so far."""
    intervals_s: deque[float] = field(default_factory=lambda: deque(maxlen=INTERVALS))


class Memories:
    """The memories of all places, bounded in number and bytes. One thread uses it."""

    def __init__(self, max_gap_intervals: float = 5.0) -> None:
        self._max_gap_intervals = max_gap_intervals
        self._kept: OrderedDict[Place, Memory] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def clear(self) -> None:
        """Forget every place."""
        self._kept.clear()

    def recall(
        self, shape: tuple[int, ...], dtype: str, context: ImageContext
    ) -> tuple[NDArray[np.float32] | None, str]:
        """State for the next frame of a place, or None and why it starts afresh."""
        memory = self._kept.get(place_of(shape, dtype, context))
        if memory is None:
            return None, "first frame of this place, channel and size"
        why = why_afresh(memory.context, context)
        if not why and self._paused(memory, context):
            why = "pause since the frame before"
        return (None, why) if why else (memory.state, "")

    def keep(
        self, shape: tuple[int, ...], dtype: str, context: ImageContext,
        state: NDArray[np.float32], *, fresh: bool,
    ) -> None:  # fmt: skip
        """Remember ``state``, of the frame that ``context`` tells of. It must not change later."""
        place = place_of(shape, dtype, context)
        old = self._kept.pop(place, None)
        memory = Memory(context, state)
        if old is not None and not fresh:
            # after a new start the rhythm may be another, so the old one is forgotten with it
            memory.intervals_s.extend([*old.intervals_s, context.time_s - old.context.time_s])
        self._kept[place] = memory
        while len(self._kept) > MOST_PLACES or (len(self._kept) > 1 and self._bytes() > MOST_BYTES):
            self._kept.popitem(last=False)

    def _bytes(self) -> int:
        return sum(memory.state.nbytes for memory in self._kept.values())

    def _paused(self, memory: Memory, context: ImageContext) -> bool:
        if not memory.intervals_s:
            return False
        usual = sorted(memory.intervals_s)[len(memory.intervals_s) // 2]
        since = context.time_s - memory.context.time_s
        return usual > 0 and since > self._max_gap_intervals * usual


def place_of(shape: tuple[int, ...], dtype: str, context: ImageContext) -> Place:
    """What a memory is kept under."""
    return context.position, context.channel, shape, dtype, context.epoch


def why_afresh(before: ImageContext, now: ImageContext) -> str:
    """Why the frame ``before`` does not help with the one ``now``; empty where it does."""
    if now.seq <= before.seq:
        return "frame numbers went back"
    if now.time_s < before.time_s:
        return "clock went back"
    if now.pixel_size_um != before.pixel_size_um:
        return "pixel size changed"
    moved_um = math.hypot(now.x_um - before.x_um, now.y_um - before.y_um)
    limit_um = MOVED_PX * now.pixel_size_um if now.pixel_size_um > 0 else MOVED_UNKNOWN_UM
    if moved_um > limit_um:
        return "stage moved"
    if abs(now.z_um - before.z_um) > MOVED_Z_UM:
        return "focus moved"
    larger = max(abs(now.exposure_ms), abs(before.exposure_ms))
    if abs(now.exposure_ms - before.exposure_ms) > EXPOSURE_CHANGED * larger:
        return "exposure changed"
    return ""
