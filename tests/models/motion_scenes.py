"""Small worlds of cells with known ids, for the tracker's tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.result import OBJECT_DTYPE, ImageContext
from models.settings import TrackSettings
from models.tasks.measure import compact, measure
from models.tracking import Tracker, TrackUpdate


@dataclass(slots=True)
class Shot:
    """One frame: objects, label image and the true id of each object."""

    objects: np.ndarray
    labels: np.ndarray | None
    ids: np.ndarray


def points(places: np.ndarray, ids: np.ndarray, area: float = 300.0) -> Shot:
    """Objects without a label image."""
    table = np.zeros(len(places), dtype=OBJECT_DTYPE)
    table["label"] = np.arange(1, len(places) + 1)
    table["y_px"], table["x_px"] = places.T if len(places) else (0, 0)
    table["area_px"] = area
    return Shot(table, None, np.asarray(ids))


def discs(places: np.ndarray, radii: np.ndarray, ids: np.ndarray, shape: tuple[int, int]) -> Shot:
    """Discs drawn into a label image; those outside it are left out."""
    labels = np.zeros(shape, dtype=np.int32)
    for label, ((cy, cx), radius) in enumerate(zip(places, radii, strict=True), 1):
        y0, x0 = int(max(cy - radius - 1, 0)), int(max(cx - radius - 1, 0))
        y1, x1 = max(int(cy + radius + 2), y0), max(int(cx + radius + 2), x0)
        y, x = np.mgrid[y0:y1, x0:x1]
        part = labels[y0 : y0 + y.shape[0], x0 : x0 + x.shape[1]]
        inside = (y - cy) ** 2 + (x - cx) ** 2 < radius**2
        part[inside[: part.shape[0], : part.shape[1]]] = label
    kept = np.unique(labels[labels > 0])
    labels = compact(labels)
    ones = np.ones(len(kept), dtype=np.float32)
    table = measure(labels, labels.astype(np.uint16), ones, ImageContext(0, 0.0))
    return Shot(table, labels, np.asarray(ids)[kept - 1])


def lattice(count: int, spacing: float, seed: int) -> np.ndarray:
    """Jittered places on a square lattice."""
    side = int(np.ceil(count**0.5))
    rng = np.random.default_rng(seed)
    y, x = np.divmod(np.arange(count), side)
    places = (np.stack([y, x], axis=1) + 0.75) * spacing
    return places + rng.uniform(-0.2, 0.2, places.shape) * spacing


def follow(
    shots: list[Shot],
    tracker: Tracker | None = None,
    contexts: list[ImageContext] | None = None,
) -> list[TrackUpdate]:
    """What a tracker says of all frames in order."""
    tracker = tracker or Tracker(TrackSettings())
    updates = []
    for seq, shot in enumerate(shots):
        context = contexts[seq] if contexts else ImageContext(seq=seq, time_s=float(seq))
        updates.append(tracker.update(shot.objects, shot.labels, context))
    return updates


def mixed_up(shots: list[Shot], updates: list[TrackUpdate]) -> int:
    """How many times an object has another track id than its cell had before."""
    id_of: dict[int, int] = {}
    wrong = 0
    for shot, update in zip(shots, updates, strict=True):
        for cell, track in zip(shot.ids, update.track_id, strict=True):
            wrong += id_of.setdefault(int(cell), int(track)) != track
    return wrong
