"""Did the stage find the cell again? Where frames that a rule asked for really were. Pure.

A decision names a place on the stage; the true cell nearest to it in the frame that was the cause,
or in the last frame before that shows the place, is its target. How far the target is from the
middle of the first frame that the decision asked for says how well seeing, converting to the stage,
predicting and moving went together. A target that divided on the way is where the middle of its
daughters is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from live.rules.decisions import Decision

CLOSE_UM = 5.0
"""Nearer to the middle than this a cell counts as found again: less than its radius."""
BACK_FRAMES = 64
"""A rule that ranks what several images show decides some frames after its evidence."""
TARGET_UM = 15.0
"""Farther from what a decision names than this, a true cell is not what it meant."""

Cells: TypeAlias = Callable[[int], tuple[NDArray[np.int32], NDArray[np.float64]] | None]
"""Frame -> ids (n,) and places (n, 2) x, y on the stage of the cells that it shows; None when that
is not known any more."""


@dataclass(frozen=True, slots=True)
class AskedFrame:
    """The first frame that a decision asked for, or one of another decision's block."""

    seq: int
    decision: int
    x_um: float
    y_um: float


@dataclass(frozen=True, slots=True)
class Revisit:
    """One target and where it was when the stage had gone to it."""

    decision: int
    rule: str
    cause_seq: int
    seq: int
    cell: int
    """The rig's own number of it; 0 where no cell is near the place that was named."""
    off_um: float | None
    """From the middle of the image; None where the cell is not in it."""


def revisits(
    decisions: Sequence[Decision],
    frames: Iterable[AskedFrame],
    cells: Cells,
    daughters: Mapping[int, Sequence[int]],
) -> list[Revisit]:
    """Targets of decisions on single objects, one for each whose frames were taken.

    ``daughters`` has those of each cell that divided.
    """
    first: dict[int, AskedFrame] = {}
    for frame in frames:
        if frame.decision >= 0:
            first.setdefault(frame.decision, frame)
    found = []
    for decision in decisions:
        there = first.get(decision.number)
        after = None if there is None else cells(there.seq)
        if len(decision.objects) != 1 or there is None or after is None:
            continue
        target = _target(decision, cells)
        middle = (there.x_um, there.y_um)
        off = _distance(after, (target,), middle)
        if off is None and target in daughters:
            off = _distance(after, daughters[target], middle)
        found.append(Revisit(decision.number, decision.rule, decision.seq, there.seq, target, off))
    return found


def summary(found: Sequence[Revisit]) -> Mapping[str, Any]:
    """Keys of the report; empty where nothing was visited again."""
    if not found:
        return {}
    offs = [one.off_um for one in found if one.off_um is not None]
    return {
        "revisits": len(found),
        "revisits_close": sum(off <= CLOSE_UM for off in offs) / len(found),
        "revisits_off_um": median(offs) if offs else None,
    }


def _target(decision: Decision, cells: Cells) -> int:
    for seq in range(decision.seq, max(decision.seq - BACK_FRAMES, -1), -1):
        before = cells(seq)
        target = 0 if before is None else _nearest(before, (decision.x_um, decision.y_um))
        if target:
            return target
    return 0


def _nearest(
    cells: tuple[NDArray[np.int32], NDArray[np.float64]], place: tuple[float, float]
) -> int:
    ids, places = cells
    if not len(ids) or not all(map(math.isfinite, place)):
        return 0
    apart = np.hypot(*(places - place).T)
    nearest = int(apart.argmin())
    return int(ids[nearest]) if apart[nearest] <= TARGET_UM else 0


def _distance(
    cells: tuple[NDArray[np.int32], NDArray[np.float64]],
    wanted: Sequence[int],
    place: tuple[float, float],
) -> float | None:
    """From a place to the middle of cells; None where one of them is not in the image."""
    ids, places = cells
    rows = np.flatnonzero(np.isin(ids, wanted))
    if not len(wanted) or len(rows) < len(wanted):
        return None
    return float(np.hypot(*(places[rows].mean(axis=0) - place)))
