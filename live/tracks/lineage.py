"""Tracks of a movie as one forest: each object, and the one that it came from.

An object comes from the one that had its track's id last, and the first of a daughter from the
last of its mother. So each object has at most one before it, and the whole of links is one array.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.result import OBJECT_DTYPE

TAKEN: Final = (
    "label", "track_id", "parent_id", "y_px", "x_px", "y_um", "x_um", "area_px",
    "mean_intensity", "max_intensity", "confidence", "class_id",
)  # fmt: skip
"""What is kept of a row of ``OBJECT_DTYPE``."""
SPOT_DTYPE: Final = np.dtype(
    [
        ("frame", np.int32),  # place in the movie, from 0
        ("time_s", np.float64),  # since the first frame; NaN where it is not known
        *((name, OBJECT_DTYPE[name]) for name in TAKEN),
    ]
)
"""One object in one frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Lineages:
    """Every object of a movie and where it came from.

    Parameters
    ----------
    spots
        (n,) of ``SPOT_DTYPE``, in order of frame, then of label.
    before
        (n,) place in ``spots`` of the object that each came from; -1 for one that is new.
    tracklet, lineage
        (n,) number of the unbranched piece and of the whole family that each belongs to: the place
        of its first object, counted from 1.
    classes
        Names that ``class_id`` counts into.
    pixel_size_um
        0 where it is not known, or not the same throughout.
    """

    spots: NDArray[np.void]
    before: NDArray[np.int64]
    tracklet: NDArray[np.int64]
    lineage: NDArray[np.int64]
    classes: tuple[str, ...] = ()
    pixel_size_um: float = 0.0

    @property
    def edges(self) -> NDArray[np.int64]:
        """(m, 2) places of the earlier and the later object of each link."""
        later = np.flatnonzero(self.before >= 0)
        return np.stack((self.before[later], later), axis=1)


class Gatherer:
    """Keeps what tracks need of each frame: 76 bytes an object until they are asked for."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.void]] = []
        self._sizes: set[float] = set()
        self._classes: tuple[str, ...] = ()

    def add(
        self,
        frame: int,
        time_s: float,
        objects: NDArray[np.void],
        *,
        pixel_size_um: float = 0.0,
        classes: tuple[str, ...] = (),
    ) -> None:
        """Take the next frame's (n,) table of ``OBJECT_DTYPE``; it is copied.

        ``time_s`` is NaN and ``pixel_size_um`` 0 where they are not known.
        """
        spots = np.zeros(len(objects), SPOT_DTYPE)
        spots["frame"], spots["time_s"] = frame, time_s
        for name in TAKEN:
            spots[name] = objects[name]
        self._parts.append(spots)
        self._sizes.add(pixel_size_um)
        self._classes = classes or self._classes

    def lineages(self) -> Lineages:
        """The tracks so far."""
        every = np.concatenate([np.zeros(0, SPOT_DTYPE), *self._parts])
        size = self._sizes.pop() if len(self._sizes) == 1 else 0.0
        return lineages_of(every, self._classes, size)


def lineages_of(
    spots: NDArray[np.void], classes: tuple[str, ...] = (), pixel_size_um: float = 0.0
) -> Lineages:
    """Link objects by their tracks.

    Parameters
    ----------
    spots
        (n,) of ``SPOT_DTYPE`` in any order. Objects with ``track_id`` 0 stand alone.
    classes, pixel_size_um
        As in `Lineages`.

    Raises
    ------
    ValueError
        When a track is in one frame twice.
    """
    spots = spots[np.lexsort((spots["label"], spots["frame"]))]
    track, frame = spots["track_id"], spots["frame"]
    # tracks one after the other, each in order of time
    order = np.lexsort((frame, track))
    same = track[order[1:]] == track[order[:-1]]
    linked = same & (track[order[1:]] > 0)
    twice = linked & (frame[order[1:]] == frame[order[:-1]])
    if twice.any():
        one = order[1:][twice][0]
        raise ValueError(f"track {track[one]} is twice in frame {frame[one]}; need it once")
    before = np.full(len(spots), -1, np.int64)
    before[order[1:][linked]] = order[:-1][linked]
    _link_daughters(spots, order, before)
    tracklet, lineage = families_of(before)
    return Lineages(spots, before, tracklet, lineage, tuple(classes), pixel_size_um)


def families_of(before: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Unbranched piece and family of each object, as `Lineages` has them, from ``before``."""
    branches = np.bincount(before[before >= 0], minlength=len(before))
    onwards = np.where((before >= 0) & (branches[before] == 1), before, -1)
    return _roots(onwards) + 1, _roots(before) + 1


def napari_tracks(lineages: Lineages) -> tuple[NDArray[np.float64], dict[int, list[int]]]:
    """Tracks as the layer of napari takes them.

    Returns
    -------
    data
        (n, 4) track id, frame, y and x in pixels, in order of id and time; objects without a
        track are left out.
    graph
        Id of a daughter -> [id of its mother].

    Examples
    --------
    With napari, beside the movie:

    >>> data, graph = napari_tracks(lineages)  # doctest: +SKIP
    >>> viewer.add_tracks(data, graph=graph)  # doctest: +SKIP
    """
    spots = lineages.spots
    track = spots["track_id"]
    order = np.lexsort((spots["frame"], track))
    order = order[track[order] > 0]
    columns = [spots[name][order] for name in ("track_id", "frame", "y_px", "x_px")]
    data = np.stack(columns, axis=1).astype(np.float64)
    edges = lineages.edges
    mother, daughter = track[edges[:, 0]], track[edges[:, 1]]
    pairs = np.stack((daughter, mother), axis=1)[mother != daughter]
    return data, {int(one): [int(parent)] for one, parent in pairs}


def _link_daughters(
    spots: NDArray[np.void], order: NDArray[np.int64], before: NDArray[np.int64]
) -> None:
    """Link the first object of each daughter to the last one of its mother before it."""
    track, frame = spots["track_id"], spots["frame"]
    parent = spots["parent_id"]
    new = np.flatnonzero((before < 0) & (parent > 0) & (track > 0) & (parent != track))
    if not len(new):
        return
    span = int(frame.max()) + 2
    # one number that sorts as (track, frame) does; ids are small, so it cannot overflow
    keys = track[order] * span + frame[order]
    at = np.searchsorted(keys, parent[new] * span + frame[new]) - 1
    mother = order[at]
    known = (at >= 0) & (track[mother] == parent[new])
    before[new[known]] = mother[known]


def _roots(before: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first of each chain; in as many steps as the longest chain has binary digits."""
    up = np.where(before >= 0, before, np.arange(len(before)))
    while not np.array_equal(further := up[up], up):
        up = further
    return up
