"""Settings of the simulated rig, as they are written in ``config/rigs/simulated.yaml``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from drivers.rig import StageLimits

Range = tuple[float, float]


class SimulatedLimits(BaseModel):
    """Where the simulated stage may go; each is checked before anything moves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    x_um: Range | None = None
    y_um: Range | None = None
    z_um: Range | None = None
    max_exposure_ms: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> SimulatedLimits:
        for name in ("x_um", "y_um", "z_um"):
            limit = getattr(self, name)
            if limit is not None and not limit[0] < limit[1]:
                raise ValueError(f"{name}: the lower limit comes first and is smaller, got {limit}")
        return self

    def limits(self) -> StageLimits:
        """The same as the value that drivers work with."""
        return StageLimits(self.x_um, self.y_um, self.z_um, self.max_exposure_ms)


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
    camera_buffer_mb: int = Field(default=256, gt=0)
    """Memory for frames that were taken but not yet fetched."""
    ready_timeout_s: float = Field(default=10.0, gt=0)
    """How long devices may take to become ready."""
    limits: SimulatedLimits = SimulatedLimits()
