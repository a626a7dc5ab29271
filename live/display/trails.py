"""Where tracks came from and what just divided: bounded memory, plain numbers.

Positions are kept in pixels of the stage (position in the picture plus the stage's own, in pixels),
so that they stay with the cells when the stage moves.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from live.display.outlines import colour_index
from live.display.placement import Anchor

TAIL_POINTS = 20
TRACKS_KEPT = 1000
TAILS_DRAWN = 200
FORGET_AFTER = 10
"""Results without a track after which its tail goes."""
FLASH_S = 2.5
FLASHES_KEPT = 32


@dataclass(frozen=True, slots=True, eq=False)
class TailLines:
    """Tails of one colour: points (n, 2) as (y, x) px; ``joined[i]`` says i continues to i + 1."""

    colour: int
    points: NDArray[np.float64]
    joined: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Flash:
    """A ring round a new daughter cell."""

    y_px: float
    x_px: float
    radius_px: float
    age: float
    """0 when new, 1 when it goes."""


@dataclass(slots=True)
class _Flashing:
    track_id: int
    y_px: float
    x_px: float
    radius_px: float
    born_s: float


class Trails:
    """Tails and flashes of the tracks of one run."""

    def __init__(self) -> None:
        self._tails: OrderedDict[int, deque[tuple[float, float]]] = OrderedDict()
        self._unseen: dict[int, int] = {}
        self._flashes: deque[_Flashing] = deque(maxlen=FLASHES_KEPT)
        self._flashed: deque[int] = deque(maxlen=4 * FLASHES_KEPT)

    def clear(self) -> None:
        """Forget everything, as after a change of magnification."""
        self._tails.clear()
        self._unseen.clear()
        self._flashes.clear()

    def __len__(self) -> int:
        return len(self._tails)

    def add(self, objects: NDArray[np.void], anchor: Anchor, now_s: float) -> None:
        """Take the objects (n,) of one result in, found with the stage at ``anchor``."""
        tracked = objects[objects["track_id"] > 0]
        ids = tracked["track_id"].tolist()
        ys = (tracked["y_px"].astype(np.float64) + anchor.y_px).tolist()
        xs = (tracked["x_px"].astype(np.float64) + anchor.x_px).tolist()
        here = {flash.track_id: flash for flash in self._flashes}
        for track_id, y, x in zip(ids, ys, xs, strict=True):
            tail = self._tails.setdefault(track_id, deque(maxlen=TAIL_POINTS))
            tail.append((y, x))
            self._tails.move_to_end(track_id)
            if track_id in here:
                here[track_id].y_px, here[track_id].x_px = y, x
        self._forget(set(ids))
        for row in tracked[tracked["divided"]]:
            self._flash(row, anchor, now_s)

    def tails(self) -> list[TailLines]:
        """Tails of the tracks seen last, at most ``TAILS_DRAWN``, grouped by colour."""
        groups: dict[int, list[deque[tuple[float, float]]]] = {}
        ids = [i for i in reversed(self._tails) if len(self._tails[i]) > 1][:TAILS_DRAWN]
        colours = colour_index(np.array(ids, np.int64)).tolist()
        for track_id, colour in zip(ids, colours, strict=True):
            groups.setdefault(colour, []).append(self._tails[track_id])
        lines = []
        for colour, tails in groups.items():
            points = np.array([point for tail in tails for point in tail], np.float64)
            joined = np.ones(len(points), np.bool_)
            joined[np.cumsum([len(tail) for tail in tails]) - 1] = False
            lines.append(TailLines(colour, points, joined))
        return lines

    def flashes(self, now_s: float) -> list[Flash]:
        """Rings still to be drawn."""
        while self._flashes and now_s - self._flashes[0].born_s > FLASH_S:
            self._flashes.popleft()
        return [
            Flash(f.y_px, f.x_px, f.radius_px, min(max((now_s - f.born_s) / FLASH_S, 0.0), 1.0))
            for f in self._flashes
        ]

    def _forget(self, seen: set[int]) -> None:
        self._unseen = {i: self._unseen.get(i, -1) + 1 for i in self._tails if i not in seen}
        for track_id, missed in self._unseen.items():
            if missed >= FORGET_AFTER:
                del self._tails[track_id]
        while len(self._tails) > TRACKS_KEPT:
            self._tails.popitem(last=False)

    def _flash(self, row: np.void, anchor: Anchor, now_s: float) -> None:
        track_id = int(row["track_id"])
        if track_id in self._flashed:
            return
        self._flashed.append(track_id)
        extent = max(row["bbox_y1"] - row["bbox_y0"], row["bbox_x1"] - row["bbox_x0"], 8)
        y, x = float(row["y_px"]) + anchor.y_px, float(row["x_px"]) + anchor.x_px
        self._flashes.append(_Flashing(track_id, y, x, 0.75 * float(extent), now_s))
