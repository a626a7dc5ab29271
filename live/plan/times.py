"""What a plan comes to: how long, how far, how much light. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import useq

from drivers import LimitSettings, MotionSettings, ProtectionError
from drivers.devices import Devices
from drivers.protect_checks import Present, after
from live.experiment.didyoumean import suggestion
from live.experiment.yamlfile import KeyPath
from live.plan.facts import key_of

MOST_TOLD = 5
"""Problems of one kind; what else there is is counted."""


@dataclass(frozen=True, slots=True)
class PointTimes:
    """One time point of a plan, and the way back to its beginning."""

    seconds: float
    """Exposures, moves and read-out; the least that a time point takes."""
    exposures_s: float
    travel_um: float
    """Of the stage."""
    stands: tuple[Present, ...]
    """How the microscope stands at each frame."""


def point_times(
    events: Sequence[useq.MDAEvent], start: Present, motion: MotionSettings
) -> PointTimes:
    """Walk through the events of one time point.

    Parameters
    ----------
    events
        Of the first time point.
    start
        How the microscope stands before; None for what is not known.
    motion
        How fast it is.
    """
    stands = list(_stands(events, start))
    if not stands:
        return PointTimes(0.0, 0.0, 0.0, ())
    spent_ms = travel = 0.0
    # From the last position back to the first: the next time point begins there.
    for before, now in zip([stands[-1], *stands], stands, strict=False):
        dx, dy, dz = (
            0.0 if a is None or b is None else b - a
            for a, b in (
                (before.x_um, now.x_um),
                (before.y_um, now.y_um),
                (before.z_um, now.z_um),
            )
        )
        travel += math.hypot(dx, dy)
        spent_ms += motion.xy_ms(dx, dy) + motion.z_ms(dz) + motion.frame_ms
        spent_ms += motion.preset_ms if now.preset != before.preset else 0.0
    exposures_ms = sum(now.exposure_ms for now in stands)
    return PointTimes((spent_ms + exposures_ms) / 1e3, exposures_ms / 1e3, travel, tuple(stands))


def move_problems(
    plan: useq.MDASequence,
    events: Sequence[useq.MDAEvent],
    start: Present,
    limits: LimitSettings,
    devices: Devices | None,
    group: str,
) -> Iterator[tuple[KeyPath, str]]:
    """What the gate would refuse of a plan beside the box and the exposures: steps, clearance."""
    # The plain limits have their own words, with the place in the plan.
    rest = limits.model_copy(
        update={"x_um": None, "y_um": None, "z_um": None, "max_exposure_ms": None}
    )
    now, told = start, 0
    for event in events:
        try:
            now = after(event, now, rest, devices, group)
        except ProtectionError as error:
            told += 1
            if told <= MOST_TOLD:
                yield key_of(plan, event), str(error).replace("event moves", "moves")
            now = next(_stands([event], now))
    if told > MOST_TOLD:
        yield ("plan",), f"and {told - MOST_TOLD} more moves that a limit refuses"


def intervals(plan: useq.MDASequence) -> list[tuple[float, int]]:
    """Interval, s, and number of time points of each phase of a plan."""
    times = plan.time_plan
    if times is None:
        return []
    found = []
    for phase in getattr(times, "phases", [times]):
        step = getattr(phase, "interval", None)
        points = int(phase.num_timepoints())
        if step is None and points > 1:  # given by its duration
            moments = iter(phase)
            first = next(moments)
            found.append((next(moments) - first, points))
        else:
            found.append((0.0 if step is None else step.total_seconds(), points))
    return found


def too_fast(
    plan: useq.MDASequence, point: PointTimes, exposures_only_told: bool
) -> Iterator[tuple[KeyPath, str]]:
    """Whether a time point takes longer than the next one waits."""
    shortest = min((step for step, points in intervals(plan) if step > 0 and points > 1), default=0)
    if exposures_only_told or not 0 < shortest < point.seconds:
        return
    yield (
        ("plan", "time_plan"),
        f"time points are {shortest * 1e3:g} ms apart, but the exposures and moves of one take "
        f"{point.seconds * 1e3:.0f} ms ({point.exposures_s * 1e3:.0f} ms of exposure, "
        f"{point.travel_um:.0f} µm of travel, at the rig's `motion`); give an interval of "
        f"{math.ceil(point.seconds * 100) / 100:g} s or more, or image less",
    )


def unknown_objectives(
    limits: LimitSettings, presets: dict[str, tuple[str, ...]]
) -> Iterator[tuple[KeyPath, str]]:
    """Objectives in the table of clearances that this rig does not have."""
    if not limits.z_um_by_objective:
        return
    group = limits.objective_group
    if group not in presets:
        yield (
            ("rig", "limits", "objective_group"),
            f"no group '{group}' on this rig; {suggestion(group, presets)}",
        )
        return
    for name in limits.z_um_by_objective:
        if name not in presets[group]:
            yield (
                ("rig", "limits", "z_um_by_objective", name),
                f"no objective '{name}' in group '{group}'; {suggestion(name, presets[group])}",
            )


def _stands(events: Sequence[useq.MDAEvent], start: Present) -> Iterator[Present]:
    """How the microscope would stand at each event if all of them were carried out."""
    now = start
    for event in events:
        asked = {
            "x_um": event.x_pos,
            "y_um": event.y_pos,
            "z_um": event.z_pos,
            "exposure_ms": event.exposure,
        }
        known = {name: float(value) for name, value in asked.items() if value is not None}
        now = replace(now, **known)  # type: ignore[arg-type]
        if event.channel is not None:
            now = replace(now, preset=event.channel.config)
        yield now
