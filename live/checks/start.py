"""What would stop an experiment on this rig, found before imaging starts."""

from __future__ import annotations

from drivers import LimitSettings, MotionSettings, ProtectedRig
from drivers.protect_checks import Present
from live.actions.ability import carrying_out_problems
from live.checks.actions import action_problems
from live.errors import Problem, SettingsProblems
from live.experiment.settings import ExperimentSettings
from live.experiment.yamlfile import KeyPath, key_text
from live.plan.facts import PlanFacts, plan_problems
from live.plan.times import PointTimes, move_problems, point_times, unknown_objectives


def check_start(settings: ExperimentSettings, facts: PlanFacts, rig: ProtectedRig) -> None:
    """Raise ``SettingsProblems`` with all that `start_problems` finds."""
    found = start_problems(settings, facts, rig)
    if found:
        raise SettingsProblems(Problem("", key_text(key), text) for key, text in found)


def start_problems(
    settings: ExperimentSettings, facts: PlanFacts, rig: ProtectedRig | None = None
) -> list[tuple[KeyPath, str]]:
    """Key and sentence of all that a limit, the rig or the pipeline would refuse.

    Parameters
    ----------
    settings
        The experiment.
    facts
        Of its plan.
    rig
        Open; None: only what can be said without it.
    """
    limits = getattr(settings.rig, "limits", None)
    if not isinstance(limits, LimitSettings):
        limits = LimitSettings()
    info = image = devices = None
    start, group = Present(), ""
    if rig is not None:
        info, image, devices = rig.info, rig.image_format(), rig.devices
        start, group = rig.present, rig.info.channel_group
    found = plan_problems(settings, facts, info)
    if info is not None:
        found += unknown_objectives(limits, info.presets)
    found += move_problems(settings.plan, facts.events, start, limits, devices, group)
    stands = point_of(settings, facts, start).stands
    found += action_problems(settings, stands, info, image)
    found += carrying_out_problems(settings, facts.interval_s, info, rig)
    return list(dict.fromkeys(found))


def point_of(settings: ExperimentSettings, facts: PlanFacts, start: Present) -> PointTimes:
    """One time point of the plan, by the rig's ``motion``."""
    motion = getattr(settings.rig, "motion", None)
    if not isinstance(motion, MotionSettings):
        motion = MotionSettings()
    return point_times(facts.events, start, motion)
