"""How long conditions have held, and which have fired: arrays over tracks, no loop over objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from live.rules.tracks import MOST_TRACKS

Bools = NDArray[np.bool_]
LOST_FRAMES = 10
"""Frames without a track after which what it began has ended."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a frame changes for one rule: rows of the object table."""

    ready: NDArray[np.int64]
    """May fire now."""
    left: NDArray[np.int64]
    """Had fired, and the condition has ended."""


_NOTHING = Step(np.zeros(0, np.int64), np.zeros(0, np.int64))


class RuleState:
    """State of one rule for every track; row numbers are those of the frame.

    Parameters
    ----------
    for_frames
        Frames in a row in which the condition must hold.
    while_true
        Whether it fires in each further frame, too.
    most
        Places for tracks; 1 for a rule about the frame.
    """

    def __init__(self, for_frames: int, while_true: bool, most: int = MOST_TRACKS) -> None:
        self._for_frames = for_frames
        self._while_true = while_true
        # written at once, as what is remembered of tracks is
        self._streak = np.full(most, 0, np.int32)
        self._on = np.full(most, False)
        self._held = np.full(most, False)
        self._active: dict[int, int] = {}
        self._live = False
        self._turn = 0

    def forget(self, places: NDArray[np.int64]) -> None:
        """These places are of other tracks now."""
        self._streak[places] = 0
        self._on[places] = self._held[places] = False
        if self._active:
            for place in places.tolist():
                self._active.pop(place, None)

    def take(self, places: NDArray[np.int64], holds: Bools, ends: Bools | None) -> Step:
        """Take one frame in.

        Parameters
        ----------
        places
            (n,) of each row; -1 for an object that is not followed.
        holds
            (n,) whether ``when`` holds.
        ends
            (n,) whether ``until`` holds; None: where ``when`` does not.
        """
        self._turn += 1
        if not (self._live or holds.any()):
            return _NOTHING
        known = np.flatnonzero(places >= 0)
        at, true = places[known], holds[known]
        over = ~true if ends is None else ends[known]
        self._streak[at] = np.where(true, np.minimum(self._streak[at], 1 << 30) + 1, 0)
        self._held[at] &= true
        on = self._on[at]
        left = on & over
        ready = true & (self._streak[at] >= self._for_frames)
        if not self._while_true:
            ready &= ~on
        self._on[at[left]] = False
        self._live = bool(self._streak.any() or self._on.any())
        for place in at[on & ~left].tolist():
            if place in self._active:
                self._active[place] = self._turn
        rows = known[ready]
        # Those held back before come last and in turn, so that none keeps the others waiting.
        waiting = self._held[places[rows]]
        if not waiting.any():
            return Step(rows, known[left])
        held = np.roll(rows[waiting], -(self._turn % max(1, int(waiting.sum()))))
        return Step(np.concatenate((rows[~waiting], held)), known[left])

    def fired(self, place: int) -> None:
        """The rule fires for this place."""
        self._on[place], self._held[place] = True, False
        self._active[place] = self._turn

    def hold(self, place: int) -> bool:
        """A guard holds this place back; whether it did before, since the condition holds."""
        before = bool(self._held[place])
        self._held[place] = True
        return before

    def ended(self, places: NDArray[np.int64]) -> bool:
        """Whether, without these places and lost tracks, nothing that fired goes on any more."""
        if not self._active:
            return False
        gone = set(places.tolist())
        for place, turn in list(self._active.items()):
            if place in gone or self._turn - turn >= LOST_FRAMES:
                del self._active[place]
                self._on[place] = False
        return not self._active
