"""What a click in teach mode does: which object, which picture, which class. No Qt."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from live.display.errors import TeachError
from live.display.scene import Scene
from live.display.taught import STEPS_KEPT, TaughtFolder
from live.display.teach import class_name, crop_of

TRACKS_KEPT = 5000


@dataclass(frozen=True, slots=True)
class TaughtMark:
    """A dot on an object that was taught; (y, x) in pixels of its result."""

    y_px: float
    x_px: float
    name: str


class Teacher:
    """Keeps what someone teaches by clicks. One thread uses it.

    Parameters
    ----------
    folder
        Where examples go; None where that is not offered.
    """

    def __init__(self, folder: Path | None) -> None:
        self._taught = None if folder is None else TaughtFolder(folder)
        self._of_track: OrderedDict[int, str] = OrderedDict()
        self._steps: deque[tuple[int, str | None]] = deque(maxlen=STEPS_KEPT)
        self.available = folder is not None

    def counts(self) -> dict[str, int]:
        """Class -> examples."""
        return {} if self._taught is None else self._taught.classes()

    def teach(self, scene: Scene, y_px: float, x_px: float, name: str) -> str:
        """Keep the object at (y, x) px of the frame on screen as an example; what was done.

        Raises
        ------
        TeachError
            When nothing could be kept, with the reason for people.
        """
        taught = self._folder()
        known = [*self.counts(), *(scene.result.classes if scene.result is not None else ())]
        name = class_name(name, known)
        result, placement = scene.result, scene.placement()
        if result is None or placement is None or not placement.visible:
            raise TeachError("no outlines here; wait for some, then click inside one")
        y, x = int(np.floor(y_px - placement.y_px)), int(np.floor(x_px - placement.x_px))
        height, width = result.labels.shape
        label = int(result.labels[y, x]) if 0 <= y < height and 0 <= x < width else 0
        if label == 0:
            raise TeachError("no object here; click inside an outline")
        if scene.source is None:
            raise TeachError(
                f"the picture of these outlines (frame {result.seq}) is no longer here, because "
                "analysis is far behind the camera; image more slowly while you teach"
            )
        crop = crop_of(
            scene.source.pixels,
            result.labels,
            result.objects,
            label,
            seq=result.seq,
            pixel_size_um=scene.source.pixel_size_um,
        )
        before = taught.class_of(result.seq, label)
        if not taught.put(crop, name):
            return f"{name} already"
        track = int(result.objects["track_id"][result.objects["label"] == label][0])
        self._remember(track, name)
        count = self.counts()[name]
        return f"{before} → {name}: {count}" if before is not None else f"{name}: {count}"

    def undo(self) -> str:
        """Take the last click back; what was done. Raises ``TeachError`` when there is none."""
        told = self._folder().undo()
        if self._steps:
            track, before = self._steps.pop()
            self._of_track.pop(track, None)
            if before is not None:
                self._of_track[track] = before
        return told

    def marks(self, scene: Scene) -> Sequence[TaughtMark]:
        """Dots on the objects of the newest result that were taught in this or earlier frames."""
        result = scene.result
        if result is None or self._taught is None or not self.counts():
            return ()
        found = []
        columns = (result.objects[key].tolist() for key in ("label", "track_id", "y_px", "x_px"))
        for label, track, y_px, x_px in zip(*columns, strict=True):
            name = self._taught.class_of(result.seq, label) or self._of_track.get(track)
            if name is not None:
                found.append(TaughtMark(y_px, x_px, name))
        return found

    def _folder(self) -> TaughtFolder:
        if self._taught is None:
            raise TeachError("this window has no folder to keep examples in")
        return self._taught

    def _remember(self, track: int, name: str) -> None:
        self._steps.append((track, self._of_track.pop(track, None)))
        if track > 0:
            self._of_track[track] = name
        while len(self._of_track) > TRACKS_KEPT:
            self._of_track.popitem(last=False)
