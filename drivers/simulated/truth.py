"""What really happened in front of the camera: divisions that captured frames could show."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivers.frame import FrameMeta
from drivers.rig import TrueDivision
from drivers.simulated.cells import YOUNG_UNTIL
from drivers.simulated.optics import View, label_image
from drivers.simulated.sample import Division
from drivers.simulated.scene import Exposure

_KEPT_FRAMES = 1_000_000
_KEPT_PICTURES = 256


@dataclass(frozen=True, slots=True)
class Seen:
    """One captured frame."""

    seq: int
    captured_ns: int
    time_s: float
    """Biological time of its exposure."""
    view: View
    """In the coordinates of the sample."""
    drift_um: tuple[float, float]
    lit: bool

    def shows(self, x_um: float, y_um: float) -> bool:
        """Whether a place in the sample lies in the field of view, and there was light."""
        height, width = self.view.shape
        half = self.view.pixel_um / 2
        inside_x = abs(x_um - self.view.x_um) <= half * width
        return self.lit and inside_x and abs(y_um - self.view.y_um) <= half * height


class Truth:
    """Remembers what was captured in a run; the oldest is forgotten when there is very much.

    Parameters
    ----------
    cycle_s
        Mean time between divisions of a cell, which says how long daughters look new.
    """

    def __init__(self, cycle_s: float) -> None:
        self._fresh_s = YOUNG_UNTIL * cycle_s
        self._seen: deque[Seen] = deque(maxlen=_KEPT_FRAMES)
        self._pictures: dict[int, Exposure] = {}

    def add(self, meta: FrameMeta, exposure: Exposure) -> None:
        """One frame that the rig gave, in order."""
        self._seen.append(
            Seen(
                meta.seq,
                meta.captured_ns,
                exposure.time_s,
                exposure.view,
                exposure.drift_um,
                exposure.lit,
            )
        )
        self._pictures[meta.seq] = exposure
        if len(self._pictures) > _KEPT_PICTURES:
            del self._pictures[next(iter(self._pictures))]

    def labels(self, seq: int) -> NDArray[np.int32] | None:
        """(y, x) int32 true outlines in frame ``seq``: ids, 0 is background; None when long ago."""
        exposure = self._pictures.get(seq)
        return None if exposure is None else label_image(exposure.cells, exposure.view)

    def exposure(self, seq: int) -> Exposure | None:
        """What frame ``seq`` saw, None when long ago."""
        return self._pictures.get(seq)

    def divisions(self, divisions: Iterable[Division]) -> list[TrueDivision]:
        """Those that a captured frame shows while the daughters still look new.

        Parameters
        ----------
        divisions
            Of the sample, in time order.
        """
        seen = list(self._seen)
        times = [one.time_s for one in seen]
        found = []
        for division in divisions:
            for one in seen[bisect_left(times, division.time_s - 1e-9) :]:
                if one.time_s > division.time_s + self._fresh_s:
                    break
                if one.shows(division.x_um, division.y_um):
                    found.append(_true_division(division, one))
                    break
        return found


def _true_division(division: Division, seen: Seen) -> TrueDivision:
    return TrueDivision(
        seq=seen.seq,
        captured_ns=seen.captured_ns,
        x_um=division.x_um + seen.drift_um[0],
        y_um=division.y_um + seen.drift_um[1],
        parent=division.mother,
        daughters=division.daughters,
    )
