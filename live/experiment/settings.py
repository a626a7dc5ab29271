"""What an experiment is, as people write it in YAML: rig, pipeline, plan, rules, recording.

Pure data: frozen pydantic models that refuse unknown keys. ``live.experiment.loading`` reads
them from files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import useq
import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_serializer,
    field_validator,
    model_validator,
)

from drivers.settings import RigSettings
from live.actions.settings import BurstAction as BurstAction
from live.experiment.didyoumean import key_problems
from live.experiment.yamlfile import key_text
from live.light.settings import LightSettings
from live.plan.source import endless_problem
from live.rules.settings import SAFE_NAME as SAFE_NAME
from live.rules.settings import RuleSettings as RuleSettings
from models.settings import PipelineSettings, Threads


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class InferenceSettings(_Settings):
    """How frames reach the inference process."""

    policy: Literal["every", "newest", "wait"] = "newest"
    """``newest`` passes over frames when analysis is slower than the camera; ``every`` queues as
    many as fit the ring; ``wait`` slows imaging down, for recorded data only."""
    channel: str | None = None
    """Analyse frames of this preset only; None: of the plan's first channel, or every frame of a
    plan without channels. All frames are recorded whatever this says."""
    engine: str | None = None
    """Run the pipeline's network on this engine instead of the one that the pipeline names."""
    threads: Threads | None = None
    """CPU threads of the network instead of the pipeline's own number."""
    ring_mb: int = Field(default=256, ge=16, le=65_536)
    """Shared memory that holds the newest frames."""
    port: int | None = Field(default=None, ge=1, le=65_535)
    """TCP port, on this computer only, for the messages between the processes; None takes a free
    one."""


class RecordSettings(_Settings):
    """What is kept."""

    raw: Literal[True] = True
    """Raw frames are always recorded; the key exists to say so."""
    labels: bool = True
    """Keep the label image of every analysed frame."""
    denoised: bool = False
    """Keep denoised images, beside the raw ones."""
    reserve_mb: int = Field(default=500, ge=0)
    """A run is not started, and ends in order, when less than this is free on the disk."""


class DisplaySettings(_Settings):
    """The live window."""

    rate_hz: float = Field(default=30.0, gt=0, le=60)
    """The most pictures that are sent to the window in a second."""


class ExperimentSettings(_Settings):
    """One experiment with everything it refers to filled in.

    ``rig`` and ``pipeline`` may be names or paths in YAML; ``live.experiment.loading`` replaces
    them by what is in those files, so that this object, and the copy of it in the run folder,
    depend on no other file.
    """

    name: str = Field(default="experiment", pattern=SAFE_NAME)
    rig: RigSettings
    pipeline: PipelineSettings
    plan: useq.MDASequence
    late: Literal["skip", "run"] = "skip"
    """What became due while a rule's action ran: of each place image the newest time point only,
    or all of them one after the other. Either way each is recorded as late."""
    open_ended: bool = False
    """Go on after the plan's last time point, at its last interval, until somebody stops."""
    rules: tuple[RuleSettings, ...] = ()
    latency_budget_ms: float | None = Field(default=None, gt=0)
    """From the end of exposure to the decision. What takes longer is counted, and an alarm in the
    log, journal and window says so; nothing is dropped for it."""
    light: LightSettings = LightSettings()
    inference: InferenceSettings = InferenceSettings()
    record: RecordSettings = RecordSettings()
    display: DisplaySettings = DisplaySettings()

    @field_validator("plan", mode="before")
    @classmethod
    def _nothing_dropped(cls, value: Any) -> Any:
        """Refuse what useq would drop without a word."""
        if isinstance(value, Mapping):
            problems = key_problems(useq.MDASequence, value)
            if problems:
                raise ValueError("; ".join(f"{key_text(p.key)}: {p.message}" for p in problems))
        return value

    @model_validator(mode="after")
    def _rules_have_names(self) -> Self:
        names = [rule.name for rule in self.rules]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two rules are called '{name}'; give each its own name")
        return self

    @model_validator(mode="after")
    def _open_ended_plan(self) -> Self:
        if self.open_ended and (problem := endless_problem(self.plan)):
            raise ValueError(f"open_ended: {problem}")
        return self

    @field_serializer("plan")
    def _plan_as_data(self, plan: useq.MDASequence) -> dict[str, Any]:
        return plan.model_dump(mode="json", exclude_none=True)

    def to_yaml(self) -> str:
        """The whole experiment as YAML that ``parfocal run`` takes again."""
        data = self.model_dump(mode="json", exclude_none=True)
        # Here null can say something: an interval of null is that of the plan.
        data["rules"] = [rule.model_dump(mode="json") for rule in self.rules]
        return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))
