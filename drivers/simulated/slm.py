"""A spatial light modulator for the simulated rig: keeps what it showed, and for how long."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray
from pymmcore_plus.experimental.unicore import SLMDevice

from drivers.simulated.settings import SLM_SIDE_PX as SIDE_PX

SLM = "Simulated SLM"
MOST_SHOWN = 100


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One pattern that was lit."""

    mask: NDArray[np.uint8]
    """(y, x)."""
    began_ns: int
    """Monotonic clock."""


class SimulatedSlm(SLMDevice):
    """Square, 8 bit; covers the camera's field. The cells do not mind its light."""

    def __init__(self) -> None:
        super().__init__()
        self._loaded = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
        self._exposure_ms = 100.0
        self.lit = False
        """Whether a pixel is on at this moment."""
        self.shown: deque[Shown] = deque(maxlen=MOST_SHOWN)

    def shape(self) -> tuple[int, ...]:
        """Height and width in pixels."""
        return SIDE_PX, SIDE_PX

    def dtype(self) -> DTypeLike:
        """Of a pixel."""
        return np.uint8

    def set_image(self, pixels: np.ndarray) -> None:
        """Load a pattern."""
        self._loaded = np.array(pixels, dtype=np.uint8)

    def get_image(self) -> np.ndarray:
        """The pattern that is loaded."""
        return self._loaded

    def display_image(self) -> None:
        """Show the pattern that is loaded until another one is."""
        self.lit = bool(self._loaded.any())
        if self.lit:
            self.shown.append(Shown(self._loaded, time.monotonic_ns()))

    def set_exposure(self, interval_ms: float) -> None:
        """Note how long a pattern is meant to be shown."""
        self._exposure_ms = interval_ms

    def get_exposure(self) -> float:
        """How long a pattern is meant to be shown, ms."""
        return self._exposure_ms
