"""Pictures to measure on: a few frames of the simulated sample, with cells that move."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import useq
from numpy.typing import NDArray
from useq._mda_event import Channel

from drivers import open_rig
from drivers.simulated import SimulatedSettings

EXPOSURE_MS: Final = 20.0
PRESETS: Final = {"bacteria": "Brightfield", "cells": "FITC"}
"""Pipeline -> preset whose frames it finds objects in; of the others, ``DAPI``."""


def preset_for(pipeline: str) -> str:
    """The preset of the simulated microscope that a shipped pipeline is measured on."""
    return PRESETS.get(pipeline, "DAPI")


def sample_path(folder: Path, side: int, preset: str) -> Path:
    """File of the frames (t, y, x) uint16 of ``side`` x ``side`` pixels."""
    return folder / f"{preset}-{side}.npy"


def take_sample(*, folder: str, side: int, presets: list[str], frames: int) -> dict[str, Any]:
    """Image the sample and keep the frames in ``folder``; returns their pixel size."""
    # the world is larger than the camera's view, so that there are cells in all of it
    world = min(10.0, max(3.0, side / 512 + 1))
    settings = SimulatedSettings(width=side, height=side, clock="frames", world_views=world)
    pixel_size_um = 0.0
    with open_rig(settings) as rig:
        for preset in presets:
            channel = Channel(config=preset)
            rig.apply(useq.MDAEvent(channel=channel, exposure=EXPOSURE_MS))
            shots = [rig.snap() for _ in range(frames)]
            pixel_size_um = shots[0].meta.pixel_size_um
            pixels = np.stack([shot.pixels for shot in shots])
            np.save(sample_path(Path(folder), side, preset), pixels)
    return {"pixel_size_um": pixel_size_um}


def read_sample(file: str) -> NDArray[np.uint16]:
    """Frames (t, y, x) of a sample."""
    frames: NDArray[np.uint16] = np.load(file, allow_pickle=False)
    return frames


def there_and_back(count: int, step: int) -> int:
    """Which of ``count`` frames comes at ``step`` of an endless movie without a jump."""
    if count < 2:
        return 0
    turn = 2 * (count - 1)
    place = step % turn
    return min(place, turn - place)
