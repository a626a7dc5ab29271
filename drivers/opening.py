"""From settings to a rig: drivers are found by name and imported only when they are used."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from drivers.errors import SettingsError

if TYPE_CHECKING:
    from drivers.rig import Rig

GROUP = "parfocal.rigs"

_BUILT_IN = {
    "micromanager": "drivers.micromanager:open_micromanager",
    "simulated": "drivers.simulated:open_simulated",
    "pycromanager": "drivers.pycromanager:open_pycromanager",
    "replay": "drivers.replay:open_replay",
}


def rig_drivers() -> dict[str, str]:
    """Names of drivers that can be opened -> ``module:function``.

    Our own come first, so that an installed package cannot replace one of them unseen.
    """
    others = {point.name: point.value for point in entry_points(group=GROUP)}
    return {**others, **_BUILT_IN}


def open_rig(settings: Any) -> Rig:
    """Rig that ``settings`` describe; the hardware is opened on entering its ``with`` block.

    Parameters
    ----------
    settings
        One of the models of ``RigSettings``, or a plug-in's own with a ``driver`` name.

    Raises
    ------
    SettingsError
        When no driver has that name, or what it needs is not installed.
    """
    drivers = rig_drivers()
    driver = str(settings.driver)
    if driver not in drivers:
        raise SettingsError(f"rig driver {driver!r} is unknown; there are: {', '.join(drivers)}")
    point = EntryPoint(driver, drivers[driver], GROUP)
    try:
        opener: Callable[[Any], Rig] = point.load()
    except (ImportError, AttributeError) as error:
        raise SettingsError(
            f"rig driver {driver!r} ({point.value}) did not load: {error}"
        ) from error
    return opener(settings)
