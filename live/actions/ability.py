"""What the rules' actions ask for that this rig or plan cannot do: found before imaging starts.

Presets, ranges and light are held against the limits in ``live.checks.actions``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from drivers import Rig, RigError, RigInfo
from live.actions.plugins import load_plugins
from live.actions.settings import ActionSettings
from live.experiment.settings import ExperimentSettings, RuleSettings
from live.experiment.yamlfile import KeyPath

_NEED_STAGE = ("recentre", "tile")
_NEED_FOCUS = ("autofocus", "zstack")


def rule_actions(rule: RuleSettings) -> list[tuple[KeyPath, ActionSettings]]:
    """Key under the rule, and settings, of every action, those after an event included."""
    found: list[tuple[KeyPath, ActionSettings]] = []
    for name in ("then", "afterwards"):
        value: Any = getattr(rule, name, None)
        if isinstance(value, tuple | list):
            several = len(value) > 1
            found += [((name, n) if several else (name,), one) for n, one in enumerate(value)]
        elif value is not None:
            found.append(((name,), value))
    return found


def then_of(rule: RuleSettings, name: str = "then") -> tuple[ActionSettings, ...]:
    """What a rule does when it fires, in order."""
    return tuple(action for key, action in rule_actions(rule) if key[0] == name)


def plugin_names(rules: tuple[RuleSettings, ...]) -> list[str]:
    """Names of the plug-in actions that the rules use."""
    return [
        action.name for rule in rules for _, action in rule_actions(rule) if action.kind == "plugin"
    ]


def carrying_out_problems(
    settings: ExperimentSettings,
    interval_s: float,
    info: RigInfo | None = None,
    rig: Rig | None = None,
) -> list[tuple[KeyPath, str]]:
    """Key and sentence of each action that could never be carried out.

    Parameters
    ----------
    settings
        The experiment.
    interval_s
        Of its plan; 0 when it has none.
    info, rig
        What was opened; what needs them is left out when they are None.
    """
    plugins, broken = load_plugins(plugin_names(settings.rules))
    del plugins
    found: list[tuple[KeyPath, str]] = []
    for number, rule in enumerate(settings.rules):
        for place, action in rule_actions(rule):
            key: KeyPath = ("rules", number, *place)
            if action.kind == "interval" and not interval_s:
                found.append(
                    ((*key, "seconds"), "the plan has no interval to change; give it a time_plan")
                )
            if action.kind == "plugin" and action.name in broken:
                found.append(((*key, "name"), broken[action.name]))
            if info is not None and info.frame_count is None:
                found += _against(action, key, settings, info)
            if rig is not None and action.kind == "set_property":
                found += _property(action.device, action.property, key, rig)
    return found


def _against(
    action: ActionSettings, key: KeyPath, settings: ExperimentSettings, info: RigInfo
) -> Iterator[tuple[KeyPath, str]]:
    if action.kind in _NEED_STAGE and "x" not in info.axes:
        yield key, f"{action.kind} needs an xy stage, and this rig has none"
    if action.kind in _NEED_FOCUS and "z" not in info.axes:
        yield key, f"{action.kind} needs a focus drive, and this rig has none"
    if action.kind == "preset" and action.group == info.channel_group:
        channels = settings.plan.channels
        if len(channels) > 1:
            yield (
                (*key, "group"),
                f"the plan images {len(channels)} channels of this group in turn, so none of its "
                "presets can be set for all of them; take them out of the plan or use a burst "
                "with a preset",
            )
    if action.kind == "stimulate":
        if not info.slms:
            yield key, "stimulate needs a spatial light modulator, and this rig has none"
        elif action.device is not None and action.device not in info.slms:
            known = ", ".join(info.slms)
            yield (*key, "device"), f"no modulator '{action.device}'; there are: {known}"
        elif getattr(settings.rig, "slm_affine", None) is None:
            yield (
                key,
                "stimulate needs the calibration from camera to modulator: give slm_affine, six "
                "numbers, in the rig's file",
            )


def _property(device: str, name: str, key: KeyPath, rig: Rig) -> Iterator[tuple[KeyPath, str]]:
    try:
        rig.read_state((), ((device, name),))
    except RigError as error:
        yield key, str(error)
