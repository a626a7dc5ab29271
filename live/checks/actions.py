"""Actions of rules that could not be carried out whenever the rule fired: found before it does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from drivers import ImageFormat, LimitSettings, RigInfo
from drivers.protect_checks import Present
from live.actions.ability import rule_actions
from live.experiment.didyoumean import suggestion
from live.experiment.settings import ExperimentSettings
from live.experiment.yamlfile import KeyPath

AUTOFOCUS_EXTRA = 9
"""Frames of an autofocus' second sweep at the most."""


def frames_of(action: Any) -> int:
    """The most frames that one firing takes; 0 for what takes none, or is a plug-in's."""
    match getattr(action, "kind", ""):
        case "burst" | "goto":
            return int(action.frames)
        case "zstack":
            return _planes(action)
        case "autofocus":
            return _planes(action) + AUTOFOCUS_EXTRA
        case "tile":
            return int(action.rows * action.columns)
        case _:
            return 0


def most_frames(settings: ExperimentSettings) -> int:
    """Frames that all rules together can take at the most."""
    return sum(
        rule.max_firings * frames_of(action)
        for rule in settings.rules
        for _, action in rule_actions(rule)
    )


def action_problems(
    settings: ExperimentSettings,
    stands: Sequence[Present],
    info: RigInfo | None,
    image: ImageFormat | None,
) -> Iterator[tuple[KeyPath, str]]:
    """What the rules' actions ask for that this rig, or a limit, would refuse in any case.

    Parameters
    ----------
    settings
        The experiment.
    stands
        How the microscope stands at each frame of the plan: an action begins from one of them.
    info, image
        What the opened rig says of itself; what needs them is left out when they are None.
    """
    found = getattr(settings.rig, "limits", None)
    limits = found if isinstance(found, LimitSettings) else LimitSettings()
    for number, rule in enumerate(settings.rules):
        for place, action in rule_actions(rule):
            key = ("rules", number, *place)
            yield from _exposure(action, key, limits, stands)
            yield from _depth(action, key, limits, stands)
            yield from _extent(action, key, limits, image)
            if info is not None and info.presets:
                yield from _preset(action, key, info)


def _exposure(
    action: Any, key: KeyPath, limits: LimitSettings, stands: Sequence[Present]
) -> Iterator[tuple[KeyPath, str]]:
    own = getattr(action, "exposure_ms", None)
    most = limits.max_exposure_ms
    if own is not None and most is not None and own > most:
        yield (*key, "exposure_ms"), f"exposes for {own:g} ms, the rig allows {most:g}; lower it"
    longest = limits.max_sequence_s
    hardware = getattr(action, "hardware", None) or getattr(action, "interval_ms", None) == 0
    exposure_ms = own or min((now.exposure_ms for now in stands), default=0.0)
    if longest is None or getattr(action, "kind", "") != "burst" or not hardware:
        return
    if exposure_ms / 1e3 > longest:
        yield (
            key,
            f"one frame of {exposure_ms:g} ms is longer than limits.max_sequence_s = {longest:g} "
            "of the rig; shorten the exposure or raise the limit",
        )


def _depth(
    action: Any, key: KeyPath, limits: LimitSettings, stands: Sequence[Present]
) -> Iterator[tuple[KeyPath, str]]:
    """A sweep of the focus that fits nowhere in the plan."""
    reach = getattr(action, "range_um", None)
    if reach is None:
        return
    objective = _objective(action, limits)
    rooms = []
    for now in stands or [Present()]:
        room = limits.z_range(objective or now.objective)
        if room is None:
            return
        rooms.append((now.z_um, room))
    for z, (low, high) in rooms:
        middle = (low + high) / 2 if z is None else z
        if low <= middle - reach / 2 and middle + reach / 2 <= high:
            return
    z, (low, high) = rooms[0]
    at = "" if z is None else f" round z = {z:g} µm"
    yield (
        (*key, "range_um"),
        f"a range of {reach:g} µm{at} leaves the rig's z limits of {low:g} to {high:g}, wherever "
        "in the plan the rule fires; make it smaller",
    )


def _extent(
    action: Any, key: KeyPath, limits: LimitSettings, image: ImageFormat | None
) -> Iterator[tuple[KeyPath, str]]:
    """A grid of tiles that is larger than the stage's box."""
    if getattr(action, "kind", "") != "tile" or image is None or image.pixel_size_um <= 0:
        return
    sides = (
        ("x_um", "columns", action.columns, image.width, limits.x_um),
        ("y_um", "rows", action.rows, image.height, limits.y_um),
    )
    for limit, name, count, pixels, room in sides:
        reach = (count - 1) * pixels * image.pixel_size_um * (1 - action.overlap)
        if room is not None and reach > room[1] - room[0]:
            yield (
                (*key, name),
                f"{count} {name} reach over {reach:.0f} µm, the rig's {limit} leaves "
                f"{room[1] - room[0]:g}; take fewer",
            )


def _preset(action: Any, key: KeyPath, info: RigInfo) -> Iterator[tuple[KeyPath, str]]:
    kind = getattr(action, "kind", "")
    if kind == "preset":
        group, name = action.group, action.config
        group_key, name_key = (*key, "group"), (*key, "config")
    elif isinstance(getattr(action, "preset", None), str):
        group, _, name = action.preset.rpartition("/")
        group_key = name_key = (*key, "preset")
    else:
        return
    if group in ("", "Channel") and group not in info.presets:
        group = info.channel_group
    if group not in info.presets:
        yield group_key, f"no group '{group}' on this rig; {suggestion(group, info.presets)}"
    elif name not in info.presets[group]:
        hint = suggestion(name, info.presets[group])
        yield name_key, f"no preset '{name}' in group '{group}'; {hint}"


def _objective(action: Any, limits: LimitSettings) -> str | None:
    """The objective that an action changes to; None when it keeps the one there is."""
    group, _, name = str(getattr(action, "preset", None) or "").rpartition("/")
    return name if group == limits.objective_group else None


def _planes(action: Any) -> int:
    count: int = math.floor(action.range_um / action.step_um + 1e-9) + 1
    return count
