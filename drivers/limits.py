"""Where the hardware may go and how long it may expose, as written under ``limits`` of a rig."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict, Field, field_validator

from drivers.rig import StageLimits

Range = tuple[float, float]


class LimitSettings(BaseModel):
    """What the hardware may be asked for; each is checked before anything moves.

    What is left out has no limit. They bind the user's plan, every rule and every command alike.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    x_um: Range | None = None
    y_um: Range | None = None
    z_um: Range | None = None
    z_um_by_objective: dict[str, Range] = Field(default_factory=dict)
    """Preset of ``objective_group`` -> z range, µm: how near each objective may come. It binds
    beside ``z_um``. While the objective is not known, the ranges of all of them bind."""
    objective_group: str = "Objective"
    """Configuration group whose presets are the objectives."""
    max_step_xy_um: float | None = Field(default=None, gt=0)
    """The longest way of one move of the stage. A longer one is refused, never split: nobody meant
    it, and in pieces it would end at the same place."""
    max_step_z_um: float | None = Field(default=None, gt=0)
    """The same for the focus."""
    max_exposure_ms: float | None = Field(default=None, gt=0)
    max_sequence_s: float | None = Field(default=None, gt=0)
    """The longest light of one hardware sequence: its frames times its exposure."""

    @field_validator("x_um", "y_um", "z_um")
    @classmethod
    def _ordered(cls, limit: Range | None) -> Range | None:
        if limit is not None and not limit[0] < limit[1]:
            raise ValueError(f"the lower limit comes first and is smaller, got {list(limit)}")
        return limit

    @field_validator("z_um_by_objective")
    @classmethod
    def _all_ordered(cls, table: dict[str, Range]) -> dict[str, Range]:
        for name, limit in table.items():
            if not limit[0] < limit[1]:
                raise ValueError(
                    f"{name}: the lower limit comes first and is smaller, got {list(limit)}"
                )
        return table

    def limits(self) -> StageLimits:
        """What the driver itself checks once more."""
        return StageLimits(self.x_um, self.y_um, self.z_um, self.max_exposure_ms)

    def z_range(self, objective: str | None) -> Range | None:
        """Where the focus may go, µm, under this objective; None: anywhere.

        Parameters
        ----------
        objective
            Preset of ``objective_group``; None or an unlisted one: the ranges of all bind, so that
            an objective nobody thought of is treated like the longest.
        """
        ranges = [] if self.z_um is None else [self.z_um]
        table = self.z_um_by_objective
        if objective is not None and objective in table:
            ranges.append(table[objective])
        else:
            ranges += table.values()
        if not ranges:
            return None
        low, high = max(r[0] for r in ranges), min(r[1] for r in ranges)
        return (low, high) if low <= high else (math.inf, -math.inf)
