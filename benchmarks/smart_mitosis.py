"""Mitosis → burst on the simulated sample, frame by frame in one process, against the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.smart_scope import VirtualScope, context_of
from drivers.simulated.settings import SimulatedSettings
from live.experiment.loading import load_experiment
from live.experiment.settings import ExperimentSettings
from live.rules.decisions import Action, Decision, RuleBook
from live.scoring.truth import TruthScore, score_divisions
from models import load_pipeline

EXPERIMENT = "mitosis"


@dataclass(frozen=True, slots=True)
class MitosisRun:
    """What came of one sample."""

    seed: int
    frames: int
    bursts: int
    score: TruthScore


def run_mitosis(seed: int, frames: int, experiment: ExperimentSettings | None = None) -> MitosisRun:
    """Image one sample as the experiment says, and hold its decisions against what happened.

    Each burst of the rule is carried out: the stage goes to the cell, the frames come at the
    burst's rate, and then the plan goes on where it was.
    """
    settings = experiment or load_experiment(EXPERIMENT)
    rule = settings.rules[0]
    action: Any = rule.then[0] if isinstance(rule.then, tuple) else rule.then
    interval_s = float(settings.plan.time_plan.interval.total_seconds())  # type: ignore[union-attr]
    fast_s = interval_s / (action.rate_factor or 1.0)
    scope = VirtualScope(SimulatedSettings(seed=seed))
    book = RuleBook(settings.rules)
    decisions: list[Decision] = []
    left, bursts = 0, 0
    with load_pipeline(settings.pipeline) as pipeline:
        pipeline.warm_up((512, 512), "uint16")
        while scope.taken < frames:
            pixels, meta, _ = scope.snap(fast_s if left else interval_s)
            result = pipeline.run(pixels, context_of(meta, pixels.shape))
            now_ns = meta.captured_ns
            new = book.judge(
                result.objects, meta, pixels.shape, now_ns, result.classes, result.verdict
            )
            decisions += new
            left = max(0, left - 1)
            if left == 0:
                if scope.place_um != (0.0, 0.0):
                    book.finished(rule.name, now_ns)
                scope.place_um = (0.0, 0.0)
            fired = [one for one in new if one.action is Action.BURST]
            if fired and left == 0:
                scope.place_um = (fired[0].x_um, fired[0].y_um)
                left, bursts = action.frames, bursts + 1
    return MitosisRun(seed, scope.taken, bursts, score_divisions(decisions, scope.divisions()))
