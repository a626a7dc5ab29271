"""Which frame lies where: image number and index on its t axis, fixed when the frame comes in."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from drivers.frame import FrameMeta, Pixels
from live.recording.zarrstore import ImageLayout

REMEMBERED: Final = 2_000
"""Results come a few frames after their frame; beyond this many they are too late to be saved."""


@dataclass(frozen=True, slots=True)
class FramePlace:
    """Where one frame is written."""

    seq: int
    store: int
    """Number of the raw image, as in ``raw-000.ome.zarr``."""
    t_index: int
    layout: ImageLayout


@dataclass(frozen=True, slots=True)
class ClosedImage:
    """What a raw image ended up as; what follows it is closed the same."""

    length: int
    interval_s: float


class RawIndex:
    """Assigns places in order of arrival. One thread assigns, any may ask.

    A new image begins when shape, dtype or pixel size change, and after ``frames_per_store``
    frames: the metadata of an image is one JSON document, and folders have their limits too.

    Parameters
    ----------
    frames_per_store
        Frames in one image at most.
    interval_s
        Nominal time between frames; None when the plan has none, then the mean is measured.
    """

    def __init__(self, frames_per_store: int, interval_s: float | None) -> None:
        self._per_store, self._interval_s = frames_per_store, interval_s
        self._changed = threading.Condition()
        # written at once: what fills up with time looks like a leak
        self._places = np.full((REMEMBERED, 3), -1, np.int64)
        """Frame, image and index on its t axis, at the frame's number modulo the length."""
        self._layouts: dict[int, ImageLayout] = {}
        self._last: FramePlace | None = None
        self._first_ns: int | None = None
        self._made: set[int] = set()
        self._closed: dict[int, ClosedImage] = {}

    def assign(self, pixels: Pixels, meta: FrameMeta) -> FramePlace:
        """Place of the next frame."""
        if self._first_ns is None:
            self._first_ns = meta.captured_ns
        layout = ImageLayout(
            height=pixels.shape[0],
            width=pixels.shape[1],
            dtype=pixels.dtype.name,
            pixel_size_um=meta.pixel_size_um,
            interval_s=self._interval_s or 1.0,
        )
        last = self._last
        if last is None:
            place = FramePlace(meta.seq, 0, 0, layout)
        elif _same(layout, last.layout) and last.t_index + 1 < self._per_store:
            place = FramePlace(meta.seq, last.store, last.t_index + 1, last.layout)
        else:
            began = replace(layout, start_s=self.delta_s(meta.captured_ns))
            place = FramePlace(meta.seq, last.store + 1, 0, began)
        with self._changed:
            self._last = place
            self._places[meta.seq % REMEMBERED] = place.seq, place.store, place.t_index
            self._layouts[place.store] = place.layout
            if len(self._layouts) > REMEMBERED:
                del self._layouts[next(iter(self._layouts))]
            self._changed.notify_all()
        return place

    def delta_s(self, captured_ns: int) -> float:
        """Seconds since the first frame of the run."""
        return (captured_ns - (self._first_ns or captured_ns)) / 1e9

    def place(self, seq: int) -> FramePlace | None:
        """Where frame ``seq`` is; None when it is unknown or long past."""
        with self._changed:
            return self._place(seq)

    def wait_place(self, seq: int, timeout_s: float) -> FramePlace | None:
        """As `place`, of a frame that may not have come in yet.

        Inference hears of a frame before the recorder does, and on a busy machine it can answer
        first.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._last is not None and self._last.seq >= seq, timeout_s
            )
            return self._place(seq)

    def _place(self, seq: int) -> FramePlace | None:
        found, store, t_index = self._places[seq % REMEMBERED].tolist()
        layout = self._layouts.get(store)
        if found != seq or layout is None:
            return None
        return FramePlace(seq, store, t_index, layout)

    def set_made(self, store: int) -> None:
        """Raw image ``store`` exists now, so that others may be put inside it."""
        with self._changed:
            self._made.add(store)
            self._changed.notify_all()

    def wait_made(self, store: int, timeout_s: float) -> bool:
        """Whether raw image ``store`` exists within ``timeout_s``."""
        with self._changed:
            return self._changed.wait_for(lambda: store in self._made, timeout_s)

    def set_closed(self, store: int, length: int, mean_interval_s: float | None) -> None:
        """Raw image ``store`` is complete."""
        interval_s = self._interval_s or mean_interval_s or 1.0
        with self._changed:
            self._closed[store] = ClosedImage(length, interval_s)

    def closed(self, store: int) -> ClosedImage | None:
        """What raw image ``store`` ended up as; None while it is being written."""
        with self._changed:
            return self._closed.get(store)


def _same(layout: ImageLayout, other: ImageLayout) -> bool:
    return replace(layout, start_s=other.start_s, interval_s=other.interval_s) == other
