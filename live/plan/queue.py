"""Blocks that wait: which goes next, and which two become one. Pure and bounded.

Highest priority first; among equals rules take turns, then positions of the plan, then the
shortest way for the stage, then whoever came first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import useq

from live.plan.blocks import Block, SetExposure, all_moved

MAX_WAITING_BLOCKS = 16
FIELD_PART = 0.8
"""Targets of one merged block lie in this part of the image, so that none touches its border."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A block was taken."""

    merged_into: int | None = None
    """Number of the decision whose frames serve this one too; None: it waits by itself."""


@dataclass(slots=True)
class _Waiting:
    block: Block
    arrival: int


class BlockQueue:
    """Waiting blocks; the caller locks."""

    def __init__(self, most: int = MAX_WAITING_BLOCKS) -> None:
        self._most = most
        self._waiting: list[_Waiting] = []
        self._arrivals = 0
        self._turns = 0
        self._rules: dict[str, int] = {}
        self._positions: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, block: Block) -> Placed | None:
        """Take a block, or None when too many wait."""
        for waiting in self._waiting:
            both = merged(waiting.block, block)
            if both is not None:
                waiting.block = both
                return Placed(both.decision)
        if len(self._waiting) >= self._most:
            return None
        self._append(block)
        return Placed()

    def put_back(self, block: Block) -> None:
        """Take the rest of a block that was interrupted; always, for it was in before."""
        self._append(block)

    def put_first(self, block: Block) -> None:
        """Take what comes next for a decision that has begun: before all of its priority."""
        self._waiting.append(_Waiting(block, -1))

    def highest(self) -> int | None:
        """The highest priority that waits; None when nothing does."""
        return max((w.block.priority for w in self._waiting), default=None)

    def take(self, x_um: float, y_um: float) -> Block | None:
        """The block to run next, from a stage at ``(x_um, y_um)``."""
        if not self._waiting:
            return None
        chosen = min(self._waiting, key=lambda w: self._order(w, x_um, y_um))
        self._waiting.remove(chosen)
        self._turns += 1
        for served, name in (
            (self._rules, chosen.block.rule),
            (self._positions, chosen.block.position),
        ):
            served.pop(name, None)
            served[name] = self._turns
            if len(served) > 1000:
                served.pop(next(iter(served)))
        return chosen.block

    def take_exposure(self) -> Block | None:
        """Take a change of exposure, where that is all that waits; None otherwise."""
        if len(self._waiting) != 1 or not _only_exposes(self._waiting[0].block):
            return None
        return self._waiting.pop().block

    def drop_expired(self, now_s: float) -> list[Block]:
        """Take out what has waited too long."""
        gone = [w.block for w in self._waiting if w.block.expires_s < now_s and not w.block.begun]
        self._waiting = [w for w in self._waiting if w.block not in gone]
        return gone

    def clear(self) -> list[Block]:
        """Take out everything."""
        gone = [waiting.block for waiting in self._waiting]
        self._waiting = []
        return gone

    def _append(self, block: Block) -> None:
        self._arrivals += 1
        self._waiting.append(_Waiting(block, self._arrivals))

    def _order(self, waiting: _Waiting, x_um: float, y_um: float) -> tuple[float, ...]:
        block = waiting.block
        way = 0.0
        if block.events and block.events[-1].x_pos is not None:
            way = math.hypot(block.events[-1].x_pos - x_um, (block.events[-1].y_pos or 0.0) - y_um)
        return (
            -block.priority,
            float(waiting.arrival >= 0),
            self._rules.get(block.rule, 0),
            self._positions.get(block.position, 0),
            way,
            waiting.arrival,
        )


def merged(one: Block, other: Block) -> Block | None:
    """One block whose images show the targets of both; None where that cannot be.

    Of two changes of exposure the later one holds.
    """
    if _only_exposes(one) and _only_exposes(other) and one.priority == other.priority:
        return replace(one, effect=other.effect, merged=(*one.merged, *other.decisions))
    if not (one.field_um and one.field_um == other.field_um and one.targets and other.targets):
        return None
    if one.begun or one.following or other.following or one.script or other.script:
        return None
    if len(one.events) != len(other.events) or one.groups != other.groups:
        return None
    if (one.priority, one.interval_s, one.hardware, one.position) != (
        other.priority,
        other.interval_s,
        other.hardware,
        other.position,
    ):
        return None
    pairs = {(id(a), id(b)): (a, b) for a, b in zip(one.events, other.events, strict=True)}
    if not all(_alike(*pair) for pair in pairs.values()):
        return None
    targets = one.targets + other.targets
    xs, ys = [x for x, _ in targets], [y for _, y in targets]
    middle = ((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2)
    width, height = one.field_um
    if max(xs) - min(xs) > FIELD_PART * width or max(ys) - min(ys) > FIELD_PART * height:
        return None
    now = _middle(one)
    if now is None:
        return None
    velocity = tuple(
        (a * len(one.targets) + b * len(other.targets)) / len(targets)
        for a, b in zip(one.velocity_um_s, other.velocity_um_s, strict=True)
    )
    return replace(
        one,
        events=all_moved(one.events, middle[0] - now[0], middle[1] - now[1]),
        targets=targets,
        merged=(*one.merged, *other.decisions),
        velocity_um_s=(velocity[0], velocity[1]),
        seen_s=max(one.seen_s, other.seen_s),
        expires_s=min(one.expires_s, other.expires_s),
    )


def _only_exposes(block: Block) -> bool:
    return isinstance(block.effect, SetExposure) and block.following is None and not block.begun


def _alike(one: useq.MDAEvent, other: useq.MDAEvent) -> bool:
    fields = ("channel", "exposure", "z_pos", "properties", "roi", "action")
    centred = (one.x_pos is None) == (other.x_pos is None)
    return centred and all(getattr(one, name) == getattr(other, name) for name in fields)


def _middle(block: Block) -> tuple[float, float] | None:
    """Where the block's images are centred; None where it is not on its targets."""
    places = {(e.x_pos, e.y_pos) for e in block.events if e.x_pos is not None}
    if len(places) != 1:
        return None  # a grid is made for its own target
    x, y = places.pop()
    return (x, y) if x is not None and y is not None else None
