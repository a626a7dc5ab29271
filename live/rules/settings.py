"""What a rule is, as people write it: a condition, what is done, and what guards it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from live.actions.settings import Actions
from live.rules.expression import read_expression
from live.rules.plugins import load_condition

SAFE_NAME = r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}$"
"""Names become folder names on every system."""
EVENTS = ("divided", "appeared", "became")
"""Words for `when` that are more than a condition: they follow an event over several frames."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Corners = Annotated[tuple[tuple[float, float], ...], Field(min_length=3, max_length=500)]


class RoiSettings(_Settings):
    """A region: a box or a polygon, on the stage or in the image."""

    box: tuple[float, float, float, float] | None = None
    """x and y of one corner, x and y of the opposite one."""
    polygon: Corners | None = None
    """Corners, each x and y, in turn."""
    unit: Literal["um", "px"] = "um"
    """``um``: on the stage, wherever that stands. ``px``: in the image."""

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        if (self.box is None) == (self.polygon is None):
            raise ValueError("give either box: [x0, y0, x1, y1] or polygon: [[x, y], ...]")
        return self

    def contains(self, y: ArrayLike, x: ArrayLike) -> NDArray[np.bool_]:
        """Which points (y, x), in the region's unit, lie inside; a place not known does not."""
        y, x = np.asarray(y, float), np.asarray(x, float)
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            across = (x >= min(x0, x1)) & (x <= max(x0, x1))
            return np.asarray(across & (y >= min(y0, y1)) & (y <= max(y0, y1)))
        corners = np.array(self.polygon, float)
        inside = np.zeros(x.shape, bool)
        # Each side that a ray to the right crosses turns outside into inside.
        for (xa, ya), (xb, yb) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            spans = (ya > y) != (yb > y)
            if ya != yb:
                inside ^= spans & (x < (xb - xa) * (y - ya) / (yb - ya) + xa)
        return inside


class PluginCondition(_Settings):
    """A condition of an installed package, by its entry point in ``parfocal.rules``."""

    plugin: str = Field(min_length=1)
    params: dict[str, Any] = {}
    """Handed to it by name."""

    @field_validator("plugin")
    @classmethod
    def _installed(cls, value: str) -> str:
        load_condition(value)  # says why it cannot
        return value


class BestSettings(_Settings):
    """Of each position take the best few, once all of it was seen."""

    count: int = Field(ge=1, le=1000)
    """How many objects of each position."""
    by: str
    """A number such as ``mean`` or ``p * area``; the largest are the best."""
    after_frames: int | None = Field(default=None, ge=1)
    """Choose after this many frames of a position, for a plan that tiles each of them; None: when
    the plan has gone on to the next position."""

    @field_validator("by")
    @classmethod
    def _a_number(cls, value: str) -> str:
        read_expression(value, "object", number=True)
        return value


class RuleSettings(_Settings):
    """When something is seen, do something, within bounds."""

    name: str = Field(pattern=SAFE_NAME)
    per: Literal["object", "frame"] = "object"
    """Whether ``when`` is asked of each object, or once of the frame: then aggregates such as
    ``count(*)`` and ``avg(mean)`` speak of its objects."""
    roi: RoiSettings | None = None
    """The region that ``in_roi``, ``entered_roi`` and ``left_roi`` speak of."""
    decide_on: Literal["raw", "denoised"] = "raw"
    """Which image ``mean``, ``max`` and ``mean_change`` in the conditions are of."""
    when: str | PluginCondition
    """``divided``: a mother became two daughters. ``appeared``: a new object came into view.
    ``became``: an object that was not, or not seen, is now of the class ``of_class``. Or a
    condition in SQL over the columns of ``live.rules.columns``, such as
    ``class = 'mitotic' AND p > 0.8``; or ``{plugin: NAME, params: {...}}``."""
    for_frames: int = Field(default=1, ge=1, le=10_000)
    """Frames in a row in which the condition must hold before the rule fires."""
    until: str | None = None
    """Once fired, the rule does not fire again for that object before this condition holds; None:
    before ``when`` does not hold any more."""
    count: int | None = Field(default=None, ge=1, le=100_000)
    """Fire once for the frame, when at least so many objects fulfil the condition; None: for each
    object that does."""
    best: BestSettings | None = None
    while_true: bool = False
    """Fire in every frame in which the condition holds, not only when it begins to."""
    then: Actions
    afterwards: Actions | None = None
    """What is done when the condition has ended, as ``until`` says."""
    mode: Literal["observe", "suggest", "auto"] = "auto"
    """``observe``: only write down what would be done. ``suggest``: ask first. ``auto``: do it."""
    ask_s: float | None = Field(default=None, gt=0, le=3600)
    """How long a suggestion waits for an answer; None: as long as evidence may be old."""
    priority: int = Field(default=0, ge=-100, le=100)
    """Of two rules that want the microscope the higher one gets it."""
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
    max_per_hour: int | None = Field(default=None, ge=1, le=100_000)
    """The most firings within any hour."""
    max_per_object: int | None = Field(default=None, ge=1, le=30_000)
    """The most firings for one object."""
    max_evidence_age_ms: float = Field(default=2000.0, gt=0)
    """What was seen longer ago than this, when the decision is made, is not acted on."""
    on_error: Literal["stop", "disarm", "go_on"] = "disarm"
    """If the action fails: end the run, switch this rule off, or only note it."""

    @field_validator("when")
    @classmethod
    def _a_condition(
        cls, value: str | PluginCondition, info: ValidationInfo
    ) -> str | PluginCondition:
        if isinstance(value, str) and value not in EVENTS:
            _read(value, info)
        return value

    @field_validator("until")
    @classmethod
    def _an_end(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None:
            _read(value, info)
        return value

    @model_validator(mode="before")
    @classmethod
    def _as_people_write(cls, value: Any) -> Any:
        """Take ``for`` for ``for_frames``, and what stands under ``guard`` as if it did not."""
        if not isinstance(value, Mapping):
            return value
        flat = {k: v for k, v in value.items() if k not in ("for", "guard")}
        guard = value.get("guard")
        if guard is not None and not isinstance(guard, Mapping):
            raise ValueError(f"guard holds keys such as cooldown_s, got {guard!r}")
        inner = {**({"for_frames": value["for"]} if "for" in value else {}), **(guard or {})}
        for key in inner:
            if key in flat:
                raise ValueError(f"{key} is given twice, inside and outside; give it once")
        return {**flat, **inner}

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.of_class is None and self.when == "became":
            raise ValueError("when: became needs of_class, the name of the class; give it")
        if self.is_event:
            self._no_keys_of_conditions()
        if self.per == "frame":
            for key in ("count", "best", "max_per_object", "of_class", "max_uncertainty"):
                if getattr(self, key) is not None:
                    raise ValueError(
                        f"{key} is about objects, but the rule is `per: frame`; leave one of the "
                        "two out, or use count(*) in `when`"
                    )
        if self.count is not None and self.until is not None:
            raise ValueError(
                "count and until cannot be combined; use count(*) in a rule per: frame"
            )
        for key in ("until", "afterwards"):
            if self.while_true and getattr(self, key) is not None:
                raise ValueError(f"{key} and while_true contradict each other; leave one out")
        if self.best is not None:
            for key, usual in (("count", None), ("until", None), ("afterwards", None),
                               ("for_frames", 1), ("while_true", False)):  # fmt: skip
                if getattr(self, key) != usual:
                    raise ValueError(f"{key} and best cannot be combined; leave one out")
        return self

    def _no_keys_of_conditions(self) -> None:
        for key in ("roi", "until", "count", "best", "afterwards"):
            if getattr(self, key) is not None:
                raise ValueError(
                    f"`when: {self.when}` is an event and takes no {key}; write a condition, such "
                    f"as `when: {self.when} AND n > 0`"
                    if self.when != "became"
                    else f"`when: became` is an event and takes no {key}; write a condition, such "
                    f"as `when: class = '{self.of_class}'`"
                )
        if self.for_frames != 1:
            raise ValueError(f"`when: {self.when}` takes min_age_frames instead of for_frames")
        if self.while_true or self.per != "object":
            raise ValueError(f"`when: {self.when}` is an event of one object at one time; "
                             "leave out while_true and per")  # fmt: skip

    @property
    def is_event(self) -> bool:
        """Whether ``when`` is one of the words for events."""
        return self.when in EVENTS

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of classes that the conditions compare with."""
        texts = [self.when if isinstance(self.when, str) and not self.is_event else "", self.until]
        found = [read_expression(text, self.per).classes for text in texts if text]
        return tuple(dict.fromkeys(name for names in found for name in names))

    @model_serializer(mode="wrap")
    def _only_what_says_something(self, usual: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out keys that are None: YAML with them would be longer and say no more."""
        data: Mapping[str, Any] = usual(self)
        return {key: value for key, value in data.items() if value is not None}


def _read(text: str, info: ValidationInfo) -> None:
    columns = read_expression(text, info.data.get("per", "object")).columns
    if {"in_roi", "entered_roi", "left_roi"} & columns and info.data.get("roi") is None:
        raise ValueError(
            "in_roi, entered_roi and left_roi need a region; give the rule "
            "roi: {box: [x0, y0, x1, y1], unit: um}"
        )
