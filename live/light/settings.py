"""The light that a sample may get, as people write it under ``light:`` of an experiment."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Dimmer(_Settings):
    """A device property that weakens the light, such as the intensity of a laser."""

    device: str = Field(min_length=1)
    property: str = Field(min_length=1)
    full: float = Field(gt=0)
    """Value of the property at which the power table was measured. Until an event sets the property
    the light counts as full, and again after each change of preset."""


class LightSettings(_Settings):
    """Power of each preset, and what the sample may get of it.

    A *dose* is power times exposure: ``mW s`` (mJ) with ``unit: mW``, seconds at the power of 1
    with ``unit: relative``. Light is counted whether or not a cap is set.
    """

    unit: Literal["relative", "mW"] = "relative"
    power: dict[str, float] = Field(default_factory=dict)
    """Preset of the channel group -> power at the sample. With ``unit: relative`` a preset that is
    left out counts as 1; with mW each preset in use must be named."""
    dimmers: tuple[Dimmer, ...] = ()
    triggered: bool = False
    """The camera triggers the light, so that it is dark between the frames of a sequence. Else a
    sequence with an interval counts its intervals as lit: the shutter stays open in between."""
    max_power: float | None = Field(default=None, gt=0)
    """An exposure at more power than this is refused."""
    cap_per_position: float | None = Field(default=None, gt=0)
    """The most dose that any point of the sample may get in the run."""
    cap_per_cell: float | None = Field(default=None, gt=0)
    """The most dose that any followed cell may get, daughters counting from their mother's."""
    cap_total: float | None = Field(default=None, gt=0)
    """The most dose of the whole run, over all places."""
    max_total_s: float | None = Field(default=None, gt=0)
    """The longest that light may be on in the whole run, at whatever power."""
    carry_over: str | None = None
    """Folder of an earlier run of this sample: its light counts as already given."""

    @model_validator(mode="after")
    def _powers(self) -> Self:
        for preset, power in self.power.items():
            if power < 0:
                raise ValueError(f"power of {preset} is {power}; need 0 or more")
        if self.unit == "mW" and not self.power:
            raise ValueError("unit: mW needs power, a table of preset: mW at the sample")
        return self

    @property
    def dose_unit(self) -> str:
        """Unit of a dose, for people."""
        return "mW s" if self.unit == "mW" else "s at power 1"

    @property
    def capped(self) -> bool:
        """Whether any cap is set."""
        caps = (self.cap_per_position, self.cap_per_cell, self.cap_total, self.max_total_s)
        return any(cap is not None for cap in caps)

    def power_of(self, preset: str, properties: dict[tuple[str, str], str] | None = None) -> float:
        """Power of a preset, weakened by what events set of its dimmers.

        Raises
        ------
        KeyError
            With ``unit: mW``, when the table does not have it.
        """
        if preset not in self.power and self.unit == "mW":
            raise KeyError(preset)
        power = self.power.get(preset, 1.0)
        for dimmer in self.dimmers:
            value = (properties or {}).get((dimmer.device, dimmer.property))
            if value is not None:
                power *= _number(value, dimmer.full) / dimmer.full
        return power


def _number(text: str, otherwise: float) -> float:
    """The number that ``text`` is; what is none, or below 0, counts as full light."""
    try:
        number = float(text)
    except ValueError:
        return otherwise
    return number if number >= 0 else otherwise
