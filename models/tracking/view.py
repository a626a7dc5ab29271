"""From the pixels of one image to the world that tracks live in, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.result import ImageContext
from models.tracking.bodies import Bodies, Reals


class View:
    """Where one image lies: on the stage in µm, or, uncalibrated, in its own pixels."""

    def __init__(self, context: ImageContext) -> None:
        self.calibrated = context.px_to_um is not None
        if context.px_to_um is None:
            self.turn, self.shift = np.eye(2), np.zeros(2)
        else:
            m = np.asarray(context.px_to_um, dtype=np.float64)
            # the affine takes (x, y); places here are (y, x)
            self.turn = np.array([[m[1, 1], m[1, 0]], [m[0, 1], m[0, 0]]])
            self.shift = np.array([m[1, 2], m[0, 2]])
        self.back = np.linalg.inv(self.turn)
        self.scale = float(np.abs(np.linalg.det(self.turn)))
        """World area of one pixel."""

    def to_world(self, place: Reals) -> Reals:
        """(n, 2) pixels y, x to world y, x."""
        return np.asarray(place @ self.turn.T + self.shift)

    def to_image(self, place: Reals) -> Reals:
        """(n, 2) world y, x to pixels y, x."""
        return np.asarray((place - self.shift) @ self.back.T)

    def vector_to_image(self, vector: Reals) -> Reals:
        """(n, 2) world displacements to pixels."""
        return np.asarray(vector @ self.back.T)

    def spread_to_world(self, spread: Reals) -> Reals:
        """Second moments (n, 3)."""
        return _turned(spread, self.turn)

    def spread_to_image(self, spread: Reals) -> Reals:
        """Second moments (n, 3)."""
        return _turned(spread, self.back)


def _turned(spread: Reals, by: Reals) -> Reals:
    full = np.stack([spread[:, [0, 2]], spread[:, [2, 1]]], axis=1)
    new = by @ full @ by.T
    return np.stack([new[:, 0, 0], new[:, 1, 1], new[:, 0, 1]], axis=1)


class Field:
    """The rectangle that the image shows, in its pixels."""

    def __init__(
        self, labels: NDArray[np.integer[Any]] | None, expected: Bodies, found: Bodies
    ) -> None:
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
        return np.asarray(((place >= self.low) & (place <= self.high)).all(axis=1))

    def at_border(self, bodies: Bodies) -> NDArray[np.bool_]:
        """(n,) whether a body reaches the border, or is beyond it."""
        margin = np.minimum(bodies.place - self.low, self.high - bodies.place).min(axis=1)
        return np.asarray(margin < bodies.reach)
