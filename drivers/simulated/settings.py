"""Settings of the simulated rig, as they are written in ``config/rigs/simulated.yaml``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from drivers.limits import LimitSettings
from drivers.motion import MotionSettings
from drivers.simulated.flashes import FlashSettings

SLM_SIDE_PX = 256
"""Pixels of the simulated modulator, each way."""


class SimulatedSettings(BaseModel):
    """A microscope with a living sample, and no hardware."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    driver: Literal["simulated"] = "simulated"
    seed: int = Field(default=0, ge=0)
    """The same seed gives the same cells; with ``clock: frames`` also the same pixels."""
    width: int = Field(default=512, ge=32, le=4096)
    """Camera pixels."""
    height: int = Field(default=512, ge=32, le=4096)
    cells_per_view: float = Field(default=55, gt=0, le=300)
    """Nuclei in 512 x 512 pixels of the 20X objective; a larger camera sees more."""
    world_views: float = Field(default=3, ge=1, le=10)
    """Side of the square world, in views of the 20X objective. Beyond it there is no cell."""
    cycle_s: float = Field(default=90, ge=2)
    """Mean time from one division of a cell to the next."""
    objective: Literal["10X", "20X", "40X"] = "20X"
    """In place at the start; a preset of the group Objective puts another one in."""
    clock: Literal["wall", "frames"] = "wall"
    """``wall``: cells live in real time. ``frames``: ``seconds_per_frame`` for every exposure, and
    pictures that can be repeated exactly."""
    seconds_per_frame: float = Field(default=0.25, gt=0)
    peak_photons: float = Field(default=120, gt=0, le=20_000)
    """Photons a pixel from an average nucleus at an exposure of 20 ms."""
    background_photons: float = Field(default=6, ge=0, le=20_000)
    """Photons a pixel from the medium at an exposure of 20 ms."""
    read_noise_e: float = Field(default=1.6, ge=0, le=100)
    offset_counts: float = Field(default=100, ge=0, le=10_000)
    counts_per_photon: float = Field(default=2.2, gt=0, le=100)
    drift_um_per_min: float = Field(default=1.0, ge=0)
    """How fast the sample creeps away under the stage."""
    bleach_frames: float = Field(default=3000, gt=0)
    """Exposures of 20 ms after which a nucleus has 1/e of its light."""
    flashes: FlashSettings | None = None
    """Some nuclei flash, as with a calcium indicator; None: none does."""
    camera_buffer_mb: int = Field(default=256, gt=0)
    """Memory for frames that were taken but not yet fetched."""
    ready_timeout_s: float = Field(default=10.0, gt=0)
    """How long devices may take to become ready."""
    limits: LimitSettings = LimitSettings()
    """Checked before anything moves."""
    motion: MotionSettings = MotionSettings()

    @property
    def slm_affine(self) -> tuple[float, float, float, float, float, float]:
        """Camera pixels to those of the modulator, which covers the camera's field."""
        return (SLM_SIDE_PX / self.width, 0.0, 0.0, 0.0, SLM_SIDE_PX / self.height, 0.0)
