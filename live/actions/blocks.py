"""From a decision and the actions of its rule to blocks for the plan. Pure.

Every event names stage, focus, preset and exposure in full, so that a block can be interrupted,
resumed and moved without knowing what ran before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import useq
from numpy.typing import NDArray
from useq._mda_event import Channel as EventChannel
from useq._mda_event import ReadOnlyDict

from drivers import Frame, FrameMeta
from drivers.geometry import Affine
from live.actions.focus import autofocus
from live.actions.mask import slm_mask
from live.actions.settings import (
    ActionSettings,
    AutofocusAction,
    BurstAction,
    ExposureAction,
    GotoAction,
    IntervalAction,
    NotifyAction,
    PluginAction,
    PresetAction,
    RecentreAction,
    SetPropertyAction,
    StimulateAction,
    StopAction,
    TileAction,
    ZStackAction,
)
from live.plan.blocks import (
    Block,
    Effect,
    Home,
    Recentre,
    SetExposure,
    SetInterval,
    SetPreset,
    StopRun,
    Tell,
    move,
    position_key,
)

Plugin = Callable[["Cause", dict[str, Any]], Iterable[useq.MDAEvent]]
"""An action of another package: events for a cause; called on the thread that decides."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What a decision rests on, and what its events need to know."""

    decision: int
    rule: str
    because: str
    meta: FrameMeta
    """Of the frame; its events keep the focus, exposure and preset."""
    shape: tuple[int, int]
    """(y, x) of that frame, pixels."""
    place_um: tuple[float, float]
    """Where the object is on the stage (x, y); NaN when the pixel size is unknown."""
    place_px: tuple[float, float]
    """The same in the image (y, x)."""
    rows: NDArray[np.void] | None = None
    """Its rows of ``models.OBJECT_DTYPE``."""
    velocity_um_s: tuple[float, float] = (0.0, 0.0)
    """How it moved (x, y)."""
    group: str = ""
    """Channel group of the rig."""
    axes: str = "xyz"
    """Those of the rig that can be moved."""
    interval_s: float = 0.0
    """Of the plan; 0 when it runs as fast as it can."""
    priority: int = 0
    expires_s: float = math.inf
    experiment: str = ""
    slms: dict[str, tuple[int, int]] = field(default_factory=dict)
    slm_affine: Affine | None = None
    """From camera pixels (x, y) to those of the modulator."""
    plugins: dict[str, Plugin] = field(default_factory=dict)

    @property
    def known_place(self) -> bool:
        """Whether the object's place on the stage is known."""
        return all(map(math.isfinite, self.place_um))


def block_for(actions: Sequence[ActionSettings], cause: Cause) -> Block:
    """The block, or chain of blocks, that carries out the actions one after the other.

    Raises
    ------
    ValueError
        When one of them cannot be done for this cause, with the sentence why.
    """
    parts = [part for action in actions for part in _parts(action, cause)]
    if not parts:
        raise ValueError("the actions come to nothing: no event is asked for")
    whole: Block | None = None
    for part in reversed(parts):
        whole = replace(part, following=whole)
    assert whole is not None
    return whole


def _parts(action: ActionSettings, cause: Cause) -> list[Block]:
    match action:
        case BurstAction():
            return _with_optics(action.preset, cause, _burst(action, cause))
        case GotoAction():
            return _with_optics(action.preset, cause, _goto(action, cause))
        case ZStackAction():
            return _with_optics(action.preset, cause, _zstack(action, cause))
        case TileAction():
            return _with_optics(action.preset, cause, _tile(action, cause))
        case AutofocusAction():
            event = _event(
                cause, action.preset, action.exposure_ms, (cause.meta.x_um, cause.meta.y_um)
            )
            position = position_key(cause.meta.index, cause.meta.pos_name)
            script = autofocus(event, action.range_um, action.step_um, position)
            return _with_optics(action.preset, cause, _block(cause, script=script))
        case RecentreAction():
            return [_recentre(action, cause)]
        case StimulateAction():
            return [_stimulate(action, cause)]
        case SetPropertyAction():
            event = move(properties=[(action.device, action.property, str(action.value))])
            return [_block(cause, (event,), restores=False)]
        case PluginAction():
            return [_plugin(action, cause)]
        case _:
            return [_block(cause, effect=_effect(action, cause), restores=False)]


def _effect(action: ActionSettings, cause: Cause) -> Effect:
    match action:
        case IntervalAction():
            return SetInterval(action.seconds, action.for_s)
        case ExposureAction():
            return SetExposure(action.exposure_ms)
        case PresetAction():
            channel = EventChannel(group=action.group, config=action.config)
            return SetPreset(channel, action.for_frames)
        case StopAction():
            return StopRun(f"rule '{cause.rule}': {cause.because}")
        case NotifyAction():
            text = action.text or f"rule '{cause.rule}', frame {cause.meta.seq}: {cause.because}"
            facts = {
                "experiment": cause.experiment,
                "rule": cause.rule,
                "frame": cause.meta.seq,
                "decision": cause.decision,
                "because": cause.because,
            }
            return Tell(text, action.url, action.email, action.smtp, facts)
        case _:
            raise ValueError(f"an action of kind '{action.kind}' cannot be carried out")


def _block(cause: Cause, events: tuple[useq.MDAEvent, ...] = (), **more: Any) -> Block:
    return Block(
        cause.decision,
        events,
        priority=cause.priority,
        rule=cause.rule,
        position=position_key(cause.meta.index, cause.meta.pos_name),
        expires_s=cause.expires_s,
        **more,
    )


def _with_optics(preset: str | None, cause: Cause, block: Block) -> list[Block]:
    """Before the block, the move to a preset of a group other than the channels'."""
    group, name = preset_of(preset, cause.group)
    if preset is None or group == cause.group:
        return [block]
    first = move(channel=EventChannel(group=group, config=name))
    return [_block(cause, (first,), groups=(group,)), block]


def preset_of(preset: str | None, channel_group: str) -> tuple[str, str]:
    """Group and name of ``NAME`` or ``GROUP/NAME``."""
    group, slash, name = (preset or "").rpartition("/")
    return (group if slash else channel_group), name


def _event(
    cause: Cause,
    preset: str | None,
    exposure_ms: float | None,
    place: tuple[float, float],
    z_um: float | None = None,
    **index: int,
) -> useq.MDAEvent:
    meta = cause.meta
    group, name = preset_of(preset, cause.group)
    config = name if preset is not None and group == cause.group else meta.channel
    channel = EventChannel(config=config, group=cause.group) if config and cause.group else None
    origin = {"decision": cause.decision, "rule": cause.rule, "cause_seq": meta.seq}
    return useq.MDAEvent(
        index=ReadOnlyDict({**meta.index, **index}),
        channel=channel,
        exposure=exposure_ms or meta.exposure_ms or None,
        x_pos=place[0] if "x" in cause.axes else None,
        y_pos=place[1] if "y" in cause.axes else None,
        z_pos=None if "z" not in cause.axes else meta.z_um if z_um is None else z_um,
        pos_name=meta.pos_name or None,
        metadata={"parfocal": origin},
    )


def _place(cause: Cause, centre: bool) -> tuple[float, float]:
    if centre and cause.known_place:
        return cause.place_um
    return cause.meta.x_um, cause.meta.y_um


def _target(cause: Cause, centre: bool) -> dict[str, Any]:
    """What lets two blocks become one when their objects fit into the same image."""
    if not (centre and cause.known_place) or cause.meta.pixel_size_um == 0:
        return {}
    return {"targets": (cause.place_um,), "field_um": _field_um(cause.meta, cause.shape)}


def _field_um(meta: FrameMeta, shape: tuple[int, int]) -> tuple[float, float]:
    return shape[1] * meta.pixel_size_um, shape[0] * meta.pixel_size_um


def _burst(action: BurstAction, cause: Cause) -> Block:
    if action.interval_ms is not None:
        spacing = action.interval_ms / 1000.0
    else:
        spacing = cause.interval_s / (action.rate_factor or 1.0)
    event = _event(cause, action.preset, action.exposure_ms, _place(cause, action.centre))
    return _block(
        cause,
        (event,) * action.frames,
        interval_s=spacing,
        hardware=action.hardware,
        drop_rest=action.interrupted == "drop",
        **_target(cause, action.centre),
    )


def _goto(action: GotoAction, cause: Cause) -> Block:
    event = _event(cause, action.preset, action.exposure_ms, _place(cause, action.centre))
    aim = _target(cause, action.centre)
    if action.predict and aim:
        aim |= {"velocity_um_s": cause.velocity_um_s, "seen_s": cause.meta.captured_ns / 1e9}
    return _block(
        cause,
        (event,) * action.frames,
        interval_s=action.interval_ms / 1000.0,
        drop_rest=action.interrupted == "drop",
        **aim,
    )


def _zstack(action: ZStackAction, cause: Cause) -> Block:
    planes = math.floor(action.range_um / action.step_um + 1e-9) + 1
    lowest = cause.meta.z_um - (planes - 1) * action.step_um / 2
    place = _place(cause, action.centre)
    events = tuple(
        _event(cause, action.preset, action.exposure_ms, place, lowest + n * action.step_um, z=n)
        for n in range(planes)
    )
    drop = action.interrupted == "drop"
    return _block(cause, events, drop_rest=drop, **_target(cause, action.centre))


def _tile(action: TileAction, cause: Cause) -> Block:
    if cause.meta.pixel_size_um == 0:
        raise ValueError("tiles need a calibrated pixel size, and this frame has none")
    middle = _place(cause, True)
    steps = [
        (column - (action.columns - 1) / 2, row - (action.rows - 1) / 2)
        for row in range(action.rows)
        for column in _there_and_back(row, action.columns)
    ]

    def tiles(width_um: float, height_um: float) -> list[useq.MDAEvent]:
        apart = (width_um * (1 - action.overlap), height_um * (1 - action.overlap))
        places = [(middle[0] + i * apart[0], middle[1] + j * apart[1]) for i, j in steps]
        return [
            _event(cause, action.preset, action.exposure_ms, place, g=number)
            for number, place in enumerate(places)
        ]

    if preset_of(action.preset, cause.group)[0] == cause.group or action.preset is None:
        events = tuple(tiles(*_field_um(cause.meta, cause.shape)))
        return _block(cause, events, drop_rest=action.interrupted == "drop")

    def script(_here: Home) -> Generator[useq.MDAEvent, Frame | None, Effect | None]:
        # Other optics have another field, which only an image of theirs tells.
        frame = yield _event(cause, action.preset, action.exposure_ms, middle)
        if frame is not None:
            # A list takes no frames that are sent, so this is no ``yield from``.
            for event in tiles(*_field_um(frame.meta, frame.pixels.shape)):  # noqa: UP028
                yield event
        return None

    return _block(cause, script=script)


def _there_and_back(row: int, columns: int) -> range:
    """Every other row runs backwards, so that the stage never flies back."""
    return range(columns) if row % 2 == 0 else range(columns - 1, -1, -1)


def _recentre(action: RecentreAction, cause: Cause) -> Block:
    if not cause.known_place:
        raise ValueError("recentring needs a calibrated pixel size, and this frame has none")
    position = position_key(cause.meta.index, cause.meta.pos_name)
    effect = Recentre(position, *cause.place_um, action.min_shift_um)
    return _block(cause, effect=effect)


def _stimulate(action: StimulateAction, cause: Cause) -> Block:
    label = action.device or next(iter(cause.slms), "")
    if label not in cause.slms or cause.slm_affine is None:
        raise ValueError("no spatial light modulator with a calibration is at hand")
    mask = slm_mask(
        cause.slms[label],
        cause.slm_affine,
        centre_px=cause.place_px,
        radius_px=action.radius_px,
        rows=cause.rows,
    )
    image = useq.SLMImage(data=mask, device=label, exposure=action.exposure_ms)
    meta = cause.meta
    if "x" not in cause.axes:
        return _block(cause, (move(slm_image=image),))
    return _block(cause, (move(x_pos=meta.x_um, y_pos=meta.y_um, slm_image=image),))


def _plugin(action: PluginAction, cause: Cause) -> Block:
    if action.name not in cause.plugins:
        raise ValueError(f"no action '{action.name}' is installed")
    origin = {"decision": cause.decision, "rule": cause.rule, "cause_seq": cause.meta.seq}
    events = []
    for event in cause.plugins[action.name](cause, dict(action.params)):
        if not isinstance(event, useq.MDAEvent):
            raise ValueError(f"action '{action.name}' gave {type(event).__name__}, need MDAEvent")
        metadata = {**event.metadata, "parfocal": origin}
        events.append(event.model_copy(update={"metadata": metadata}))
    if not events:
        raise ValueError(f"action '{action.name}' gave no event")
    return _block(cause, tuple(events))
