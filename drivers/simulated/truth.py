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
_KEPT_CELLS = 400_000
_KEPT_PLACES = 20_000
OUTSIDE_PX = -1.0
"""Margin of what the image does not show."""

Places = tuple[NDArray[np.int32], NDArray[np.float64]]
"""Ids (n,) and places (n, 2) x, y of cells, um on the stage."""
Sighting = tuple[int, float]
"""Frame, and distance of the cell's centre from the nearest border of its image, px."""


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
        self._first: dict[int, Sighting] = {}
        self._last: dict[int, Sighting] = {}
        self._places: dict[int, Places] = {}

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
        if exposure.lit:
            self._note_cells(meta.seq, exposure)
        self._pictures[meta.seq] = exposure
        if len(self._pictures) > _KEPT_PICTURES:
            del self._pictures[next(iter(self._pictures))]

    def labels(self, seq: int) -> NDArray[np.int32] | None:
        """(y, x) int32 true outlines in frame ``seq``: ids, 0 is background; None when long ago."""
        exposure = self._pictures.get(seq)
        return None if exposure is None else label_image(exposure.cells, exposure.view)

    def cells_in(self, seq: int) -> Places | None:
        """Cells whose centre frame ``seq`` shows, and where on the stage; None when long ago."""
        return self._places.get(seq)

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
                    found.append(self._true_division(division, one))
                    break
        return found

    def _note_cells(self, seq: int, exposure: Exposure) -> None:
        margin = _margins(exposure)
        shown, cells = margin >= 0, exposure.cells
        ids = cells.ids[shown]
        at = np.stack([cells.x_um[shown], cells.y_um[shown]], axis=1).astype(np.float64)
        self._places[seq] = ids, at + exposure.drift_um
        if len(self._places) > _KEPT_PLACES:
            del self._places[next(iter(self._places))]
        for cell, margin_px in zip(ids.tolist(), margin[shown].tolist(), strict=True):
            self._first.setdefault(cell, (seq, margin_px))
            self._last.pop(cell, None)  # the newest comes last, so that the oldest is forgotten
            self._last[cell] = (seq, margin_px)
        for kept in (self._first, self._last):
            while len(kept) > _KEPT_CELLS:
                del kept[next(iter(kept))]

    def _true_division(self, division: Division, seen: Seen) -> TrueDivision:
        mother_seq, margin_px = self._last.get(division.mother, (-1, OUTSIDE_PX))
        for daughter in division.daughters:
            seq, own_px = self._first.get(daughter, (-1, OUTSIDE_PX))
            margin_px = min(margin_px, own_px if seq == seen.seq else OUTSIDE_PX)
        return TrueDivision(
            seq=seen.seq,
            captured_ns=seen.captured_ns,
            x_um=division.x_um + seen.drift_um[0],
            y_um=division.y_um + seen.drift_um[1],
            parent=division.mother,
            daughters=division.daughters,
            mother_seq=mother_seq,
            margin_px=margin_px,
        )


def _margins(exposure: Exposure) -> NDArray[np.float64]:
    """Distance (n,) of the cells' centres from the border of the image, px; negative outside."""
    cells, view = exposure.cells, exposure.view
    height, width = view.shape
    y = (cells.y_um.astype(np.float64) - view.y_um) / view.pixel_um + (height - 1) / 2
    x = (cells.x_um.astype(np.float64) - view.x_um) / view.pixel_um + (width - 1) / 2
    margin = np.minimum(np.minimum(y, height - 1 - y), np.minimum(x, width - 1 - x))
    return np.asarray(margin)
