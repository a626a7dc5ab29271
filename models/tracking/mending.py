"""Label images mended by what the tracks know, before a frame is published.

What the segmentation ran together is parted, what it cut is joined, and where a division is due the
picture is looked at again. Each change is tried: it stays only where the tracker then decides as it
was meant. Only what was touched is measured again, and the label image always is what the published
objects say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.result import ImageContext, Repair, RepairKind
from models.tasks.daughters import Seam
from models.tasks.measure import compact, measure
from models.tracking.bodies import Ints
from models.tracking.parting import moments_of, part_pixels
from models.tracking.repair import Severed, Swallowed, due, severed, swallowed
from models.tracking.tracker import Proposal, Tracker

Look = Callable[[NDArray[np.int32], NDArray[np.void], Ints], Sequence[Seam]]
"""Labels, objects and rows of those in question to where there are two cells."""
LEAST = 0.2
"""A part of an object smaller than this part of it is no cell."""


@dataclass(frozen=True, slots=True, eq=False)
class Mended:
    """A frame after its repairs."""

    labels: NDArray[np.int32]
    """(y, x), objects from 1 without gaps; the input itself where nothing was changed."""
    objects: NDArray[np.void]
    proposal: Proposal
    """What the tracker decides of them, for `Tracker.accept`."""
    repairs: tuple[Repair, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Edit:
    kind: RepairKind
    labels: tuple[int, ...]
    """The object, or both that are joined."""
    box: tuple[slice, slice]
    second: NDArray[np.bool_] | None
    """(y, x) of ``box``: pixels that become an object of their own."""
    tracks: tuple[int, ...]
    """Rows of the tracks."""
    odds: float


def mend(
    tracker: Tracker,
    labels: NDArray[np.int32],
    objects: NDArray[np.void],
    pixels: NDArray[Any],
    context: ImageContext,
    look: Look | None = None,
) -> Mended:
    """Repair one frame; the tracker remembers nothing until its proposal is accepted.

    Parameters
    ----------
    labels
        (y, x) int32, objects from 1 without gaps; not written to.
    objects
        (n,) of ``OBJECT_DTYPE`` in order of label.
    pixels
        (y, x) raw camera counts, to measure what was changed.
    look
        How to look again at cells that may have divided; None: they are not looked at.
    """
    proposal = tracker.propose(objects, labels, context)
    edits = _edits(proposal, labels, objects, look)
    while edits:
        trial = _changed(edits, labels, objects, pixels, context)
        after = tracker.propose(trial.objects, trial.labels, context)
        kept = [edit for edit, new in zip(edits, trial.names, strict=True) if _as_meant(
            edit, [trial.objects["label"].tolist().index(k) for k in new], after
        )]  # fmt: skip
        if len(kept) == len(edits):
            ids = after.tracks["id"]
            repairs = tuple(
                Repair(
                    edit.kind, new, tuple(int(ids[row]) for row in edit.tracks), _chance(edit.odds)
                )
                for edit, new in zip(edits, trial.names, strict=True)
            )
            return Mended(trial.labels, trial.objects, after, repairs)
        edits = kept
    return Mended(labels, objects, proposal)


def _edits(
    proposal: Proposal, labels: NDArray[np.int32], objects: NDArray[np.void], look: Look | None
) -> list[_Edit]:
    """Changes that are worth a trial; no object is in two of them."""
    edits: list[_Edit] = []
    used: set[int] = set()
    for one in swallowed(proposal):
        edit = _parted(proposal, one, labels, objects)
        if edit is not None:
            edits.append(edit)
            used |= set(edit.labels)
    for two in severed(proposal):
        joined = _joined(proposal, two, labels, objects)
        if joined is not None and not used & set(joined.labels):
            edits.append(joined)
            used |= set(joined.labels)
    asked = proposal.order[due(proposal)] if look is not None else np.zeros(0, np.intp)
    asked = (
        asked[[int(objects["label"][row]) not in used for row in asked]] if len(asked) else asked
    )
    if look is None or len(asked) == 0:
        return edits
    track_of = {
        int(proposal.order[obj]): track
        for track, obj in enumerate(proposal.links.first.tolist())
        if obj >= 0
    }
    for seam in look(labels, objects, asked):
        divided = _divided(seam, labels, objects, track_of[seam.row])
        if divided is not None:
            edits.append(divided)
    return edits


def _box(objects: NDArray[np.void], rows: Sequence[int]) -> tuple[slice, slice]:
    part = objects[list(rows)]
    return (
        slice(int(part["bbox_y0"].min()), int(part["bbox_y1"].max())),
        slice(int(part["bbox_x0"].min()), int(part["bbox_x1"].max())),
    )


def _parted(
    proposal: Proposal, one: Swallowed, labels: NDArray[np.int32], objects: NDArray[np.void]
) -> _Edit | None:
    row = int(proposal.order[one.row])
    box = _box(objects, [row])
    own = labels[box] == objects["label"][row]
    y, x = np.nonzero(own)
    rows = list(one.tracks)
    expected = proposal.tracked.expected
    corner = np.array([box[0].start, box[1].start])
    second = part_pixels(y, x, expected.place[rows] - corner, expected.spread[rows])
    if not LEAST < second.mean() < 1 - LEAST:
        return None
    mask = np.zeros_like(own)
    mask[y[second], x[second]] = True
    return _Edit("parted", (int(objects["label"][row]),), box, mask, one.tracks, one.odds)


def _joined(
    proposal: Proposal, two: Severed, labels: NDArray[np.int32], objects: NDArray[np.void]
) -> _Edit | None:
    rows = [int(proposal.order[row]) for row in two.rows]
    box = _box(objects, rows)
    a, b = (labels[box] == objects["label"][row] for row in rows)
    if not _touch(a, b):
        return None
    names = tuple(sorted(int(objects["label"][row]) for row in rows))
    return _Edit("joined", names, box, None, (two.track,), two.odds)


def _touch(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> bool:
    """Whether two masks have neighbouring pixels, corners included."""
    wide = np.pad(a, 1)
    height, width = a.shape
    around = np.zeros_like(a)
    for dy in range(3):
        for dx in range(3):
            around |= wide[dy : dy + height, dx : dx + width]
    return bool((around & b).any())


def _divided(
    seam: Seam, labels: NDArray[np.int32], objects: NDArray[np.void], track: int
) -> _Edit | None:
    box = _box(objects, [seam.row])
    own = labels[box] == objects["label"][seam.row]
    first = own & ~seam.second & ~seam.rest
    second = seam.second.copy()
    bodies = [moments_of(*np.nonzero(part)) for part in (first, second)]
    if seam.rest.any():
        ys, xs = np.nonzero(own)
        nearer = part_pixels(
            ys, xs, np.stack([k[0] for k in bodies]), np.stack([k[1] for k in bodies])
        )
        side = np.zeros_like(own)
        side[ys[nearer], xs[nearer]] = True
        second |= side & seam.rest
    if not LEAST < second.sum() / own.sum() < 1 - LEAST:
        return None
    # of those that turned pictures show as two, nearly all divide in this frame or the next
    odds = math.log((seam.seen + 1) / (seam.looks - seam.seen + 1))
    label = int(objects["label"][seam.row])
    return _Edit("divided", (label,), box, second, (track,), odds)


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    labels: NDArray[np.int32]
    objects: NDArray[np.void]
    names: list[tuple[int, ...]]
    """Labels of the objects that each edit made."""


def _changed(
    edits: Sequence[_Edit],
    labels: NDArray[np.int32],
    objects: NDArray[np.void],
    pixels: NDArray[Any],
    context: ImageContext,
) -> _Trial:
    """The frame with all these changes; objects that no edit touches keep their measurements."""
    image = labels.copy()
    top, gone = len(objects), set[int]()
    made: list[tuple[int, ...]] = []
    for edit in edits:
        if edit.second is None:
            keep, drop = edit.labels
            part = image[edit.box]
            part[part == drop] = keep
            gone.add(drop)
            made.append((keep,))
        else:
            top += 1
            image[edit.box][edit.second] = top
            made.append((edit.labels[0], top))
    touched = {name for edit in edits for name in edit.labels}
    rows = [objects[~np.isin(objects["label"], list(touched))]]
    for edit, names in zip(edits, made, strict=True):
        sure = float(objects["confidence"][np.isin(objects["label"], edit.labels)].min())
        rows.append(_measured(image, names, edit.box, pixels, sure * _chance(edit.odds), context))
    table = np.concatenate(rows)
    table = table[np.argsort(table["label"], kind="stable")]
    number = np.zeros(top + 1, dtype=np.int32)
    number[table["label"]] = np.arange(1, len(table) + 1)
    if gone:
        image = compact(image)
    table["label"] = number[table["label"]]
    return _Trial(image, table, [tuple(int(number[k]) for k in names) for names in made])


def _measured(
    image: NDArray[np.int32],
    names: tuple[int, ...],
    box: tuple[slice, slice],
    pixels: NDArray[Any],
    confidence: float,
    context: ImageContext,
) -> NDArray[np.void]:
    """Rows of a few objects, measured in their box alone."""
    part = image[box]
    local = np.zeros(part.shape, dtype=np.int32)
    for number, name in enumerate(names, 1):
        local[part == name] = number
    y, x = box[0].start, box[1].start
    if context.px_to_um is not None:
        affine = np.array(context.px_to_um, dtype=np.float64)
        affine[:, 2] += affine[:, :2] @ (x, y)
        context = replace(context, px_to_um=affine)
    table = measure(local, pixels[box], np.full(len(names), confidence, np.float32), context)
    for axis, corner in (("y", y), ("x", x)):
        for field in (f"{axis}_px", f"bbox_{axis}0", f"bbox_{axis}1"):
            table[field] += corner
    table["label"] = names
    return table


def _as_meant(edit: _Edit, rows: Sequence[int], after: Proposal) -> bool:
    """Whether the tracker decides of the changed frame what the change was made for."""
    place = np.empty_like(after.order)
    place[after.order] = np.arange(len(after.order))
    objects = {int(place[row]) for row in rows}
    first, second = after.links.first, after.links.second
    if edit.kind == "divided":
        track = edit.tracks[0]
        return {int(first[track]), int(second[track])} == objects
    taken = {int(first[track]) for track in edit.tracks}
    return taken == objects and all(int(second[track]) < 0 for track in edit.tracks)


def _chance(odds: float) -> float:
    return 1 / (1 + math.exp(-min(max(odds, -50.0), 50.0)))
