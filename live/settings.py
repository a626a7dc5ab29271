"""What an experiment is, as people write it in YAML: rig, pipeline, plan, rules, recording.

Pure data: frozen pydantic models that refuse unknown keys. ``live.loading`` reads them from files.
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
from live.didyoumean import key_problems
from live.yamlfile import key_text
from models.settings import PipelineSettings

SAFE_NAME = r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}$"
"""Names become folder names on every system."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BurstAction(_Settings):
    """Record fast at the place of the event, then go back to the plan."""

    kind: Literal["burst"] = "burst"
    frames: int = Field(gt=0, le=100_000)
    """How many frames the burst records."""
    rate_factor: float | None = Field(default=None, gt=0, le=1000)
    """Frame rate as a multiple of the plan's; 4 when ``interval_ms`` is not given either."""
    interval_ms: float | None = Field(default=None, ge=0)
    """Time between frames instead of a factor; 0 is as fast as exposure and read-out allow."""
    centre: bool = True
    """Move the stage so that the object is in the middle of the image."""

    @model_validator(mode="before")
    @classmethod
    def _one_rate(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        given = [k for k in ("rate_factor", "interval_ms") if value.get(k) is not None]
        if len(given) == 2:
            raise ValueError("rate_factor and interval_ms say the same thing; give one of them")
        return value if given else {**value, "rate_factor": 4.0}


class RuleSettings(_Settings):
    """When something is seen, do something, within bounds."""

    name: str = Field(pattern=SAFE_NAME)
    when: Literal["divided", "appeared", "became"]
    """``divided``: a mother became two daughters. ``appeared``: a new object came into view.
    ``became``: an object that was not, or not seen, is now of the class ``of_class``."""
    then: BurstAction
    min_confidence: float = Field(default=0.0, ge=0, le=1)
    """Objects that the segmentation is less sure of do not count."""
    min_age_frames: int = Field(default=1, ge=1)
    """``appeared`` and ``became``: wait until the object was seen in this many frames, for
    ``became`` in its class and in a row; 1 acts at once."""
    of_class: str | None = Field(default=None, min_length=1)
    """Objects of another class do not count. One of the names that the pipeline's ``classify``
    gives; for ``divided`` both daughters must be of it."""
    min_probability: float = Field(default=0.5, ge=0, le=1)
    """Of that class; with less an object does not count."""
    max_uncertainty: float | None = Field(default=None, ge=0, le=1)
    """Objects that were less sure than this when the pipeline's ``trust`` last checked them do not
    count; those that were never checked do. None takes all."""
    unlike: Literal["hold", "act"] = "hold"
    """While images are unlike those that the network knows, as ``trust`` says: hold back, or act
    all the same."""
    min_separation: float = Field(default=1.1, ge=0, le=10)
    """For ``divided``: act once the centres of the two daughters are this far apart, in the sum of
    their radii. A cell that a flickering outline cuts in two never gets there; 0 acts at once."""
    edge_margin_px: float = Field(default=0.0, ge=0)
    """Objects whose centre is closer than this to the border of the image do not count."""
    cooldown_s: float = Field(default=0.0, ge=0)
    """Pause after each firing, counted from its decision."""
    max_firings: int = Field(default=10, ge=1)
    """After this many the rule is done for the run."""
    max_evidence_age_ms: float = Field(default=2000.0, gt=0)
    """What was seen longer ago than this, when the decision is made, is not acted on."""
    on_error: Literal["stop", "disarm", "go_on"] = "disarm"
    """If the action fails: end the run, switch this rule off, or only note it."""

    @model_validator(mode="after")
    def _class_is_named(self) -> Self:
        if self.of_class is None and self.when == "became":
            raise ValueError("when: became needs of_class, the name of the class; give it")
        return self


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
    threads: int | None = Field(default=None, ge=1, le=256)
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

    ``rig`` and ``pipeline`` may be names or paths in YAML; ``live.loading`` replaces them by what
    is in those files, so that this object, and the copy of it in the run folder, depend on no
    other file.
    """

    name: str = Field(default="experiment", pattern=SAFE_NAME)
    rig: RigSettings
    pipeline: PipelineSettings
    plan: useq.MDASequence
    rules: tuple[RuleSettings, ...] = ()
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

    @field_serializer("plan")
    def _plan_as_data(self, plan: useq.MDASequence) -> dict[str, Any]:
        return plan.model_dump(mode="json", exclude_none=True)

    def to_yaml(self) -> str:
        """The whole experiment as YAML that ``parfocal run`` takes again."""
        data = self.model_dump(mode="json", exclude_none=True)
        return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))
