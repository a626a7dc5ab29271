"""From the pixels of one image to the world that tracks live in, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.result import ImageContext
from models.tracking.bodies import AWAY, Bodies, Reals


class View:
    """Where one image lies: on the stage in µm, or, uncalibrated, in its own pixels."""

    def __init__(self, context: ImageContext) -> None:
        self.calibrated = context.px_to_um is not None
        if context.px_to_um is None:
            self.turn: Reals = np.eye(2)
            self.shift: Reals = np.zeros(2)
        else:
            m = np.asarray(context.px_to_um, dtype=np.float64)
            # the affine takes (x, y); places here are (y, x)
            self.turn = np.array([[m[1, 1], m[1, 0]], [m[0, 1], m[0, 0]]])
            self.shift = np.array([m[1, 2], m[0, 2]])
        (a, b), (c, d) = self.turn.tolist()
        det = a * d - b * c
        if det == 0:
            raise np.linalg.LinAlgError("px_to_um has no inverse: it takes two pixels to one place")
        self.back: Reals = np.array([[d, -b], [-c, a]]) / det
        self.scale = abs(det)
        """World area of one pixel."""

    def to_world(self, place: Reals) -> Reals:
        """(n, 2) pixels y, x to world y, x."""
        if not self.calibrated:
            return place.copy()
        return np.asarray(place @ self.turn.T + self.shift)

    def to_image(self, place: Reals) -> Reals:
        """(n, 2) world y, x to pixels y, x."""
        if not self.calibrated:
            return place.copy()
        return np.asarray((place - self.shift) @ self.back.T)

    def vector_to_image(self, vector: Reals) -> Reals:
        """(n, 2) world displacements to pixels."""
        return np.asarray(vector @ self.back.T) if self.calibrated else vector.copy()

    def offsets_to_world(self, offsets: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, k, 2) pixel offsets, as `probes_of` gives them."""
        return self._offsets(offsets, self.turn)

    def offsets_to_image(self, offsets: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, k, 2) world offsets to pixels."""
        return self._offsets(offsets, self.back)

    def _offsets(self, offsets: NDArray[np.float32], by: Reals) -> NDArray[np.float32]:
        if not self.calibrated:
            return np.ascontiguousarray(offsets)
        y, x = offsets[..., 0], offsets[..., 1]
        out = np.empty(offsets.shape, dtype=np.float32)
        for axis in (0, 1):
            out[..., axis] = np.float32(by[axis, 0]) * y + np.float32(by[axis, 1]) * x
        out[y == AWAY] = AWAY
        return out

    def spread_to_world(self, spread: Reals) -> Reals:
        """Second moments (n, 3)."""
        return _turned(spread, self.turn) if self.calibrated else spread.copy()

    def spread_to_image(self, spread: Reals) -> Reals:
        """Second moments (n, 3)."""
        return _turned(spread, self.back) if self.calibrated else spread.copy()


def _turned(spread: Reals, by: Reals) -> Reals:
    yy, xx, xy = spread.T
    (a, b), (c, d) = by.tolist()
    return np.stack(
        [
            a * a * yy + 2 * a * b * xy + b * b * xx,
            c * c * yy + 2 * c * d * xy + d * d * xx,
            a * c * yy + (a * d + b * c) * xy + b * d * xx,
        ],
        axis=1,
    )


MOVED = 0.5
"""Part of its reach that an object must lie farther from the border than it would have before."""


class Field:
    """The rectangle that the image shows, in its pixels."""

    def __init__(
        self,
        labels: NDArray[np.integer[Any]] | None,
        expected: Bodies,
        found: Bodies,
        shown: Reals | None = None,
    ) -> None:
        self.shown = shown
        """(2, 2) low and high corner (y, x) of what the frame before showed, in these pixels."""
        if labels is not None:
            self.low, self.high = np.zeros(2) - 0.5, np.array(labels.shape) - 0.5
            return
        # points alone do not say how large the image was: as large as they reach
        every = np.concatenate([expected.place, found.place])
        if len(every) == 0:
            every = np.zeros((1, 2))
        self.low, self.high = every.min(axis=0), every.max(axis=0)

    def inside(self, place: Reals) -> NDArray[np.bool_]:
        """(n,) whether places (n, 2) are in the image."""
        return _least(place, self.low, self.high) >= 0

    def corners(self) -> Reals:
        """(2, 2) low and high corner, y and x, pixels."""
        return np.stack([self.low, self.high])

    def on_new_ground(self, bodies: Bodies) -> NDArray[np.bool_]:
        """(n,) whether a body reaches beyond what the frame before showed: the stage has moved."""
        if self.shown is None:
            return np.zeros(len(bodies), dtype=bool)
        low, high = self.shown.min(axis=0), self.shown.max(axis=0)
        before = _least(bodies.place, low, high)
        # what the border cuts now as it did then is on no new ground
        more = self._margin(bodies) - before
        return np.asarray((before < bodies.reach) & (more > MOVED * bodies.reach))

    def at_border(self, bodies: Bodies) -> NDArray[np.bool_]:
        """(n,) whether a body reaches the border, or is beyond it."""
        return np.asarray(self._margin(bodies) < bodies.reach)

    def _margin(self, bodies: Bodies) -> Reals:
        return _least(bodies.place, self.low, self.high)


def _least(place: Reals, low: Reals, high: Reals) -> Reals:
    """Distance (n,) of places to the nearest side of a rectangle, negative outside."""
    y, x = place.T
    (y0, x0), (y1, x1) = low.tolist(), high.tolist()
    return np.asarray(np.minimum(np.minimum(y - y0, y1 - y), np.minimum(x - x0, x1 - x)))
