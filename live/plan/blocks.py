"""What the plan hands out and takes in: blocks of events that decisions ask for, jobs, effects.

Plain values. A block images something, changes something (`Effect`), or runs a script that looks
at its own frames; `following` chains blocks that one decision asks for in order.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any

import useq
from useq._mda_event import Channel as EventChannel

from drivers import Frame

MOVE = "parfocal.move"
"""Name of the custom action of an event that only sets the microscope."""

FORESEEN_S = 5.0
"""Cells turn: a velocity says nothing of where one is later than this."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where and how the plan was imaging; a block that changed it leads back here."""

    x_um: float
    y_um: float
    z_um: float
    exposure_ms: float
    channel: EventChannel | None = None
    presets: tuple[tuple[str, str], ...] = ()
    """Group and preset of the other groups that a block changes."""
    axes: str = "xyz"
    """Those that can be moved."""


@dataclass(frozen=True, slots=True)
class SetInterval:
    """Let the plan's time points follow each other this fast."""

    seconds: float | None
    """None: as the plan says."""
    for_s: float | None = None


@dataclass(frozen=True, slots=True)
class SetExposure:
    """Expose the plan's events for so long."""

    exposure_ms: float | None
    """None: as the plan says."""


@dataclass(frozen=True, slots=True)
class SetPreset:
    """Image the plan's events with this preset."""

    channel: EventChannel
    for_frames: int | None = None
    before: str = ""
    """What the group stood at; asked of the rig when the effect is carried out."""


@dataclass(frozen=True, slots=True)
class Shift:
    """Let the plan go on with stage and focus moved by so much, at one of its positions."""

    position: str
    x_um: float = 0.0
    y_um: float = 0.0
    z_um: float = 0.0


@dataclass(frozen=True, slots=True)
class Recentre:
    """Let the plan go on with this place in the middle, at one of its positions."""

    position: str
    x_um: float
    y_um: float
    min_shift_um: float = 0.0
    """Nothing happens when the middle is nearer than this."""


@dataclass(frozen=True, slots=True)
class StopRun:
    """End the run in order."""

    reason: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Notify somebody outside."""

    text: str
    url: str | None = None
    email: str | None = None
    smtp: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


Effect = SetInterval | SetExposure | SetPreset | Shift | Recentre | StopRun | Tell

Script = Callable[[Home], Generator[useq.MDAEvent, Frame | None, Effect | None]]
"""Yields events, is sent the frame of each (None of a move), returns what follows from them."""


class ActionFailed(Exception):
    """A script came to no result; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Block:
    """Frames, or a change, that a decision asks for."""

    decision: int
    events: tuple[useq.MDAEvent, ...] = ()
    interval_s: float = 0.0
    """Between starts of exposures; 0 is as fast as the camera can."""
    priority: int = 0
    """The higher one goes first, and interrupts a lower one."""
    rule: str = ""
    position: str = ""
    """Of the plan, where the cause was seen; rules and positions take turns."""
    hardware: bool | None = None
    """As one sequence that the camera times; None: when ``interval_s`` is 0."""
    drop_rest: bool = False
    """When interrupted, the rest is forgotten instead of resumed."""
    merged: tuple[int, ...] = ()
    """Other decisions that the same frames serve."""
    targets: tuple[tuple[float, float], ...] = ()
    """Stage positions (x, y) µm that must be in view."""
    field_um: tuple[float, float] | None = None
    """(width, height) of the image; None: never merged with another."""
    velocity_um_s: tuple[float, float] = (0.0, 0.0)
    """Of the target; the events are moved along when they start."""
    seen_s: float = 0.0
    """Monotonic clock of the cause, for the velocity."""
    expires_s: float = float("inf")
    """Monotonic clock after which it is not begun any more."""
    groups: tuple[str, ...] = ()
    """Configuration groups that it changes, other than the channel group."""
    restores: bool = True
    """False: what it sets is meant to stay."""
    effect: Effect | None = None
    script: Script | None = None
    following: Block | None = None
    """What the same decision asks for next."""
    begun: bool = False
    """True for the rest of a block that was interrupted, and for what follows in a chain."""

    @property
    def decisions(self) -> tuple[int, ...]:
        """All decisions that it serves."""
        return (self.decision, *self.merged)

    @property
    def images(self) -> int:
        """How many frames its events take; a script's are not known before."""
        return sum(not is_move(event) for event in self.events)


Burst = Block


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to do, not before ``due_s``."""

    event: useq.MDAEvent
    due_s: float
    decision: int = -1
    block: Block | None = None
    begins: bool = False
    """The first job of its decision."""
    ends: bool = False
    """The last job of its block."""
    sequence: int = 0
    """Frames to take as one hardware sequence, all alike; 0: one by one."""
    interval_s: float = 0.0
    planned: useq.MDAEvent | None = None
    """The plan's event as the plan has it, before effects changed it."""
    leads: bool = False
    """First event of a time point of the plan: the one whose lateness counts."""
    why_late: str = ""

    @property
    def moves_only(self) -> bool:
        """Nothing is imaged."""
        return is_move(self.event)


@dataclass(frozen=True, slots=True)
class Late:
    """A time point of the plan that did not start when it was due."""

    index: dict[str, int]
    late_s: float
    """How late it started, or how long overdue it was when it was left out."""
    skipped: bool
    why: str


@dataclass(frozen=True, slots=True)
class Note:
    """A block that ended without running to its end."""

    decisions: tuple[int, ...]
    problem: str


def move(**fields: Any) -> useq.MDAEvent:
    """Event that sets the microscope and images nothing."""
    return useq.MDAEvent(action=useq.CustomAction(name=MOVE), **fields)


def is_move(event: useq.MDAEvent) -> bool:
    """Whether an event images nothing."""
    return isinstance(event.action, useq.CustomAction) and event.action.name == MOVE


def moved(event: useq.MDAEvent, dx_um: float, dy_um: float, dz_um: float = 0.0) -> useq.MDAEvent:
    """The same event elsewhere, in the axes that it names."""
    wanted = {"x_pos": dx_um, "y_pos": dy_um, "z_pos": dz_um}
    update = {
        name: getattr(event, name) + by
        for name, by in wanted.items()
        if by and getattr(event, name) is not None
    }
    return event.model_copy(update=update) if update else event


def all_moved(
    events: tuple[useq.MDAEvent, ...], dx_um: float, dy_um: float
) -> tuple[useq.MDAEvent, ...]:
    """Every event elsewhere; those that were one object stay one, for there may be thousands."""
    made = {id(event): moved(event, dx_um, dy_um) for event in events}
    return tuple(made[id(event)] for event in events)


def position_key(index: dict[Any, int] | Any, pos_name: str | None) -> str:
    """Name of a plan's position, for taking turns and for shifts."""
    number = dict(index).get("p")
    return pos_name or ("" if number is None else f"p{number}")


def aimed(block: Block, now_s: float) -> Block:
    """The block moved to where its target will be; no further than half a field or 5 s."""
    vx, vy = block.velocity_um_s
    if not (vx or vy) or block.field_um is None:
        return block
    age_s = min(max(0.0, now_s - block.seen_s), FORESEEN_S)
    width, height = block.field_um
    dx = max(-width / 2, min(width / 2, vx * age_s))
    dy = max(-height / 2, min(height / 2, vy * age_s))
    return replace(
        block,
        events=all_moved(block.events, dx, dy),
        velocity_um_s=(0.0, 0.0),
    )
