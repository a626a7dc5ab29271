"""What light an exposure puts on the sample, and who is asked before it goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

ENDLESS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Light:
    """Where and how long one frame lights the sample."""

    x_um: float
    """Stage position of the middle of the field."""
    y_um: float
    width_um: float
    """Of the field that is lit, as the whole camera sees it: an ROI darkens nothing. 0 where the
    pixel size is unknown."""
    height_um: float
    preset: str
    """Of the channel group; empty where the rig has none."""
    exposure_s: float
    period_s: float = 0.0
    """In a sequence, from one frame to the next where that is longer than the exposure: unless the
    camera triggers the light, the shutter stays open in between."""
    properties: dict[tuple[str, str], str] = field(default_factory=dict)
    """(device, property) -> value that events set since the preset was; may dim the light."""


class LightMeter(Protocol):
    """Counts light and holds it to a budget. At most one exposure or sequence is open at a time."""

    def room(self, light: Light) -> int | None:
        """How many such frames the budget still allows, 0 or more; None: any number."""

    def objection(self, wanted: Sequence[tuple[Light, int]]) -> str | None:
        """Why a block of so many frames each is more than the budget allows, or None."""

    def begin(self, light: Light, frames: int) -> None:
        """Set light aside for so many frames; raises ``LightSpent`` when there is not enough."""

    def end(self, frames: float, last_seq: int = -1) -> None:
        """So many frames of what was begun were really exposed; the rest is given back.

        ``last_seq`` is the count of the newest frame that came of it; -1 when none did.
        """


class LitSequence:
    """A sequence or live imaging that is going on, and how much of it was exposed.

    Parameters
    ----------
    count
        Frames that were asked for; None: until stopped.
    period_s
        From one frame to the next.
    """

    def __init__(self, count: int | None, period_s: float) -> None:
        self.read = 0
        self.last_seq = -1
        self._count = count
        self._period_s = period_s
        self._began_s = time.monotonic()

    def shortened(self, period_s: float) -> None:
        """Frames may follow each other this fast from now on."""
        self._period_s = min(self._period_s, period_s)

    def exposed(self) -> int:
        """Frames that were exposed at the most: one that nobody read lit the sample too."""
        if self._count is not None and self.read >= self._count:
            return self._count
        ran_s = time.monotonic() - self._began_s
        begun = math.ceil(ran_s / self._period_s) if self._period_s > 0 else ENDLESS
        most = ENDLESS if self._count is None else self._count
        return max(self.read, min(begun, most))
