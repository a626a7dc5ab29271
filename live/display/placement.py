"""Where the overlay of one frame belongs on another.

A result is older than the frame on screen. When the stage moved in between, its outlines are
shifted by the stage's way; when that is not known, they are not drawn rather than drawn wrongly.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from live.display.view_model import ShownFrame, ShownResult

FRAMES_REMEMBERED = 512
STILL_PX = 0.5
"""A stage that wandered less than this between two frames stood still."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """The stage position in pixels, with what makes two of them comparable."""

    y_px: float
    x_px: float
    scale: tuple[float, int, int]
    """Pixel size (µm) and shape of the picture."""


@dataclass(frozen=True, slots=True)
class Placement:
    """How to draw an overlay on the frame on screen."""

    visible: bool
    y_px: float = 0.0
    """Add to positions of the result to get positions in the frame on screen."""
    x_px: float = 0.0
    lag_frames: int = 0
    """How many frames the result is behind; negative when it is ahead."""
    why: str = ""
    """Why it is hidden."""


def anchor_of(frame: ShownFrame, x_um: float | None = None, y_um: float | None = None) -> Anchor:
    """Stage position in pixels of a frame, or of another position under the same optics."""
    x = frame.x_um if x_um is None else x_um
    y = frame.y_um if y_um is None else y_um
    height, width = frame.pixels.shape
    scale = (frame.pixel_size_um, height, width)
    if _is_calibrated_by_matrix(frame):
        turn = np.asarray(frame.px_to_um)[:2, :2]
        x_px, y_px = np.linalg.solve(turn, np.array([x, y], np.float64))
        return Anchor(float(y_px), float(x_px), scale)
    if frame.pixel_size_um > 0:
        return Anchor(y / frame.pixel_size_um, x / frame.pixel_size_um, scale)
    # without a pixel size only "it stands still" and "it moved" can be told apart
    return Anchor(y * 1e6, x * 1e6, scale)


class StageMemory:
    """Where the stage stood for the frames shown lately; bounded."""

    def __init__(self, size: int = FRAMES_REMEMBERED) -> None:
        self._size = size
        self._anchors: OrderedDict[int, Anchor] = OrderedDict()

    def remember(self, frame: ShownFrame) -> None:
        """Keep one frame's stage position; forget the oldest beyond the bound."""
        self._anchors[frame.seq] = anchor_of(frame)
        while len(self._anchors) > self._size:
            self._anchors.popitem(last=False)

    def at(self, seq: int) -> Anchor | None:
        """Where the stage stood for a frame.

        For a frame that was never shown: where it stood both before and after it, if those agree;
        None when they do not, or when the frame lies outside what is remembered.
        """
        if seq in self._anchors:
            return self._anchors[seq]
        before = [s for s in self._anchors if s < seq]
        after = [s for s in self._anchors if s > seq]
        if not before or not after:
            return None
        first, second = self._anchors[max(before)], self._anchors[min(after)]
        return first if _is_same_place(first, second) else None


def place(frame: ShownFrame, result: ShownResult, memory: StageMemory) -> Placement:
    """Say where the overlay of ``result`` belongs on ``frame``.

    Parameters
    ----------
    frame
        The frame on screen.
    result
        The newest result.
    memory
        Asked only when the result does not say where its stage stood.
    """
    lag = frame.seq - result.seq
    if result.labels.shape != frame.pixels.shape:
        return Placement(False, lag_frames=lag, why="picture size changed")
    here = anchor_of(frame)
    if result.pixel_size_um not in (None, frame.pixel_size_um):
        return Placement(False, lag_frames=lag, why="magnification changed")
    if lag == 0:
        return Placement(True)
    if result.x_um is not None and result.y_um is not None:
        there: Anchor | None = anchor_of(frame, result.x_um, result.y_um)
    else:
        there = memory.at(result.seq)
    if there is None:
        return Placement(False, lag_frames=lag, why="stage position unknown")
    if there.scale != here.scale:
        return Placement(False, lag_frames=lag, why="magnification changed")
    calibrated = frame.pixel_size_um > 0 or _is_calibrated_by_matrix(frame)
    if not calibrated and not _is_same_place(here, there):
        return Placement(False, lag_frames=lag, why="stage moved, uncalibrated")
    return Placement(True, there.y_px - here.y_px, there.x_px - here.x_px, lag)


def _is_same_place(one: Anchor, other: Anchor) -> bool:
    near = abs(one.y_px - other.y_px) < STILL_PX and abs(one.x_px - other.x_px) < STILL_PX
    return near and one.scale == other.scale


def _is_calibrated_by_matrix(frame: ShownFrame) -> bool:
    """Whether the frame has a matrix that can be turned round; a broken one is as good as none."""
    return frame.px_to_um is not None and abs(np.linalg.det(frame.px_to_um[:2, :2])) > 1e-12
