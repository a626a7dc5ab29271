"""The sample under the microscope: its clock, its drift and its fading, and one exposure of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Reversible
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.cells import Cells, Floats
from drivers.simulated.flashes import flash_factor
from drivers.simulated.optics import (
    BASE_EXPOSURE_MS,
    BASE_PIXEL_UM,
    BRIGHTFIELD,
    View,
    nuclei_in_view,
    photons_in_view,
)
from drivers.simulated.sample import Division, Sample
from drivers.simulated.sensor import Sensor
from drivers.simulated.settings import SimulatedSettings

_BASE_VIEW_PX = 512
_LONGEST_LOOK_AWAY_S = 60.0  # then the sample waits: catching up would hold the camera


@dataclass(frozen=True, slots=True, eq=False)
class Exposure:
    """What one exposure really saw."""

    time_s: float
    """Biological time."""
    view: View
    """In the coordinates of the sample."""
    drift_um: tuple[float, float]
    """(x, y) to be added to a place in the sample to have its place on the stage."""
    lit: bool
    cells: Cells
    """Those in view."""


class Scene:
    """Everything that lies on the stage; `expose` is called from one thread at a time.

    Parameters
    ----------
    settings
        Of the rig.
    now_s
        Clock of the real world, seconds.
    """

    def __init__(
        self, settings: SimulatedSettings, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._now_s = now_s
        self._looked_s: float | None = None
        self._time_s = 0.0
        self._rng = np.random.default_rng([settings.seed, 2])
        self._heading = self._rng.uniform(0, 2 * math.pi)
        side_um = max(settings.width, settings.height) * BASE_PIXEL_UM * settings.world_views
        spacing_um = _BASE_VIEW_PX * BASE_PIXEL_UM / math.sqrt(settings.cells_per_view)
        self.sample = Sample(settings.seed, side_um, spacing_um, settings.cycle_s)
        self._fading = Fading(settings.bleach_frames, settings.cycle_s)
        self._sensor: tuple[tuple[int, int], int] | None = None
        self._electronics = self._sensor_for((8, 8), 1)

    def divisions(self) -> list[Division]:
        """All divisions so far, in time order."""
        while True:
            try:
                return list(self.sample.divisions)
            except RuntimeError:  # the camera's thread added one while we copied
                time.sleep(0.001)

    def expose(self, view: View, lit: bool) -> tuple[NDArray[np.uint16], Exposure]:
        """One image, and what it saw.

        Parameters
        ----------
        view
            In the coordinates of the stage.
        lit
            The shutter is open.
        """
        self._tick()
        self.sample.advance(self._time_s)
        drift = self._drift()
        there = replace(view, x_um=view.x_um - drift[0], y_um=view.y_um - drift[1])
        cells = self.sample.cells()
        self._fading.follow(self.sample.divisions, self.sample.time_s)
        nuclei = nuclei_in_view(cells, there)
        if lit:
            nuclei = replace(nuclei, light=nuclei.light * self._glow(nuclei.ids))
            photons = photons_in_view(
                nuclei,
                there,
                peak_photons=self._settings.peak_photons,
                background_photons=self._settings.background_photons,
            )
            if view.channel != BRIGHTFIELD:
                self._fading.shine(nuclei.ids, view.exposure_ms / BASE_EXPOSURE_MS)
        else:
            photons = np.zeros(view.shape, np.float32)
        pixels = self._sensor_for(view.shape, view.binning).expose(photons, self._rng)
        seen = cells.pick(np.isin(cells.ids, nuclei.ids))
        return pixels, Exposure(self.sample.time_s, there, drift, lit, seen)

    def _tick(self) -> None:
        """Move biological time on; the first exposure is at 0."""
        now_s = self._now_s()
        if self._looked_s is not None:
            if self._settings.clock == "frames":
                self._time_s += self._settings.seconds_per_frame
            else:
                self._time_s += min(now_s - self._looked_s, _LONGEST_LOOK_AWAY_S)
        self._looked_s = now_s

    def _glow(self, ids: NDArray[np.int32]) -> Floats:
        """Light of nuclei (n,) beside that of fresh ones at rest."""
        glow = self._fading.left(ids)
        flashes = self._settings.flashes
        if flashes is not None:
            glow = glow * flash_factor(flashes, self._settings.seed, ids, self._time_s)
        return glow

    def _drift(self) -> tuple[float, float]:
        """A steady creep with a slow wobble, as an instrument has that warms up."""
        speed_um_s = self._settings.drift_um_per_min / 60
        far_um = speed_um_s * self._time_s
        wobble_um = 20 * speed_um_s * math.sin(self._time_s / 40)
        x = far_um * math.cos(self._heading) - wobble_um * math.sin(self._heading)
        y = far_um * math.sin(self._heading) + wobble_um * math.cos(self._heading)
        return x, y

    def _sensor_for(self, shape: tuple[int, int], binning: int) -> Sensor:
        if self._sensor != (shape, binning):
            self._sensor = (shape, binning)
            self._electronics = Sensor(
                shape,
                self._settings.seed,
                offset=self._settings.offset_counts,
                read_noise_e=self._settings.read_noise_e,
                gain=self._settings.counts_per_photon,
                binning=binning,
            )
        return self._electronics


class Fading:
    """How much light each nucleus has left.

    Dye that was bleached is gone, but cells make new: half of it in each cycle.

    Parameters
    ----------
    frames
        Usual exposures until 1/e is left.
    cycle_s
        Mean time between divisions.
    """

    def __init__(self, frames: float, cycle_s: float) -> None:
        self._frames = frames
        self._renewal_s = cycle_s / math.log(2)
        self._dose: Floats = np.zeros(4096, np.float32)
        self._time_s = 0.0
        self._known = 0

    def follow(self, divisions: Reversible[Division], time_s: float) -> None:
        """Let daughters inherit, and dye be renewed, until ``time_s``."""
        recent: list[Division] = []
        for division in reversed(divisions):
            if division.daughters[0] <= self._known:
                break
            recent.append(division)
        for division in reversed(recent):
            self._grow(max(division.daughters))
            self._dose[list(division.daughters)] = self._dose[division.mother]
            self._known = max(self._known, division.daughters[0])
        if time_s > self._time_s:
            self._dose *= np.float32(math.exp((self._time_s - time_s) / self._renewal_s))
            self._time_s = time_s

    def shine(self, ids: NDArray[np.int32], frames: float) -> None:
        """Bleach by the light of so many usual exposures."""
        self._grow(int(ids.max(initial=0)))
        self._dose[ids] += np.float32(frames / self._frames)

    def left(self, ids: NDArray[np.int32]) -> Floats:
        """Share of its light that each nucleus still has, 0 to 1."""
        self._grow(int(ids.max(initial=0)))
        left: Floats = np.exp(-self._dose[ids])
        return left

    def _grow(self, highest: int) -> None:
        if highest >= len(self._dose):
            more = np.zeros(max(highest + 1, 2 * len(self._dose)), np.float32)
            more[: len(self._dose)] = self._dose
            self._dose = more
