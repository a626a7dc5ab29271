"""A camera in Python inside a Micro-Manager core, which looks at the simulated sample.

Stage, focus, objective, presets and shutter are those of the core; the camera asks for them anew at
the start of each exposure.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from pymmcore_plus.experimental.unicore import CameraDevice

from drivers.simulated.optics import View
from drivers.simulated.scene import Exposure, Scene

BINNINGS = (1, 2, 4)
_KEPT_EXPOSURES = 2048  # a late reader of a long sequence asks for old ones
_LONGEST_MS = 60_000.0

Buffer = Callable[[Sequence[int], DTypeLike], NDArray[Any]]


class SimulatedCamera(CameraDevice):
    """Camera of a `Scene`; the core calls it, and one of its threads during a sequence.

    Parameters
    ----------
    core
        The core that it is loaded into.
    scene
        What lies on the stage.
    sensor_px
        (height, width) of the sensor.
    channel_group
        Configuration group whose preset is the channel.
    """

    def __init__(
        self, core: Any, scene: Scene, sensor_px: tuple[int, int], channel_group: str
    ) -> None:
        super().__init__()
        self._mm = core
        self._scene = scene
        self._sensor_px = sensor_px
        self._group = channel_group
        self._exposure_ms = 20.0
        self._interval_ms = 0.0
        self._binning = 1
        self._roi: tuple[int, int, int, int] | None = None
        self._halted = threading.Event()
        self._exposures: dict[int, Exposure] = {}
        self._in_sequence = 0
        self.register_property("Interval_ms", getter=_get_interval, setter=_set_interval)
        self.set_property_allowed_values("Binning", BINNINGS)

    def halt(self) -> None:
        """End the running sequence at once, also in the middle of a long exposure."""
        self._halted.set()

    def exposure(self, number: int) -> Exposure | None:
        """What frame ``number`` of the present or last sequence saw; None when long ago."""
        return self._exposures.get(number)

    def shape(self) -> tuple[int, int]:
        """(height, width) of the next image, pixels."""
        _, _, width, height = self.get_roi()
        return height, width

    def dtype(self) -> DTypeLike:
        """Of the next image."""
        return np.uint16

    def get_exposure(self) -> float:
        """Milliseconds."""
        return self._exposure_ms

    def set_exposure(self, exposure: float) -> None:
        """Milliseconds, more than 0 and at most a minute."""
        if not 0 < exposure <= _LONGEST_MS:
            raise ValueError(f"exposure: need more than 0 and at most 60000 ms, got {exposure}")
        self._exposure_ms = float(exposure)

    def get_interval(self) -> float:
        """From one frame of a sequence to the next, ms; 0 is as fast as it goes."""
        return self._interval_ms

    def set_interval(self, interval_ms: float) -> None:
        """See `get_interval`."""
        self._interval_ms = max(0.0, float(interval_ms))

    def get_binning(self) -> int:
        """Sensor pixels along each side of an image pixel."""
        return self._binning

    def set_binning(self, value: int) -> None:
        """One of `BINNINGS`; the whole sensor is read again."""
        self._binning = int(value)
        self._roi = None

    def set_property_value(self, prop_name: str, value: Any) -> None:
        """Cores say ``"2"``, and pymmcore-plus compares it with the numbers that are allowed."""
        whole = prop_name == "Binning" and str(value).strip().isdigit()
        super().set_property_value(prop_name, int(value) if whole else value)

    def get_roi(self) -> tuple[int, int, int, int]:
        """(x, y, width, height), image pixels."""
        height, width = (side // self._binning for side in self._sensor_px)
        return self._roi or (0, 0, width, height)

    def set_roi(self, x: int, y: int, width: int, height: int) -> None:
        """Read only this part, image pixels."""
        rows, columns = (side // self._binning for side in self._sensor_px)
        fits = 0 <= x < x + width <= columns and 0 <= y < y + height <= rows
        if not fits:
            got = f"x, y, width, height = {x}, {y}, {width}, {height}"
            raise ValueError(f"ROI: got {got}, which is not inside {columns} x {rows} pixels")
        self._roi = (x, y, width, height)

    def clear_roi(self) -> None:
        """Read the whole sensor."""
        self._roi = None

    def start_sequence(self, n: int | None, get_buffer: Buffer) -> Iterator[Mapping[str, Any]]:
        """Give ``n`` images (None: without end), each when its exposure is over."""
        # Not in the generator, whose thread may start after the sequence was stopped again.
        self._halted.clear()
        self._in_sequence = 0
        self._exposures.clear()
        return self._images(n, get_buffer)

    def _images(self, n: int | None, get_buffer: Buffer) -> Iterator[Mapping[str, Any]]:
        # What is given for a snap is the core's, and its autoshutter knows only its own cameras.
        shutter = self._mm.getShutterDevice() if self._mm.getAutoShutter() else ""
        if shutter:
            self._mm.setShutterOpen(shutter, True)
        shut = False
        try:
            due_s = time.monotonic()
            while n is None or self._in_sequence < n:
                pixels, exposure = self._scene.expose(self._view(), self._lit())
                # The image is computed while the exposure runs; slower than that, frames are late.
                due_s = max(due_s + self._exposure_ms / 1e3, time.monotonic())
                if self._halted.wait(max(0.0, due_s - time.monotonic())):
                    return
                due_s += max(0.0, self._interval_ms - self._exposure_ms) / 1e3
                buffer = get_buffer(pixels.shape, pixels.dtype)
                buffer[:] = pixels
                self._exposures[self._in_sequence] = exposure
                self._exposures.pop(self._in_sequence - _KEPT_EXPOSURES, None)
                self._in_sequence += 1
                if shutter and self._in_sequence == n:
                    shut = True
                    self._mm.setShutterOpen(shutter, False)
                yield {}
                # The next exposure starts only when its interval begins.
                if self._halted.wait(max(0.0, due_s - time.monotonic())):
                    return
        finally:
            if shutter and not shut and self._mm.getLoadedDevices():
                self._mm.setShutterOpen(shutter, False)

    def _lit(self) -> bool:
        shutter = self._mm.getShutterDevice()
        return not shutter or bool(self._mm.getShutterOpen(shutter))

    def _view(self) -> View:
        core = self._mm
        x, y, width, height = self.get_roi()
        rows, columns = (side // self._binning for side in self._sensor_px)
        pixel_um = float(core.getPixelSizeUm()) or 1.0
        aside_x = x + (width - 1) / 2 - (columns - 1) / 2
        aside_y = y + (height - 1) / 2 - (rows - 1) / 2
        return View(
            x_um=float(core.getXPosition()) + aside_x * pixel_um,
            y_um=float(core.getYPosition()) + aside_y * pixel_um,
            z_um=float(core.getPosition()),
            pixel_um=pixel_um,
            shape=(height, width),
            channel=str(core.getCurrentConfig(self._group)),
            exposure_ms=self._exposure_ms,
            binning=self._binning,
            axis_px=(-aside_y, -aside_x),
            sensor_px=float(max(rows, columns)),
        )


def _get_interval(camera: SimulatedCamera) -> float:
    return camera.get_interval()


def _set_interval(camera: SimulatedCamera, interval_ms: float) -> None:
    camera.set_interval(interval_ms)
