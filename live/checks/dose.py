"""The light that a plan will give, foreseen with the ledger that counts it in the run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from drivers import ImageFormat, Light, LightSpent, SettingsError
from drivers.protect_checks import Present
from live.experiment.yamlfile import KeyPath
from live.light.dose import DoseLedger
from live.light.settings import LightSettings
from live.light.store import carry_over

TOLD_PLACES = 10


@dataclass(frozen=True, slots=True)
class Foreseen:
    """Light of a whole plan, without what rules add."""

    total: float
    light_s: float
    greatest: float
    """Of all places."""
    places: tuple[tuple[float, float, float], ...]
    """(x, y) µm and dose of the places that get most."""


def foresee(
    light: LightSettings, stands: Sequence[Present], points: int, image: ImageFormat | None
) -> tuple[Foreseen | None, list[tuple[KeyPath, str]]]:
    """Sums of a plan, and which caps it would pass.

    Parameters
    ----------
    light
        Power table and caps.
    stands
        How the microscope stands at each frame of one time point.
    points
        How many time points.
    image
        For the size of the field; 0 µm when not known.

    Returns
    -------
    tuple
        None and the reason when a power is not known.
    """
    side = (0.0, 0.0)
    if image is not None:
        side = (image.width * image.pixel_size_um, image.height * image.pixel_size_um)
    ledger = DoseLedger(light)
    if light.carry_over is not None:
        try:
            carry_over(ledger, Path(light.carry_over).expanduser())
        except SettingsError as error:
            return None, [(("light", "carry_over"), str(error))]
    before = _sums(ledger)
    try:
        for now in stands:
            ledger.add(_light(now, side), points)
    except LightSpent as error:
        return None, [(("light", "power"), str(error))]
    sums, told = _sums(ledger), ledger.to_json()["positions"]
    places = tuple((place["x_um"], place["y_um"], place["dose"]) for place in told[:TOLD_PLACES])
    problems = [*_too_strong(light, stands), *_over(light, before, sums, points)]
    return Foreseen(sums["cap_total"], sums["max_total_s"], ledger.greatest, places), problems


def _sums(ledger: DoseLedger) -> dict[str, float]:
    """What each cap is held against; a cell that stays in view gets what its place gets."""
    return {
        "cap_per_position": ledger.greatest,
        "cap_per_cell": ledger.greatest,
        "cap_total": ledger.totals.dose,
        "max_total_s": ledger.totals.light_s,
    }


_WHO = {
    "cap_per_position": "the place that gets most would get",
    "cap_per_cell": "a cell that stays in view would get",
    "cap_total": "the plan would give",
    "max_total_s": "the light would be on for",
}


def _too_strong(light: LightSettings, stands: Sequence[Present]) -> Iterator[tuple[KeyPath, str]]:
    for preset in dict.fromkeys(now.preset for now in stands):
        power, most = light.power_of(preset), light.max_power
        if most is not None and power > most:
            yield (
                ("light", "max_power"),
                f"preset '{preset}' has a power of {power:g} {light.unit}, over {most:g}; dim it "
                "or raise the limit",
            )


def _over(
    light: LightSettings, before: dict[str, float], sums: dict[str, float], points: int
) -> Iterator[tuple[KeyPath, str]]:
    for key, dose in sums.items():
        cap: float | None = getattr(light, key)
        if cap is None or dose <= cap * (1 + 1e-9):
            continue
        unit = "s" if key == "max_total_s" else light.dose_unit
        more = dose - before[key]
        share = max(0.0, cap - before[key]) / more if more > 0 else 0.0
        yield (
            ("light", key),
            f"{_WHO[key]} {dose:.4g} {unit}, over the cap of {cap:g}, which is reached after "
            f"{math.floor(points * share)} of {points} time points; expose shorter, image less "
            "often, or raise the cap",
        )


def _light(now: Present, side: tuple[float, float]) -> Light:
    return Light(
        now.x_um or 0.0,
        now.y_um or 0.0,
        *side,
        now.preset,
        now.exposure_ms / 1e3,
        properties=now.properties,
    )
