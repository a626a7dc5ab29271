"""Repairs in a pipeline: what `mending` needs from the stages before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.result import ImageContext
from models.settings import TrackSettings
from models.tasks.daughters import Seam, find_seams
from models.tasks.network import NetworkSegmenter
from models.tracking.bodies import Ints
from models.tracking.mending import Mended, mend
from models.tracking.tracker import Tracker


def mender_of(settings: TrackSettings, segmenter: object) -> Mender | None:
    """The mender that the settings ask for; only a network is asked again."""
    if not settings.repair:
        return None
    if settings.divisions and isinstance(segmenter, NetworkSegmenter):
        return Mender(segmenter)
    return Mender(None)


class Mender:
    """Mends one frame after another. One thread uses it; it remembers nothing.

    Parameters
    ----------
    segmenter
        The open network that labelled the frames, to look again with; None: nothing is looked at
        again.
    """

    def __init__(self, segmenter: NetworkSegmenter | None) -> None:
        self._segmenter = segmenter

    def mend(
        self,
        tracker: Tracker,
        labels: NDArray[np.int32],
        objects: NDArray[np.void],
        pixels: NDArray[Any],
        segmented: NDArray[Any],
        context: ImageContext,
    ) -> Mended:
        """As `models.tracking.mending.mend`; ``segmented`` (y, x) is what was segmented."""
        segmenter = self._segmenter
        if segmenter is None:
            return mend(tracker, labels, objects, pixels, context)

        def look(
            labels: NDArray[np.int32], objects: NDArray[np.void], rows: Ints
        ) -> Sequence[Seam]:
            return find_seams(segmenter, segmented, labels, objects, rows)

        return mend(tracker, labels, objects, pixels, context, look)
