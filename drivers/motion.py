"""How fast the hardware is, as written under ``motion`` of a rig: to foresee, never to wait."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict, Field


class MotionSettings(BaseModel):
    """Times of stage, focus and presets; `parfocal check` and the summary of a plan go by them.

    The defaults were measured on Micro-Manager's demo devices (XY stage: 10.5 ms for 100 µm, 102 ms
    for 1000 µm; focus and presets: under 1 ms; 6 ms beside the exposure of each snap). Replace them
    by what your own microscope takes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    xy_um_per_s: float = Field(default=10_000, gt=0)
    xy_settle_ms: float = Field(default=1, ge=0)
    """For each move of the stage, however short."""
    z_um_per_s: float = Field(default=10_000, gt=0)
    z_settle_ms: float = Field(default=0.2, ge=0)
    preset_ms: float = Field(default=0.2, ge=0)
    """Change of preset: filter wheels, turrets, lasers."""
    frame_ms: float = Field(default=3, ge=0)
    """For each frame beside its exposure: read-out and hand-over."""

    def xy_ms(self, dx_um: float, dy_um: float) -> float:
        """Time of one move of the stage; 0 for none."""
        way = math.hypot(dx_um, dy_um)
        return 0.0 if way == 0 else way / self.xy_um_per_s * 1e3 + self.xy_settle_ms

    def z_ms(self, dz_um: float) -> float:
        """Time of one move of the focus; 0 for none."""
        return 0.0 if dz_um == 0 else abs(dz_um) / self.z_um_per_s * 1e3 + self.z_settle_ms
