"""Closes the shutters of a microscope whose own process died, and touches nothing else of it.

Loading a whole configuration would turn wheels and home stages. So of the ``.cfg`` only shutters
are initialised, with the ports, hubs and devices that they work through.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymmcore

from drivers.errors import SettingsError

_WAYS = (pymmcore.HubDevice, pymmcore.SerialDevice)
"""Kinds of device that others are reached through."""


@dataclass(slots=True)
class _Config:
    """What is needed of a ``.cfg``."""

    devices: list[tuple[str, str, str]] = field(default_factory=list)
    before: list[tuple[str, str, str]] = field(default_factory=list)
    """Properties that are set before devices are initialised."""
    parents: dict[str, str] = field(default_factory=dict)
    later: list[tuple[str, str, str]] = field(default_factory=list)
    """Properties of start-up."""


def close_shutters_of(config: Path, adapters: Path) -> dict[str, str]:
    """Close every shutter that a configuration names; blocks until done.

    Parameters
    ----------
    config
        Micro-Manager ``.cfg``.
    adapters
        Folder of device adapters.

    Returns
    -------
    dict
        Shutter -> ``closed``, or the sentence why it could not be closed.

    Raises
    ------
    SettingsError
        When the file cannot be read.
    """
    found = _read(config)
    core: Any = pymmcore.CMMCore()
    try:
        core.setDeviceAdapterSearchPaths([str(adapters)])
        problems = _load(core, found)
        kinds = {label: core.getDeviceType(label) for label in core.getLoadedDevices()}
        shutters = [d[0] for d in found.devices if kinds.get(d[0]) == pymmcore.ShutterDevice]
        links = _links(found, shutters)
        needed = {label for label, kind in kinds.items() if kind in _WAYS}
        needed |= {*shutters, *(value for _, _, value in links)}
        for label in kinds:
            if label not in needed and label != "Core":
                core.unloadDevice(label)
        problems |= _initialise(core, found, needed)
        return {label: _close(core, label, links, problems) for label in shutters}
    finally:
        core.reset()


def _read(config: Path) -> _Config:
    try:
        text = config.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SettingsError(f"{config} cannot be read: {error.strerror or error}") from error
    found, running = _Config(), False
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        match parts:
            case ["Device", label, library, name]:
                found.devices.append((label, library, name))
            case ["Parent", label, parent]:
                found.parents[label] = parent
            case ["Property", "Core", "Initialize", value]:
                running = value == "1"
            case ["Property", label, name, value] if label != "Core":
                (found.later if running else found.before).append((label, name, value))
            case ["ConfigGroup", "System", "Startup", label, name, value]:
                found.later.append((label, name, value))
            case _:
                pass
    return found


def _links(found: _Config, shutters: list[str]) -> list[tuple[str, str, str]]:
    """Start-up properties of shutters that name the device they work through."""
    labels = {label for label, _, _ in found.devices}
    return [entry for entry in found.later if entry[0] in shutters and entry[2] in labels]


def _load(core: Any, found: _Config) -> dict[str, str]:
    problems = {}
    for label, library, name in found.devices:
        try:
            core.loadDevice(label, library, name)
        except Exception as error:  # an adapter that is missing must not keep the others open
            problems[label] = _short(error)
    return problems


def _initialise(core: Any, found: _Config, needed: set[str]) -> dict[str, str]:
    problems = {}
    loaded = set(core.getLoadedDevices())
    for label, name, value in found.before:
        if label in needed & loaded:
            try:
                core.setProperty(label, name, value)
            except Exception as error:
                problems[label] = _short(error)
    for label, _, _ in found.devices:
        if label not in needed & loaded:
            continue
        try:
            if label in found.parents:
                core.setParentLabel(label, found.parents[label])
            core.initializeDevice(label)
        except Exception as error:
            problems[label] = _short(error)
    return problems


def _close(
    core: Any, label: str, links: list[tuple[str, str, str]], problems: dict[str, str]
) -> str:
    try:
        for shutter, name, value in links:
            if shutter == label:
                core.setProperty(label, name, value)
        core.setShutterOpen(label, False)
        core.waitForDevice(label)
        if core.getShutterOpen(label):
            return "not closed: it says that it is still open"
    except Exception as error:
        return f"not closed: {problems.get(label) or _short(error)}"
    return "closed"


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
