"""A second look at an image: how sure is each object, is the image of a known kind?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.result import Verdict
from models.settings import TrustSettings
from models.tasks.network import NetworkSegmenter


class Doubter:
    """Checks one frame in so many."""

    def __init__(self, settings: TrustSettings, segmenter: NetworkSegmenter) -> None:
        self._settings, self._segmenter = settings, segmenter

    def reset(self) -> None:
        """Forget earlier images."""

    def check(
        self, pixels: NDArray[Any], labels: NDArray[np.int32], objects: NDArray[np.void], seq: int
    ) -> Verdict | None:
        """Fill ``uncertainty`` of ``objects`` when it is this frame's turn; the newest verdict."""
        raise NotImplementedError
