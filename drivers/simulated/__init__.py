"""A microscope with a living sample: cells that move, grow, divide and bleach, and no hardware."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.simulated.settings import SimulatedSettings

if TYPE_CHECKING:
    from drivers.simulated.rig import SimulatedRig

__all__ = ["SimulatedSettings", "open_simulated"]


def open_simulated(settings: SimulatedSettings) -> SimulatedRig:
    """Rig with a simulated sample; it is opened on entering its ``with`` block."""
    from drivers.simulated.rig import SimulatedRig

    return SimulatedRig(settings)
