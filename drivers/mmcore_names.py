"""Names that hardware knows, and a sentence for one that it does not."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from drivers.errors import RigError


def names(vector: Any) -> tuple[str, ...]:
    """Strings of a tuple, or of the Java vector that a bridge gives."""
    if isinstance(vector, Iterable):
        return tuple(str(name) for name in vector)
    return tuple(str(vector.get(i)) for i in range(vector.size()))


def unknown(what: str, got: str, real: Sequence[str], limit: int = 40) -> str:
    """One sentence: ``got`` is no ``what``, did you mean …; the real ones are …."""
    folded = {name.casefold(): name for name in real}
    close = difflib.get_close_matches(got.casefold(), list(folded), n=1, cutoff=0.6)
    hint = f"did you mean {folded[close[0]]!r}? " if close else ""
    if not real:
        return f"{what} {got!r} does not exist; there are none"
    more = f" and {len(real) - limit} more" if len(real) > limit else ""
    return f"{what} {got!r} does not exist; {hint}there are: {', '.join(real[:limit])}{more}"


def set_property(core: Any, device: str, name: str, value: object) -> bool:
    """Set one device property; False when it has that value already and nothing was sent.

    Raises ``RigError`` listing what the core knows when it does not know the device or property.
    """
    devices = names(core.getLoadedDevices())
    if device not in devices:
        raise RigError(unknown("device", device, devices))
    if not core.hasProperty(device, name):
        real = names(core.getDevicePropertyNames(device))
        raise RigError(unknown(f"property of {device!r}", name, real))
    if _cached(core, device, name) == str(value):
        return False
    try:
        core.setProperty(device, name, str(value))
    except Exception as error:
        allowed = names(core.getAllowedPropertyValues(device, name))
        choice = f"; allowed: {', '.join(allowed)}" if allowed else ""
        raise RigError(f"{device}-{name}: {str(value)!r} was refused{choice} ({error})") from error
    return True


def _cached(core: Any, device: str, name: str) -> str | None:
    try:
        return str(core.getPropertyFromCache(device, name))
    except Exception:  # the core has no value for it yet, and says so by raising
        return None


def set_preset(core: Any, group: str, preset: str) -> None:
    """Set a configuration preset; raises ``RigError`` listing the real ones instead."""
    groups = names(core.getAvailableConfigGroups())
    if group not in groups:
        raise RigError(unknown("configuration group", group, groups))
    presets = names(core.getAvailableConfigs(group))
    if preset not in presets:
        raise RigError(unknown(f"preset of group {group!r}", preset, presets))
    try:
        core.setConfig(group, preset)
    except Exception as error:
        raise RigError(f"preset {preset!r} of group {group!r} was refused: {error}") from error
