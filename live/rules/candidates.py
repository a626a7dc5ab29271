"""What a condition found in a frame: where, of which objects, and in which words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivers import FrameMeta

_PLACE = ["y_px", "x_px", "y_um", "x_um", "confidence"]


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A rule's condition is fulfilled; guards may still hold it back."""

    track_id: int
    """0 when it is about the frame as a whole."""
    objects: tuple[int, ...]
    """Tracks that are the evidence."""
    y_px: float
    x_px: float
    y_um: float
    x_um: float
    confidence: float
    what: str
    rows: NDArray[np.void]
    """The evidence, rows of the frame in which it was seen."""
    captured_ns: int | None = None
    """When that was, where it was not in this frame."""
    leaving: bool = False
    """The condition has ended: what is to be done is ``afterwards``."""
    quiet: bool = False
    """It was held back before; nobody needs to hear that again."""

    @property
    def whole_frame(self) -> bool:
        """Whether it is about no object in particular."""
        return self.track_id == 0


def of_tracks(
    track: int, what: str, objects: NDArray[np.void], evidence: tuple[int, ...]
) -> Candidate:
    """A candidate from the rows of some tracks; ``what`` goes on after the cell's number."""
    return of_rows(track, what, objects[np.isin(objects["track_id"], evidence)], evidence)


def of_rows(
    track: int, what: str, rows: NDArray[np.void], evidence: tuple[int, ...], name: str = ""
) -> Candidate:
    """The same from the rows themselves, at least one."""
    if len(rows) == 1:
        y_px, x_px, y_um, x_um, confidence = rows[_PLACE].item()
    else:
        y_px, x_px, y_um, x_um = (float(rows[key].mean()) for key in _PLACE[:4])
        confidence = float(rows["confidence"].min())
    return Candidate(
        track_id=track,
        objects=evidence,
        y_px=y_px,
        x_px=x_px,
        y_um=y_um,
        x_um=x_um,
        confidence=confidence,
        what=f"{name or f'cell {track}'} {what}",
        rows=rows,
    )


def of_frame(
    what: str, objects: NDArray[np.void], meta: FrameMeta, shape: tuple[int, int]
) -> Candidate:
    """A candidate about the frame as a whole: in its middle, where the stage stood."""
    return Candidate(
        track_id=0,
        objects=(),
        y_px=(shape[0] - 1) / 2,
        x_px=(shape[1] - 1) / 2,
        y_um=meta.y_um,
        x_um=meta.x_um,
        confidence=1.0,
        what=what,
        rows=objects[:0],
    )
