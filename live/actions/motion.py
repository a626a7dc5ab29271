"""How fast an object moves, from the last frames; for aiming at where it will be."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

FRAMES = 5
FEWEST = 3
"""Sightings below which nothing is said: two can be of two objects, linked by mistake."""


class Motion:
    """Remembers where all objects were in the last few frames."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, NDArray[np.void]]] = deque(maxlen=FRAMES)

    def take(self, objects: NDArray[np.void], captured_ns: int) -> None:
        """Remember a frame: (n,) of ``OBJECT_DTYPE``, kept and not changed."""
        self._seen.append((captured_ns / 1e9, objects))

    def velocity(self, track: int) -> tuple[float, float]:
        """Velocity (x, y) in µm/s over the frames that show a track; 0 where it is unknown, or no
        larger than the scatter of the steps: a centre trembles with its outline.
        """
        places = []
        for time_s, objects in self._seen:
            at = np.flatnonzero(objects["track_id"] == track)
            if len(at) == 1:
                row = objects[at[0]]
                places.append((time_s, float(row["x_um"]), float(row["y_um"])))
        known = np.array([place for place in places if np.isfinite(place).all()])
        if len(known) < FEWEST or known[-1, 0] - known[0, 0] <= 0:
            return 0.0, 0.0
        steps = np.diff(known[:, 1:], axis=0) / np.diff(known[:, 0])[:, None]
        usual = np.median(steps, axis=0)
        scatter = np.hypot(*np.median(np.abs(steps - usual), axis=0))
        if np.hypot(*usual) <= scatter:
            return 0.0, 0.0
        return float(usual[0]), float(usual[1])
