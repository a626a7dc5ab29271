"""Frames shown lately, so that a click on an outline finds the pixels that it was found in."""

from __future__ import annotations

from collections import deque

from live.display.placement import STILL_PX, anchor_of
from live.display.view_model import ShownFrame, ShownResult

MOST_BYTES = 128 * 2**20
MOST_FRAMES = 256
NEAR_NS = 50_000_000
"""Two frames that are nearer in time show the same cells: at full camera rate not every frame is
sent to the window, and its neighbour serves as well."""


class RecentFrames:
    """The newest frames, bounded by bytes and number; they are kept as they came, not copied."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._frames: deque[ShownFrame] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    def remember(self, frame: ShownFrame) -> None:
        """Keep one frame; the oldest go beyond the bound, the newest always stays."""
        self._frames.append(frame)
        self._bytes += frame.pixels.nbytes
        while len(self._frames) > 1 and (
            self._bytes > self._most_bytes or len(self._frames) > MOST_FRAMES
        ):
            self._bytes -= self._frames.popleft().pixels.nbytes

    def of(self, result: ShownResult) -> ShownFrame | None:
        """The frame that a result was found in, or one that shows the same; None without."""
        fit = [frame for frame in self._frames if frame.pixels.shape == result.labels.shape]
        for frame in fit:
            if frame.seq == result.seq:
                return frame
        if not result.captured_ns or result.x_um is None or result.y_um is None:
            return None
        near = [frame for frame in fit if self._shows_the_same(frame, result)]
        return min(near, key=lambda f: abs(f.captured_ns - result.captured_ns), default=None)

    @staticmethod
    def _shows_the_same(frame: ShownFrame, result: ShownResult) -> bool:
        if abs(frame.captured_ns - result.captured_ns) > NEAR_NS:
            return False
        if frame.channel != result.channel:
            return False
        if result.pixel_size_um not in (None, frame.pixel_size_um):
            return False
        here, there = anchor_of(frame), anchor_of(frame, result.x_um, result.y_um)
        return abs(here.y_px - there.y_px) < STILL_PX and abs(here.x_px - there.x_px) < STILL_PX
