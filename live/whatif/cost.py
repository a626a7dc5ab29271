"""What firings would cost: frames, time, light by the run's own ledger, and disk.

The frames of an action are those that the acquisition would be given. What finds its frames only
while it runs (a search for focus) counts with the most that it can take, at the object's place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from drivers import Light, LightSpent
from live.actions.ability import plugin_names, then_of
from live.actions.blocks import Cause, block_for
from live.actions.plugins import load_plugins
from live.checks.actions import frames_of
from live.experiment.settings import ExperimentSettings
from live.light.dose import DoseLedger
from live.plan.blocks import Block
from live.plan.facts import plan_facts
from live.rules.decisions import Decision
from live.whatif.recorded import RecordedFrame, Seen


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one firing."""

    lights: tuple[tuple[Light, int], ...] = ()
    """Each with its number of frames."""
    seconds: float = 0.0
    nbytes: int = 0
    problem: str = ""
    """Why the action could not have been carried out."""

    @property
    def frames(self) -> int:
        """Frames that it takes."""
        return sum(count for _, count in self.lights)


@dataclass(slots=True)
class Costs:
    """Works out costs for the rules of one experiment.

    Parameters
    ----------
    settings
        With the rules that are asked about.
    """

    settings: ExperimentSettings
    _interval_s: float = field(init=False)
    _group: str = field(init=False)
    _plugins: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        """Look up once what every firing needs."""
        self._interval_s = plan_facts(self.settings.plan).interval_s
        channels = self.settings.plan.channels
        self._group = channels[0].group if channels else "Channel"
        self._plugins, _ = load_plugins(plugin_names(self.settings.rules))

    def of(self, decision: Decision, frame: RecordedFrame, seen: Seen) -> Cost:
        """Of what a decision that fires asks for."""
        rule = next(one for one in self.settings.rules if one.name == decision.rule)
        if rule.mode == "observe":
            return Cost()
        actions = then_of(rule, "afterwards" if decision.afterwards else "then")
        cause = Cause(
            decision=decision.number,
            rule=rule.name,
            because=decision.because,
            meta=frame.meta,
            shape=frame.shape,
            place_um=(decision.x_um, decision.y_um),
            place_px=(decision.y_px, decision.x_px),
            rows=seen.objects[np.isin(seen.objects["track_id"], decision.objects)],
            group=self._group,
            interval_s=self._interval_s,
            slm_affine=getattr(self.settings.rig, "slm_affine", None),
            plugins=self._plugins,
        )
        lights: list[tuple[Light, int]] = []
        seconds, problems = 0.0, []
        for action in actions:
            if action.kind == "stimulate":
                # How long its light is on stands in the action; where, only the modulator knows.
                continue
            try:
                block: Block | None = block_for((action,), cause)
            except ValueError as error:
                problems.append(str(error))
                continue
            most = frames_of(action)
            while block is not None:
                seconds += _add(block, frame, most, lights)
                block = block.following
        nbytes = frame.nbytes * sum(count for _, count in lights)
        return Cost(tuple(lights), seconds, nbytes, "; ".join(problems))


def _add(block: Block, frame: RecordedFrame, most: int, lights: list[tuple[Light, int]]) -> float:
    """Add a block's light; how long it takes, without the way there."""
    if block.script is not None:
        exposure_s = frame.meta.exposure_ms / 1e3
        lights.append((_light(frame, None, None, frame.meta.channel, exposure_s, 0.0), most))
        return most * exposure_s
    seconds = 0.0
    hardware = block.hardware if block.hardware is not None else block.interval_s == 0
    for event in block.events:
        exposure_s = (event.exposure or frame.meta.exposure_ms) / 1e3
        preset = event.channel.config if event.channel is not None else frame.meta.channel
        period_s = block.interval_s if hardware else 0.0
        light = _light(frame, event.x_pos, event.y_pos, preset, exposure_s, period_s)
        if lights and lights[-1][0] == light:
            lights[-1] = (light, lights[-1][1] + 1)
        else:
            lights.append((light, 1))
        seconds += max(exposure_s, block.interval_s)
    return seconds


def _light(
    frame: RecordedFrame,
    x_um: float | None,
    y_um: float | None,
    preset: str,
    exposure_s: float,
    period_s: float,
) -> Light:
    meta = frame.meta
    x = meta.x_um if x_um is None else x_um
    y = meta.y_um if y_um is None else y_um
    width, height = frame.shape[1] * meta.pixel_size_um, frame.shape[0] * meta.pixel_size_um
    place = (x if math.isfinite(x) else 0.0, y if math.isfinite(y) else 0.0)
    return Light(*place, width, height, preset, exposure_s, period_s)


def light_of(
    settings: ExperimentSettings, frames: Sequence[RecordedFrame], costs: Sequence[Cost]
) -> dict[str, Any]:
    """Light of the plan's recorded frames and of the firings, by the ledger that a run counts with.

    Keys as ``light`` of a run's report, and beside them ``plan`` and ``rules``, parts of the
    ``total``; ``problem`` where a cap of the experiment would be passed or a power is not known.
    """
    ledger, problem = DoseLedger(settings.light), ""
    planned = [frame for frame in frames if frame.meta.decision < 0]
    total = 0.0
    try:
        for frame in planned:
            exposure_s = frame.meta.exposure_ms / 1e3
            ledger.add(_light(frame, None, None, frame.meta.channel, exposure_s, 0.0))
        total = ledger.totals.dose
        for cost in costs:
            problem = problem or ledger.objection(cost.lights) or ""
            for light, count in cost.lights:
                ledger.add(light, count)
    except LightSpent as error:
        problem = str(error)
    found = ledger.to_json()
    kept = ("unit", "total", "light_s", "frames", "by_preset", "max_position", "caps")
    return {key: found[key] for key in kept} | {
        "plan": total,
        "rules": found["total"] - total,
        "problem": problem,
    }
