"""What presets and properties of a Micro-Manager core do to stages, shutters and exposure."""

from __future__ import annotations

from typing import Any

import pymmcore

from drivers.mmcore_names import names

Setting = tuple[str, str, str]
"""Device, property, value."""


class Devices:
    """The devices of an open core that a limit must know of.

    Parameters
    ----------
    core
        Open and configured.
    """

    def __init__(self, core: Any) -> None:
        self._core = core
        self.camera = str(core.getCameraDevice())
        self.auto_shutter = bool(core.getAutoShutter()) or not core.getShutterDevice()
        self.focus = str(core.getFocusDevice())
        self.stages = {self.focus, str(core.getXYStageDevice())} - {""}
        self.shutters = {str(core.getShutterDevice())} - {""}
        if isinstance(core, pymmcore.CMMCore):  # across a bridge types are objects of Java
            for kind in (pymmcore.StageDevice, pymmcore.XYStageDevice):
                self.stages |= set(names(core.getLoadedDevicesOfType(kind)))
            self.shutters |= set(names(core.getLoadedDevicesOfType(pymmcore.ShutterDevice)))
        # Presets do not change while a rig is open, and each event is held against them.
        self._known: dict[tuple[str, str], tuple[Setting, ...]] = {}
        self._groups: dict[str, tuple[str, ...]] = {}
        self._members: dict[str, frozenset[str]] = {}

    def place(self) -> tuple[float | None, float | None, float | None]:
        """Where stage and focus are, (x, y, z) µm; None where there is no such stage."""
        core = self._core
        xy = bool(core.getXYStageDevice())
        x = float(core.getXPosition()) if xy else None
        y = float(core.getYPosition()) if xy else None
        return x, y, float(core.getPosition()) if self.focus else None

    def exposure_ms(self) -> float:
        """What the camera is set to now."""
        return float(self._core.getExposure())

    def current(self, group: str) -> str | None:
        """Preset of ``group`` that the hardware stands at; None when it is none, or no group."""
        if not group or group not in names(self._core.getAvailableConfigGroups()):
            return None
        return str(self._core.getCurrentConfig(group)) or None

    def darken(self) -> tuple[str, ...]:
        """Close every shutter that is open; those that stayed open all the same."""
        left = []
        for label in sorted(self.shutters):
            if self._core.getShutterOpen(label):
                self._core.setShutterOpen(label, False)
                if self._core.getShutterOpen(label):
                    left.append(label)
        return tuple(left)

    def settings(self, group: str, preset: str) -> tuple[Setting, ...]:
        """What a preset sets; empty when there is no such preset."""
        key = (group, preset)
        if key not in self._known:
            self._known[key] = self._read(group, preset)
        return self._known[key]

    def preset_with(self, group: str, device: str, name: str, value: str) -> str | None:
        """The only preset of ``group`` that sets this and nothing else; None when none does."""
        found = [
            preset
            for preset in self._presets(group)
            if self.settings(group, preset) == ((device, name, value),)
        ]
        return found[0] if len(found) == 1 else None

    def in_group(self, group: str, device: str) -> bool:
        """Whether any preset of ``group`` sets this device."""
        if group not in self._members:
            self._members[group] = frozenset(
                setting[0]
                for preset in self._presets(group)
                for setting in self.settings(group, preset)
            )
        return device in self._members[group]

    def _presets(self, group: str) -> tuple[str, ...]:
        if group not in self._groups:
            known = group in names(self._core.getAvailableConfigGroups())
            self._groups[group] = names(self._core.getAvailableConfigs(group)) if known else ()
        return self._groups[group]

    def _read(self, group: str, preset: str) -> tuple[Setting, ...]:
        if preset not in self._presets(group):
            return ()
        data = self._core.getConfigData(group, preset)
        found = (data.getSetting(index) for index in range(data.size()))
        return tuple(
            (str(s.getDeviceLabel()), str(s.getPropertyName()), str(s.getPropertyValue()))
            for s in found
        )
