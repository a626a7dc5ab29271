"""Whether an event keeps to the limits: pure, so that a block can be judged before it runs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import useq

from drivers.errors import ProtectionError
from drivers.limits import LimitSettings

Setting = tuple[str, str, str]

_CORE_KEYS = ("AutoShutter", "Shutter", "Camera", "Focus", "XYStage", "Initialize", "SLM")
"""Properties of the core itself that would take a device away from under its limits."""


@dataclass(frozen=True, slots=True)
class Present:
    """How the microscope stands, or will stand once an event was carried out."""

    x_um: float | None = None
    """None: not known yet."""
    y_um: float | None = None
    z_um: float | None = None
    exposure_ms: float = 0.0
    objective: str | None = None
    preset: str = ""
    """Of the channel group."""
    properties: dict[tuple[str, str], str] = field(default_factory=dict)
    """Set by events since the preset was."""


class Knows(Protocol):
    """What must be known of the devices; `drivers.devices.Devices` for a Micro-Manager core."""

    camera: str
    stages: set[str]
    shutters: set[str]
    focus: str

    def settings(self, group: str, preset: str) -> tuple[Setting, ...]:
        """What a preset sets."""

    def preset_with(self, group: str, device: str, name: str, value: str) -> str | None:
        """The only preset that sets this and nothing else."""

    def in_group(self, group: str, device: str) -> bool:
        """Whether any preset of ``group`` sets this device."""


def after(
    event: useq.MDAEvent,
    now: Present,
    limits: LimitSettings,
    devices: Knows | None = None,
    channel_group: str = "",
) -> Present:
    """How the microscope will stand after ``event``.

    Parameters
    ----------
    event
        What is asked for.
    now
        How it stands.
    limits
        That bind.
    devices
        What presets and properties do; without it they are only taken by their names.
    channel_group
        Whose presets are the channels.

    Raises
    ------
    ProtectionError
        When it would not keep to a limit: which one, by how much, and the key to change.
    """
    _finite(event)
    group, preset = (event.channel.group, event.channel.config) if event.channel else ("", "")
    by_preset = devices.settings(group, preset) if devices and preset else ()
    by_hand = tuple((str(d), str(n), str(v)) for d, n, v in event.properties or ())
    if devices is not None:
        _no_way_round(by_preset, by_hand, devices, limits)
    objective = _objective(event, now, limits, (*by_preset, *by_hand), devices)
    exposure = now.exposure_ms
    for asked in _exposures(event, (*by_preset, *by_hand), devices):
        _exposure(asked, limits)
        exposure = asked
    if event.slm_image is not None and event.slm_image.exposure is not None:
        _exposure(float(event.slm_image.exposure), limits)
    x = now.x_um if event.x_pos is None else float(event.x_pos)
    y = now.y_um if event.y_pos is None else float(event.y_pos)
    z = now.z_um if event.z_pos is None else float(event.z_pos)
    if event.x_pos is not None or event.y_pos is not None:
        _inside("x", x, limits.x_um)
        _inside("y", y, limits.y_um)
        _step_xy(now, x, y, limits)
    if event.z_pos is not None:
        _inside("z", z, limits.z_um)
        _step_z(now, z, limits)
    if event.z_pos is not None or objective != now.objective:
        _clearance(z, objective, limits)
        if not _fits(z, now.objective, limits):
            # Under the old objective there is no room: it must change before the focus moves.
            if objective == now.objective:
                _clearance(z, now.objective, limits)
            _clearance(now.z_um, objective, limits)
    is_channel = bool(preset) and group in ("", channel_group)
    kept = {} if preset else dict(now.properties)
    kept |= {(device, name): value for device, name, value in by_hand}
    return replace(
        now,
        x_um=x,
        y_um=y,
        z_um=z,
        exposure_ms=exposure,
        objective=objective,
        preset=preset if is_channel else now.preset,
        properties=kept,
    )


def objective_first(event: useq.MDAEvent, now: Present, limits: LimitSettings) -> bool:
    """Whether an event that passed `after` must change the objective before the focus moves."""
    changes = event.channel is not None and event.channel.group == limits.objective_group
    return changes and event.z_pos is not None and not _fits(event.z_pos, now.objective, limits)


def ready_to_expose(now: Present, frames: int | None, limits: LimitSettings) -> None:
    """Raise ``ProtectionError`` when an exposure, or a sequence of them, is over a limit.

    Asked again just before light goes on, because a preset or a panel may have changed it.
    """
    _exposure(now.exposure_ms, limits)
    longest = limits.max_sequence_s
    if longest is None or frames == 1:
        return
    if frames is None:
        raise ProtectionError(
            "an endless sequence was asked for, which limits.max_sequence_s = "
            f"{longest:g} does not allow; give a number of frames, or take that limit out"
        )
    seconds = frames * now.exposure_ms / 1e3
    if seconds > longest:
        raise ProtectionError(
            f"a sequence of {frames} frames of {now.exposure_ms:g} ms is {seconds:g} s of light, "
            f"over limits.max_sequence_s = {longest:g}; ask for fewer frames or raise the limit"
        )


def _finite(event: useq.MDAEvent) -> None:
    for what, value in (
        ("x_pos", event.x_pos),
        ("y_pos", event.y_pos),
        ("z_pos", event.z_pos),
        ("exposure", event.exposure),
        ("slm_image.exposure", event.slm_image.exposure if event.slm_image else None),
    ):
        if value is not None and not math.isfinite(value):
            raise ProtectionError(f"event has {what} = {value}, need a number; nothing was moved")
    if event.exposure is not None and event.exposure <= 0:
        raise ProtectionError(f"event has exposure = {event.exposure} ms, need more than 0")


def _inside(axis: str, value: float | None, limit: tuple[float, float] | None) -> None:
    if value is None or limit is None or limit[0] <= value <= limit[1]:
        return
    raise ProtectionError(
        f"event moves {axis} to {value:g} µm, outside the limit {axis}_um = {limit[0]:g} to "
        f"{limit[1]:g}; nothing was moved (key limits.{axis}_um of the rig)"
    )


def _step_xy(now: Present, x: float | None, y: float | None, limits: LimitSettings) -> None:
    if limits.max_step_xy_um is None:
        return
    if now.x_um is None or now.y_um is None or x is None or y is None:
        return  # the first move of a rig that cannot say where it stands
    way = math.hypot(x - now.x_um, y - now.y_um)
    if way > limits.max_step_xy_um:
        raise ProtectionError(
            f"event moves the stage by {way:g} µm, from ({now.x_um:g}, {now.y_um:g}) to "
            f"({x:g}, {y:g}), over limits.max_step_xy_um = {limits.max_step_xy_um:g}; nothing "
            "was moved. Go there in shorter steps, or raise the limit"
        )


def _step_z(now: Present, z: float | None, limits: LimitSettings) -> None:
    if limits.max_step_z_um is None or now.z_um is None or z is None:
        return
    way = abs(z - now.z_um)
    if way > limits.max_step_z_um:
        raise ProtectionError(
            f"event moves the focus by {way:g} µm, from {now.z_um:g} to {z:g}, over "
            f"limits.max_step_z_um = {limits.max_step_z_um:g}; nothing was moved. Go there in "
            "shorter steps, or raise the limit"
        )


def _fits(z: float | None, objective: str | None, limits: LimitSettings) -> bool:
    room = limits.z_range(objective) if limits.z_um_by_objective else None
    return room is None or (z is not None and room[0] <= z <= room[1])


def _clearance(z: float | None, objective: str | None, limits: LimitSettings) -> None:
    room = limits.z_range(objective)
    if room is None or _fits(z, objective, limits):
        return
    if z is None:
        raise ProtectionError(
            "where the focus stands is not known, so the objective cannot be changed within "
            "limits.z_um_by_objective; give the event a z position"
        )
    which = f"{objective!r}" if objective else "an objective that is not known"
    raise ProtectionError(
        f"z = {z:g} µm is not within {room[0]:g} to {room[1]:g} for {which}; nothing was moved "
        f"(key limits.z_um_by_objective{f'.{objective}' if objective else ''} of the rig)"
    )


def _objective(
    event: useq.MDAEvent,
    now: Present,
    limits: LimitSettings,
    settings: tuple[Setting, ...],
    devices: Knows | None,
) -> str | None:
    """Preset of the objective group after the event; None when it is not known."""
    if event.channel is not None and event.channel.group == limits.objective_group:
        return event.channel.config
    found = now.objective
    if devices is None or not limits.z_um_by_objective:
        return found
    for device, name, value in settings:
        if devices.in_group(limits.objective_group, device):
            found = devices.preset_with(limits.objective_group, device, name, value)
    return found


def _exposures(
    event: useq.MDAEvent, settings: tuple[Setting, ...], devices: Knows | None
) -> Iterator[float]:
    """Every exposure, ms, that the event sets, the one that stays last."""
    for device, name, value in settings:
        if devices is not None and device == devices.camera and name.casefold() == "exposure":
            yield _number(device, name, value)
    if event.exposure is not None:
        yield float(event.exposure)


def _exposure(asked: float, limits: LimitSettings) -> None:
    longest = limits.max_exposure_ms
    if longest is not None and asked > longest:
        raise ProtectionError(
            f"an exposure of {asked:g} ms was asked for, over the limit max_exposure_ms = "
            f"{longest:g}; nothing was exposed (key limits.max_exposure_ms of the rig)"
        )


def _no_way_round(
    by_preset: tuple[Setting, ...],
    by_hand: tuple[Setting, ...],
    devices: Knows,
    limits: LimitSettings,
) -> None:
    """Refuse properties that would go round a limit."""
    bounded = limits.x_um or limits.y_um or limits.z_um or limits.z_um_by_objective
    for device, name, _ in (*by_preset, *by_hand) if bounded else by_hand:
        if device in devices.stages and "position" in name.casefold():
            raise ProtectionError(
                f"{device}-{name} moves a stage past its limits; give x_pos, y_pos or z_pos instead"
            )
    for device, name, value in by_hand:
        if device in devices.shutters and name == "State" and value not in ("0", "Closed"):
            raise ProtectionError(
                f"{device}-{name} = {value} would leave the light on; it goes on with each "
                "exposure, and nothing else may open it"
            )
        if device == "Core" and name in _CORE_KEYS:
            raise ProtectionError(
                f"Core-{name} cannot be changed in a run: it would take a device from under its "
                "limits; set it in the configuration"
            )


def _number(device: str, name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ProtectionError(f"{device}-{name} = {value!r} is no number; nothing was changed")
    return number
