"""The simulated microscope without hardware, threads or waiting: the same sample and optics.

A run costs what its images and their analysis cost, comes out the same each time, and tells what
the program would do if it always kept up.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from drivers import FrameMeta, TrueDivision, px_to_um
from drivers.simulated.optics import View
from drivers.simulated.scene import Exposure, Scene
from drivers.simulated.settings import SimulatedSettings
from drivers.simulated.truth import Truth
from models.result import ImageContext

PIXEL_UM: Final = {"10X": 1.0, "20X": 0.5, "40X": 0.25}
EXPOSURE_MS: Final = 20.0


class VirtualScope:
    """A stage, an objective, a camera and a clock that only `snap` moves on.

    Parameters
    ----------
    settings
        Of the sample and the camera.
    """

    def __init__(self, settings: SimulatedSettings) -> None:
        self._settings = settings
        self._time_s = 0.0
        self._scene = Scene(settings, lambda: self._time_s)
        self._truth = Truth(settings.cycle_s)
        self.place_um = (0.0, 0.0)
        self.objective = "20X"
        self.taken = 0

    def snap(self, after_s: float) -> tuple[NDArray[np.uint16], FrameMeta, Exposure]:
        """One image, ``after_s`` after the last one, and what it really saw."""
        self._time_s += after_s if self.taken else 0.0
        x_um, y_um = self.place_um
        shape = (self._settings.height, self._settings.width)
        view = View(x_um, y_um, 0.0, PIXEL_UM[self.objective], shape, "DAPI", EXPOSURE_MS)
        pixels, exposure = self._scene.expose(view, lit=True)
        now_ns = int((self._time_s + 1.0) * 1e9)  # a clock at 0 means that it is not known
        meta = FrameMeta(
            seq=self.taken, captured_ns=now_ns, popped_ns=now_ns, exposure_ms=EXPOSURE_MS,
            x_um=x_um, y_um=y_um, channel="DAPI", pixel_size_um=view.pixel_um,
        )  # fmt: skip
        self._truth.add(meta, exposure)
        self.taken += 1
        return pixels, meta, exposure

    def divisions(self) -> list[TrueDivision]:
        """Every division that an image shows, in time order."""
        return self._truth.divisions(self._scene.divisions())


def context_of(meta: FrameMeta, shape: tuple[int, int]) -> ImageContext:
    """What a pipeline is told of an image."""
    return ImageContext(
        seq=meta.seq,
        time_s=meta.captured_ns / 1e9,
        pixel_size_um=meta.pixel_size_um,
        px_to_um=px_to_um(meta, shape),
        channel=meta.channel,
        x_um=meta.x_um,
        y_um=meta.y_um,
        z_um=meta.z_um,
        exposure_ms=meta.exposure_ms,
    )
