"""How fast an object moves, from the last frames; for aiming at where it will be."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

FRAMES = 5


class Motion:
    """Remembers where all objects were in the last few frames."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, NDArray[np.void]]] = deque(maxlen=FRAMES)

    def take(self, objects: NDArray[np.void], captured_ns: int) -> None:
        """Remember a frame: (n,) of ``OBJECT_DTYPE``, kept and not changed."""
        self._seen.append((captured_ns / 1e9, objects))

    def velocity(self, track: int) -> tuple[float, float]:
        """Mean velocity (x, y) in µm/s over the frames that show a track; 0 where unknown."""
        places = []
        for time_s, objects in self._seen:
            at = np.flatnonzero(objects["track_id"] == track)
            if len(at) == 1:
                row = objects[at[0]]
                places.append((time_s, float(row["x_um"]), float(row["y_um"])))
        known = np.array([place for place in places if np.isfinite(place).all()])
        if len(known) < 2 or known[-1, 0] - known[0, 0] <= 0:
            return 0.0, 0.0
        vx, vy = (known[-1, 1:] - known[0, 1:]) / (known[-1, 0] - known[0, 0])
        return float(vx), float(vy)
