"""What is on screen, as values: the newest frame, the newest result, and how they fit together.

No Qt and no clock of its own: the same scene feeds the window and the picture that is drawn where
Qt cannot run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from live.display.contrast import AutoContrast, Levels
from live.display.placement import Anchor, Placement, StageMemory, anchor_of, place
from live.display.recent import RecentFrames
from live.display.trails import Flash, Trails
from live.display.view_model import ShownFrame, ShownResult

PIXEL_CENTRE = 0.5
"""Centroids count from the middle of the first pixel, the drawing from its corner."""
TARGET_SHARE = 0.06


@dataclass(frozen=True, slots=True)
class Dot:
    """A dot on one object, (y, x) in pixels of the frame on screen."""

    y_px: float
    x_px: float
    colour: int
    """Row of ``live.display.outlines.PALETTE``."""


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """What to draw over the picture beside outlines, in pixels of the frame on screen."""

    objects: NDArray[np.void] | None = None
    """Objects whose ids are written, (n,) of ``OBJECT_DTYPE``; None for no ids."""
    y_px: float = 0.0
    """Shift of the objects, see ``placement``."""
    x_px: float = 0.0
    tail_y_px: float = 0.0
    """Shift of tails and flashes: minus the stage's own position."""
    tail_x_px: float = 0.0
    flashes: list[Flash] = field(default_factory=list)
    target: tuple[float, float, float] | None = None
    """(y, x, radius) of the ring round what a burst looks at."""
    by_class: bool = False
    """Ids have the colour of their class."""
    dots: list[Dot] = field(default_factory=list)


class Scene:
    """Newest frame and result with what the window remembers of earlier ones; bounded."""

    def __init__(self) -> None:
        self.frame: ShownFrame | None = None
        self.result: ShownResult | None = None
        self.source: ShownFrame | None = None
        """The frame that the result was found in; None when it never came or came too long ago."""
        self.passed_over = 0
        """Frames captured between two that were shown."""
        self.contrast = AutoContrast()
        self.trails = Trails()
        self._memory = StageMemory()
        self._recent = RecentFrames()
        self._scale: tuple[float, int, int] | None = None

    def take_frame(self, frame: ShownFrame, now_s: float) -> None:
        """Make this the frame on screen; an older one than that on screen starts a new run."""
        if self.frame is not None and frame.seq < self.frame.seq:
            self._memory = StageMemory()
            self.trails.clear()
            self._recent = RecentFrames()
            self.result = self.source = None
        elif self.frame is not None:
            self.passed_over += frame.seq - self.frame.seq - 1
        self.frame = frame
        self._memory.remember(frame)
        self._recent.remember(frame)
        if self.result is not None and self.source is None:
            self.source = self._recent.of(self.result)
        scale = anchor_of(frame).scale
        if scale != self._scale:
            self.trails.clear()
            self._scale = scale
        self.contrast.update(frame.pixels, frame.channel, now_s)

    def take_result(self, result: ShownResult, now_s: float) -> None:
        """Make this the result on screen and lengthen the tails by it."""
        self.result, self.source = result, self._recent.of(result)
        anchor = self._anchor(result)
        if anchor is not None and anchor.scale == self._scale:
            self.trails.add(result.objects, anchor, now_s)

    def levels(self) -> Levels:
        """Levels of the frame on screen."""
        return self.contrast.levels(self.frame.channel if self.frame is not None else "")

    def placement(self) -> Placement | None:
        """Where the overlay goes; None while a frame or a result is missing."""
        if self.frame is None or self.result is None:
            return None
        return place(self.frame, self.result, self._memory)

    def marks(
        self,
        placement: Placement | None,
        *,
        ids: bool,
        tails: bool,
        target_um: tuple[float, float] | None,
        now_s: float,
        by_class: bool = False,
        dots: Sequence[Dot] = (),
    ) -> Marks:
        """Marks for the frame on screen.

        Parameters
        ----------
        placement
            Of the result on screen.
        ids, tails
            Whether to write ids and to place tails.
        target_um
            Stage position (x, y) of what a burst looks at, or None.
        now_s
            Clock of ``take_result``.
        by_class
            Whether colours tell classes.
        dots
            Dots on objects, in pixels of the result.
        """
        if self.frame is None:
            return Marks()
        here = anchor_of(self.frame)
        seen = placement is not None and placement.visible and self.result is not None
        return Marks(
            objects=self.result.objects if ids and seen and self.result is not None else None,
            y_px=placement.y_px if placement is not None else 0.0,
            x_px=PIXEL_CENTRE + (placement.x_px if placement is not None else 0.0),
            tail_y_px=PIXEL_CENTRE - here.y_px,
            tail_x_px=PIXEL_CENTRE - here.x_px,
            flashes=self.trails.flashes(now_s) if seen or tails else [],
            target=self._target(target_um, here),
            by_class=by_class,
            dots=[
                Dot(
                    dot.y_px + PIXEL_CENTRE + placement.y_px,
                    dot.x_px + PIXEL_CENTRE + placement.x_px,
                    dot.colour,
                )
                for dot in dots
                if seen and placement is not None
            ],
        )

    def _anchor(self, result: ShownResult) -> Anchor | None:
        if self.frame is None or result.labels.shape != self.frame.pixels.shape:
            return None
        if result.x_um is not None and result.y_um is not None:
            return anchor_of(self.frame, result.x_um, result.y_um)
        return self._memory.at(result.seq)

    def _target(
        self, target_um: tuple[float, float] | None, here: Anchor
    ) -> tuple[float, float, float] | None:
        frame = self.frame
        if frame is None or target_um is None or frame.pixel_size_um <= 0:
            return None
        there = anchor_of(frame, *target_um)
        height, width = frame.pixels.shape
        y, x = height / 2 + there.y_px - here.y_px, width / 2 + there.x_px - here.x_px
        return y, x, max(TARGET_SHARE * min(height, width), 8.0)
