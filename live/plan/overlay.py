"""What decisions changed of the plan's own events: where they look, and with which preset."""

from __future__ import annotations

import math
from dataclasses import replace

import useq
from useq._mda_event import Channel as EventChannel

from live.plan.blocks import Home, Recentre, SetPreset, Shift, move, moved, position_key


class Overlay:
    """Lies over the plan's events; the caller locks."""

    def __init__(self) -> None:
        self._shifts: dict[str, tuple[float, float, float]] = {}
        self._preset: SetPreset | None = None
        self._left = 0
        self._exposure_ms: float | None = None
        self._centres: dict[str, tuple[float, float]] = {}
        self._fixed: tuple[float, float] | None = None

    def shift(self, by: Shift) -> None:
        """Add to what one of the plan's positions is moved by."""
        x, y, z = self._shifts.get(by.position, (0.0, 0.0, 0.0))
        self._shifts[by.position] = (x + by.x_um, y + by.y_um, z + by.z_um)

    def set_preset(self, preset: SetPreset) -> None:
        """Use another preset; for good where it does not say for how many frames."""
        self._preset, self._left = preset, preset.for_frames or 0

    def set_exposure(self, exposure_ms: float | None) -> None:
        """Expose for so long from now on; None as the plan says."""
        self._exposure_ms = exposure_ms

    def fix(self, home: Home) -> None:
        """Events that name no place mean this one from now on: the stage will travel."""
        if self._fixed is None:
            self._fixed = (home.x_um, home.y_um)

    @property
    def counting(self) -> bool:
        """Whether a preset ends after some frames, which then have to be told apart."""
        return self._preset is not None and self._preset.for_frames is not None

    @property
    def plain(self) -> bool:
        """Whether events pass unchanged."""
        unmoved = not self._shifts and self._fixed is None
        return unmoved and self._preset is None and self._exposure_ms is None

    def over(self, event: useq.MDAEvent) -> useq.MDAEvent:
        """The event as it is to be run; counts it for a preset that ends by itself."""
        if not self.plain:
            event = self._changed(event)
        if event.x_pos is not None and event.y_pos is not None:
            key = position_key(event.index, event.pos_name)
            self._centres[key] = (event.x_pos, event.y_pos)
        return event

    def towards(self, wanted: Recentre, home: Home) -> Shift | None:
        """The shift that brings a place to the middle; None when it is near enough."""
        x, y = self._centres.get(wanted.position, (home.x_um, home.y_um))
        dx, dy = wanted.x_um - x, wanted.y_um - y
        if math.hypot(dx, dy) < wanted.min_shift_um:
            return None
        if wanted.position in self._centres:
            self._centres[wanted.position] = (wanted.x_um, wanted.y_um)
        return Shift(wanted.position, dx, dy)

    def _changed(self, event: useq.MDAEvent) -> useq.MDAEvent:
        if self._fixed is not None and event.x_pos is None and event.y_pos is None:
            update = {"x_pos": self._fixed[0], "y_pos": self._fixed[1]}
            event = event.model_copy(update=update)
        by = self._shifts.get(position_key(event.index, event.pos_name))
        if by is not None:
            event = moved(event, *by)
        if self._exposure_ms is not None:
            event = event.model_copy(update={"exposure": self._exposure_ms})
        preset = self._preset
        if preset is not None:
            self._left -= 1
            if event.channel is not None and event.channel.group == preset.channel.group:
                event = event.model_copy(update={"channel": preset.channel})
        return event

    def uncount(self) -> None:
        """The last event did not run after all."""
        self._left += 1

    def ending(self) -> useq.MDAEvent | None:
        """The move back, once a preset has had its frames."""
        preset = self._preset
        if preset is None or preset.for_frames is None or self._left > 0:
            return None
        self._preset = None
        return move(channel=replace_config(preset.channel, preset.before))


def replace_config(channel: EventChannel, config: str) -> EventChannel:
    """Another preset of the same group."""
    return EventChannel(group=channel.group, config=config)


def shifted(home: Home, by: Shift) -> Home:
    """A home moved along with the plan."""
    return replace(
        home, x_um=home.x_um + by.x_um, y_um=home.y_um + by.y_um, z_um=home.z_um + by.z_um
    )


def with_preset(home: Home, channel: EventChannel) -> Home:
    """A home that stands at another preset, because the plan shall go on so."""
    if home.channel is not None and home.channel.group == channel.group:
        return replace(home, channel=channel)
    presets = dict(home.presets)
    if channel.group in presets:
        presets[channel.group] = channel.config
    return replace(home, presets=tuple(presets.items()))
