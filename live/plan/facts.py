"""What a plan asks for, and whether a given rig and pipeline can do it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import useq

from drivers.rig import RigInfo, StageLimits
from live.checks.rules import rule_problems
from live.experiment.didyoumean import suggestion
from live.experiment.settings import ExperimentSettings
from live.experiment.yamlfile import KeyPath

_MOST_EVENTS = 100_000


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """What a plan comes to."""

    frames: int
    """How many it takes; an upper bound where a channel skips time points."""
    interval_s: float
    """Between time points; 0 without a time plan, or as fast as possible."""
    exposures_ms: float
    """Sum over the frames of one time point."""
    events: tuple[useq.MDAEvent, ...]
    """Those of the first time point, which show all there is but time."""


def plan_facts(plan: useq.MDASequence) -> PlanFacts:
    """Look through a plan without walking all its time points."""
    times = plan.time_plan
    still = plan.replace(time_plan=None) if times is not None else plan
    events = tuple(islice(still, _MOST_EVENTS))
    # A plan of time alone has no events once time is taken out.
    per_point = len(events) or (1 if times is not None else 0)
    interval_s, points = 0.0, 1
    if times is not None:
        points = times.num_timepoints()
        first = list(islice(iter(times), 2))
        interval_s = first[1] - first[0] if len(first) == 2 else 0.0
        events = events or tuple(islice(plan, 1))
    exposures = sum(event.exposure or 0.0 for event in events)
    return PlanFacts(per_point * points, interval_s, exposures, events)


def plan_problems(
    settings: ExperimentSettings, facts: PlanFacts, info: RigInfo | None = None
) -> list[tuple[KeyPath, str]]:
    """What the plan and the rules ask for that this rig or pipeline cannot do.

    Parameters
    ----------
    settings
        The experiment.
    facts
        Of its plan.
    info
        What the opened rig says of itself; presets are not checked without it.

    Returns
    -------
    list
        Key and sentence of each; empty when all is well.
    """
    found: list[tuple[KeyPath, str]] = []
    if facts.frames == 0:
        found.append((("plan",), "takes no frame; give at least channels or a time_plan"))
    limits = getattr(settings.rig, "limits", None)
    if limits is not None:
        bounds = limits if isinstance(limits, StageLimits) else limits.limits()
        found += _outside(settings.plan, facts, bounds)
    if info is not None and info.presets:
        found += _preset_problems(settings.plan, facts, info)
    found += _not_carried_out(settings.plan)
    found += _too_fast(facts)
    found += rule_problems(settings)
    return list(dict.fromkeys(found))


def _outside(
    plan: useq.MDASequence, facts: PlanFacts, limits: StageLimits
) -> Iterator[tuple[KeyPath, str]]:
    for event in facts.events:
        for axis, value, limit in (
            ("x", event.x_pos, limits.x_um),
            ("y", event.y_pos, limits.y_um),
            ("z", event.z_pos, limits.z_um),
        ):
            if value is not None and limit is not None and not limit[0] <= value <= limit[1]:
                key = key_of(plan, event, "z" if axis == "z" and plan.z_plan else "p")
                yield (
                    key,
                    f"goes to {axis} = {value:g} µm, the rig's limits are {limit[0]:g} to "
                    f"{limit[1]:g}; stay within, or widen limits.{axis}_um of the rig",
                )
        most = limits.max_exposure_ms
        if most is not None and (event.exposure or 0) > most:
            name = event.channel.config if event.channel else "a frame"
            yield (
                key_of(plan, event, "c"),
                f"exposes {name} for {event.exposure:g} ms, the rig allows {most:g}; expose "
                "shorter, or raise limits.max_exposure_ms of the rig",
            )


def key_of(plan: useq.MDASequence, event: useq.MDAEvent, axis: str = "p") -> KeyPath:
    """Where in the file an event of a plan comes from: its position, channel or z plan."""
    number = event.index.get(axis)
    if axis == "c" and number is not None and number < len(plan.channels):
        return ("plan", "channels", number)
    if axis == "p" and number is not None and number < len(plan.stage_positions):
        return ("plan", "stage_positions", number)
    if axis == "z" and plan.z_plan is not None:
        return ("plan", "z_plan")
    return ("plan",)


def _preset_problems(
    plan: useq.MDASequence, facts: PlanFacts, info: RigInfo
) -> Iterator[tuple[KeyPath, str]]:
    keys = {(c.group, c.config): index for index, c in reversed(list(enumerate(plan.channels)))}
    for channel in (event.channel for event in facts.events if event.channel is not None):
        index = keys.get((channel.group, channel.config))
        key: KeyPath = ("plan",) if index is None else ("plan", "channels", index)
        # A rig may call its channel group otherwise than useq's default name for it.
        group = channel.group
        if group == "Channel" and group not in info.presets and info.channel_group:
            group = info.channel_group
        if group not in info.presets:
            yield key, f"no group '{group}' on this rig; {suggestion(group, info.presets)}"
        elif channel.config not in info.presets[group]:
            names = info.presets[group]
            yield (
                key,
                f"no preset '{channel.config}' in group '{group}'; "
                f"{suggestion(channel.config, names)}",
            )


def _not_carried_out(plan: useq.MDASequence) -> Iterator[tuple[KeyPath, str]]:
    """What useq can say and this program does not do; silence would look like success."""
    if plan.autofocus_plan is not None:
        yield ("plan", "autofocus_plan"), "hardware autofocus is not carried out; leave it out"
    for index, channel in enumerate(plan.channels):
        if channel.camera is not None:
            yield (
                ("plan", "channels", index, "camera"),
                "one run uses one camera, that of the rig; leave this out",
            )
    if plan.setup is not None:
        yield (
            ("plan", "setup"),
            "set-up events are not carried out; put device properties under startup in the rig",
        )
    if plan.keep_shutter_open_across:
        yield (
            ("plan", "keep_shutter_open_across"),
            "the shutter opens for each exposure or burst; leave this out",
        )


def _too_fast(facts: PlanFacts) -> Iterator[tuple[KeyPath, str]]:
    interval_ms = facts.interval_s * 1000
    if 0 < interval_ms < facts.exposures_ms:
        yield (
            ("plan", "time_plan"),
            f"the exposures of one time point add up to {facts.exposures_ms:g} ms, but time "
            f"points are {interval_ms:g} ms apart",
        )
