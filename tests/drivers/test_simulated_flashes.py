"""Cells that flash."""

from __future__ import annotations

import numpy as np
import pytest

from drivers.simulated.flashes import FlashSettings, flash_factor, flash_start_s, flashing
from drivers.simulated.optics import View
from drivers.simulated.scene import Scene
from drivers.simulated.settings import SimulatedSettings

SOME = FlashSettings(share=0.25, every_s=10, lasting_s=2, times=5)
IDS = np.arange(1, 2001, dtype=np.int32)


def test_the_share_that_flashes_is_the_one_asked_for():
    assert flashing(SOME, 3, IDS).mean() == pytest.approx(0.25, abs=0.03)
    assert (flashing(SOME, 3, IDS) != flashing(SOME, 4, IDS)).any()


def test_a_flash_begins_when_it_is_said_to_and_reaches_its_peak():
    cell = IDS[flashing(SOME, 0, IDS)][:1]
    start = float(flash_start_s(SOME, 0, cell, 4)[0])
    assert 40 <= start < 50
    light = [float(flash_factor(SOME, 0, cell, start + s)[0]) for s in (-0.01, 0.2, 2.0)]
    assert light[0] < 1.1
    assert light[1] == pytest.approx(5, rel=0.01)
    assert light[2] == pytest.approx(1 + 4 * np.exp(-2.7), rel=0.01)


def test_at_rest_nothing_is_brighter():
    others = IDS[~flashing(SOME, 0, IDS)]
    times = np.arange(0, 60, 0.5)
    assert all((flash_factor(SOME, 0, others, t) == 1).all() for t in times)
    assert all((flash_factor(SOME, 0, IDS, t) >= 1).all() for t in times)


def test_the_camera_sees_it():
    always = FlashSettings(share=1, every_s=5, lasting_s=2, times=6)
    view = View(0, 0, 0, 0.5, (128, 128), "DAPI", 20)

    def brightest(flashes):
        settings = SimulatedSettings(
            width=128, height=128, clock="frames", seconds_per_frame=0.25, flashes=flashes
        )
        scene = Scene(settings)
        return max(int(scene.expose(view, lit=True)[0].max()) for _ in range(40))

    assert brightest(always) > 2 * brightest(None)
