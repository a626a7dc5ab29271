"""Events that rules know by a word: ``divided``, ``appeared``, ``became``. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from live.rules.candidates import Candidate, of_rows, of_tracks
from live.rules.classes import Became, class_number
from live.rules.settings import RuleSettings

WATCHED_FRAMES = 8
"""Frames after a division in which its daughters must part, or it is taken for a flicker."""
MOST_WATCHED = 1000


@dataclass(frozen=True, slots=True)
class Division:
    """A division that is not sure yet."""

    daughters: tuple[int, ...]
    left: int
    """Frames in which it can still become sure."""


@dataclass(slots=True)
class EventMemory:
    """What one rule remembers of earlier frames."""

    watched: dict[int, Division] = field(default_factory=dict)
    """Mother -> her division, while it is not sure."""
    became: Became = field(default_factory=Became)


def event_candidates(
    rule: RuleSettings, memory: EventMemory, objects: NDArray[np.void], classes: Sequence[str]
) -> list[Candidate]:
    """What a rule with one of the words finds in a frame."""
    if rule.when == "divided":
        _watch(memory, objects)
        return _parted(rule, memory, objects)
    if rule.when == "became":
        number = class_number(rule.of_class or "", classes)
        tracks = [] if number is None else memory.became.take(objects, number, rule)
        what = f"became {rule.of_class}"
        return [of_tracks(track, what, objects, (track,)) for track in tracks]
    rows = objects[objects["age_frames"] == rule.min_age_frames]
    rows = rows[rows["parent_id"] == 0]
    return [of_tracks(int(row["track_id"]), "appeared", objects, (int(row["track_id"]),))
            for row in rows]  # fmt: skip


def _watch(memory: EventMemory, objects: NDArray[np.void]) -> None:
    """Take note of new divisions: one a mother, however many daughters are seen."""
    daughters = objects[objects["divided"]]
    for mother in np.unique(daughters["parent_id"]):
        pair = daughters["track_id"][daughters["parent_id"] == mother]
        ids = tuple(int(track) for track in pair)
        if len(memory.watched) < MOST_WATCHED:
            memory.watched[int(mother)] = Division(ids, WATCHED_FRAMES)


def _parted(rule: RuleSettings, memory: EventMemory, objects: NDArray[np.void]) -> list[Candidate]:
    """Watched divisions whose daughters are apart in this frame; each comes once."""
    found = []
    for mother, division in list(memory.watched.items()):
        rows = objects[np.isin(objects["track_id"], division.daughters)]
        if _separation(rows) >= rule.min_separation:
            del memory.watched[mother]
            names = " and ".join(map(str, division.daughters))
            found.append(of_rows(mother, f"divided into {names}", rows, division.daughters))
        elif division.left <= 1:
            del memory.watched[mother]
        else:
            memory.watched[mother] = replace(division, left=division.left - 1)
    return found


def _separation(rows: NDArray[np.void]) -> float:
    """Distance of the two farthest daughters in the sum of their radii; 0 unless both are there."""
    if len(rows) < 2:
        return 0.0
    y, x = rows["y_px"].astype(float), rows["x_px"].astype(float)
    apart = np.hypot(y[:, None] - y[None, :], x[:, None] - x[None, :])
    one, two = np.unravel_index(int(apart.argmax()), apart.shape)
    radius = np.sqrt(rows["area_px"].astype(float) / np.pi)
    return float(apart[one, two] / max(radius[one] + radius[two], 1e-9))
