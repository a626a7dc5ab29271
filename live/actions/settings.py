"""What a rule may do, as people write it after ``then:``. Pure data, refused as a whole when wrong.

Every kind here is carried out by the acquisition, or refused with a sentence before imaging starts;
none only pretends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Preset = Annotated[str, Field(min_length=1, max_length=200)]
"""``NAME`` of the channel group, or ``GROUP/NAME`` of any other configuration group."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Imaging(_Settings):
    """What all actions that take pictures have in common."""

    preset: Preset | None = None
    """Image with this preset; None: with that of the frame that was the cause."""
    exposure_ms: float | None = Field(default=None, gt=0)
    """None: as the frame that was the cause."""
    interrupted: Literal["resume", "drop"] = "resume"
    """What becomes of the rest when a rule of higher priority comes in between."""


class BurstAction(_Imaging):
    """Record fast at the place of the event, then go back to the plan."""

    kind: Literal["burst"] = "burst"
    frames: int = Field(gt=0, le=100_000)
    """How many frames the burst records."""
    rate_factor: float | None = Field(default=None, gt=0, le=1000)
    """Frame rate as a multiple of the plan's; 4 when ``interval_ms`` is not given either."""
    interval_ms: float | None = Field(default=None, ge=0)
    """Time between frames instead of a factor; 0 is as fast as exposure and read-out allow."""
    hardware: bool | None = None
    """One sequence that the camera times itself. None: where ``interval_ms`` is 0. Not every
    camera keeps to an interval above 0."""
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


class ZStackAction(_Imaging):
    """Focus through the object, from below to above where the focus is."""

    kind: Literal["zstack"] = "zstack"
    range_um: float = Field(gt=0, le=2000)
    """From the lowest to the highest plane; the present focus is in the middle."""
    step_um: float = Field(gt=0)
    centre: bool = True
    """Move the stage so that the object is in the middle of the image."""

    @model_validator(mode="after")
    def _some_planes(self) -> Self:
        _need_planes(self.range_um, self.step_um)
        return self


class PresetAction(_Settings):
    """Go on imaging with another preset of a configuration group."""

    kind: Literal["preset"] = "preset"
    group: str = Field(min_length=1)
    config: str = Field(min_length=1)
    for_frames: int | None = Field(default=None, gt=0)
    """Then back to the preset before; None: until told otherwise."""


class IntervalAction(_Settings):
    """Change the time between the plan's time points."""

    kind: Literal["interval"] = "interval"
    seconds: float | None = Field(gt=0, le=86_400)
    """``null`` goes back to the interval of the plan."""
    for_s: float | None = Field(default=None, gt=0)
    """Then back to the interval of the plan; None: until told otherwise."""


class ExposureAction(_Settings):
    """Expose the plan's next frames for longer or shorter: the closed loop of a camera.

    Where the rig's ``exposure_in_sequence`` says that the camera allows it, a shorter exposure
    takes effect inside a running hardware sequence; otherwise a new sequence begins with it.
    """

    kind: Literal["exposure"] = "exposure"
    exposure_ms: float | None = Field(gt=0, le=600_000)
    """``null`` goes back to the exposure of the plan."""


class GotoAction(_Imaging):
    """Go to the object and image it there, as a rule at a higher magnification."""

    kind: Literal["goto"] = "goto"
    frames: int = Field(default=1, gt=0, le=100_000)
    interval_ms: float = Field(default=0, ge=0)
    """Time between frames; 0 is as fast as exposure and read-out allow."""
    centre: bool = True
    """False: image where the stage was when the object was seen."""
    predict: bool = True
    """Aim where the object will be by then, going on as it moved."""


class TileAction(_Imaging):
    """Image a grid of fields with the object in its middle."""

    kind: Literal["tile"] = "tile"
    rows: int = Field(default=3, gt=0, le=50)
    columns: int = Field(default=3, gt=0, le=50)
    overlap: float = Field(default=0.1, ge=0, lt=1)
    """Part of a field that it shares with the next."""


class RecentreAction(_Settings):
    """Follow the object: the plan goes on with it in the middle of the image."""

    kind: Literal["recentre"] = "recentre"
    min_shift_um: float = Field(default=0, ge=0)
    """Nearer to the middle than this, nothing is moved."""


class AutofocusAction(_Imaging):
    """Find the sharpest plane by a sweep of the focus, and let the plan go on there."""

    kind: Literal["autofocus"] = "autofocus"
    range_um: float = Field(gt=0, le=2000)
    """From the lowest to the highest plane; the present focus is in the middle."""
    step_um: float = Field(gt=0)
    """Of the first sweep; a second one looks round its best plane in steps of a quarter."""

    @model_validator(mode="after")
    def _some_planes(self) -> Self:
        _need_planes(self.range_um, self.step_um)
        return self


class StimulateAction(_Settings):
    """Light up the object, or a disc round it, through a spatial light modulator."""

    kind: Literal["stimulate"] = "stimulate"
    device: str | None = None
    """The modulator's label; None: the one that the configuration names as Core-SLM."""
    radius_px: float | None = Field(default=None, gt=0)
    """Of a disc, in camera pixels."""
    mask: Literal["object"] | None = None
    """The outline's bounding ellipse instead of a disc."""
    exposure_ms: float = Field(gt=0, le=600_000)

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        if (self.radius_px is None) == (self.mask is None):
            raise ValueError("give either radius_px, for a disc, or mask: object")
        return self


class SetPropertyAction(_Settings):
    """Set a device property. It stays so until something sets it again."""

    kind: Literal["set_property"] = "set_property"
    device: str = Field(min_length=1)
    property: str = Field(min_length=1)
    value: str | int | float
    """As Micro-Manager shows it; On, Off, Yes and No need quotes in YAML."""

    @model_validator(mode="before")
    @classmethod
    def _no_yaml_words(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and isinstance(value.get("value"), bool):
            raise ValueError("YAML reads On, Off, Yes, No as true or false: quote the value")
        return value


class StopAction(_Settings):
    """End the run in order."""

    kind: Literal["stop"] = "stop"


class NotifyAction(_Settings):
    """Tell someone who is not at the microscope. Never holds imaging up."""

    kind: Literal["notify"] = "notify"
    url: str | None = Field(default=None, pattern=r"^https?://[^\s/]+")
    """A webhook; gets a JSON object with ``text``, ``rule``, ``experiment``, ``frame``."""
    email: str | None = Field(default=None, pattern=r"^[^@\s]+@[^@\s]+$")
    """Sent through ``smtp``."""
    smtp: str = Field(default="localhost:25", pattern=r"^[^\s:]+(:\d{1,5})?$")
    """Mail server, ``HOST:PORT``, that takes mail from this computer without a password."""
    text: str = Field(default="", max_length=2000)
    """Empty: what was seen, in the words of the log."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.url is None) == (self.email is None):
            raise ValueError("give either url, for a webhook, or email")
        return self


class PluginAction(_Settings):
    """An action of an installed package, found by its entry point in ``parfocal.actions``."""

    kind: Literal["plugin"] = "plugin"
    name: str = Field(min_length=1)
    params: dict[str, Any] = {}


ActionSettings = Annotated[
    BurstAction
    | ZStackAction
    | PresetAction
    | IntervalAction
    | ExposureAction
    | GotoAction
    | TileAction
    | RecentreAction
    | AutofocusAction
    | StimulateAction
    | SetPropertyAction
    | StopAction
    | NotifyAction
    | PluginAction,
    Field(discriminator="kind"),
]

MOST_ACTIONS = 16


def as_list(value: Any) -> Any:
    """One action or a list of them, as a list; a mapping without ``kind`` is a burst."""
    items = list(value) if isinstance(value, list | tuple) else [value]
    return [
        {"kind": "burst", **item} if isinstance(item, Mapping) and "kind" not in item else item
        for item in items
    ]


Actions = Annotated[
    tuple[ActionSettings, ...],
    BeforeValidator(as_list),
    Field(min_length=1, max_length=MOST_ACTIONS),
]
"""Type of ``then:`` — one action or a list of them, carried out in order."""


def _need_planes(range_um: float, step_um: float) -> None:
    planes = range_um / step_um + 1
    if planes < 2:
        raise ValueError(
            f"range_um {range_um:g} is smaller than step_um {step_um:g}: give at least one step"
        )
    if planes > 1000:
        raise ValueError(f"{planes:.0f} planes; 1000 are the most, so make step_um larger")
