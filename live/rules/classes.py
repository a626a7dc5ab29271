"""What rules ask of classes and of trust: pure, one frame after the other.

An object's class comes with every frame; its uncertainty only with the frames that were checked,
so the newest check of each track is remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from live.rules.settings import RuleSettings
from models.result import Verdict

TRACKS_KEPT = 20_000


class Became:
    """Tracks of one class, and for how many frames in a row; bounded.

    A track that is lost for a while goes on where it was. One whose class is the same with too
    little probability neither counts nor starts anew: only another class ends the row, so that a
    probability that wavers round its limit fires once.
    """

    def __init__(self) -> None:
        self._frames: OrderedDict[int, int] = OrderedDict()

    def take(self, objects: NDArray[np.void], class_id: int, rule: RuleSettings) -> list[int]:
        """Take one frame in; tracks that were of the class in ``min_age_frames`` frames now."""
        found = []
        tracked = objects[objects["track_id"] > 0]
        for track, of, probability in zip(
            tracked["track_id"].tolist(),
            tracked["class_id"].tolist(),
            tracked["class_probability"].tolist(),
            strict=True,
        ):
            if of != class_id:
                self._frames.pop(track, None)
            elif probability >= rule.min_probability:
                frames = self._frames.pop(track, 0) + 1
                self._frames[track] = frames
                if frames == rule.min_age_frames:
                    found.append(track)
        while len(self._frames) > TRACKS_KEPT:
            self._frames.popitem(last=False)
        return found


class Doubts:
    """Uncertainty of each track at its newest check; bounded."""

    def __init__(self) -> None:
        self._newest: OrderedDict[int, float] = OrderedDict()

    def take(self, objects: NDArray[np.void]) -> None:
        """Remember what this frame says; a frame that was not checked says nothing."""
        asked = objects["uncertainty"] >= 0
        if not asked.any():
            return  # as most frames: nine in ten are not checked
        checked = objects[asked & (objects["track_id"] > 0)]
        for track, value in zip(
            checked["track_id"].tolist(), checked["uncertainty"].tolist(), strict=True
        ):
            self._newest.pop(track, None)
            self._newest[track] = value
        while len(self._newest) > TRACKS_KEPT:
            self._newest.popitem(last=False)

    def of(self, tracks: Sequence[int]) -> float | None:
        """The largest of these tracks; None where none of them was ever checked."""
        known = [self._newest[track] for track in tracks if track in self._newest]
        return max(known) if known else None


def class_number(name: str, classes: Sequence[str]) -> int | None:
    """Place of a class among those of the pipeline; None when it has no such class."""
    return list(classes).index(name) if name in classes else None


def another_class(rule: RuleSettings, rows: NDArray[np.void], classes: Sequence[str]) -> str | None:
    """Why the evidence is not of the class that a rule asks for; None when it is, or none is.

    Parameters
    ----------
    rule
        Its ``of_class`` and ``min_probability``.
    rows
        (n,) of ``OBJECT_DTYPE``; every one must be of the class.
    classes
        Names that ``class_id`` counts into.
    """
    if rule.of_class is None:
        return None
    wanted = class_number(rule.of_class, classes)
    if wanted is None:
        known = ", ".join(classes) or "none"
        return f"no class '{rule.of_class}' is told apart; there are: {known}"
    for track, of, probability in zip(
        rows["track_id"].tolist(),
        rows["class_id"].tolist(),
        rows["class_probability"].tolist(),
        strict=True,
    ):
        if of != wanted:
            name = classes[of] if 0 <= of < len(classes) else "of no class"
            return f"{track} is {name} ({probability:.2f}), need {rule.of_class}"
        if probability < rule.min_probability:
            return (
                f"{track} is {rule.of_class} with {probability:.2f}, need "
                f"{rule.min_probability:.2f}"
            )
    return None


def distrust(rule: RuleSettings, uncertainty: float | None, verdict: Verdict | None) -> str | None:
    """Why what was seen is not to be trusted; None when it is, or when nothing was checked."""
    if rule.unlike == "hold" and verdict is not None and verdict.unlike:
        return (
            f"images are unlike those that the network knows: {verdict.reason} "
            f"(strangeness {verdict.strangeness:.2f} at frame {verdict.seq})"
        )
    most = rule.max_uncertainty
    if most is not None and uncertainty is not None and uncertainty > most:
        return f"uncertainty {uncertainty:.2f}, at most {most:.2f}"
    return None
