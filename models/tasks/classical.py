"""The classical segmentation in the form of a segmenter: nothing to load, nothing remembered."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.result import CLASSICAL, EngineInfo
from models.settings import ThresholdSettings
from models.tasks.learned import Learned


class ThresholdSegmenter:
    """A ``models.pipeline.Segmenter`` by threshold and watershed."""

    def __init__(self, settings: ThresholdSettings) -> None:
        self._settings = settings

    def __enter__(self) -> Self:
        """Nothing to load."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing to let go."""

    @property
    def info(self) -> EngineInfo:
        """No network, no engine."""
        return CLASSICAL

    def reset(self) -> None:
        """Nothing is remembered."""

    def warm_up(self, shape: tuple[int, int], dtype: str) -> EngineInfo:
        """Run once on an empty image of this shape."""
        self.segment(np.zeros(shape, dtype=dtype))
        return CLASSICAL

    @property
    def learned(self) -> Learned:
        """Nothing."""
        return Learned()

    def restore(self, learned: Learned) -> None:
        """Nothing to go on with."""

    def segment(
        self,
        pixels: NDArray[Any],
        pixel_size_um: float = 0.0,  # noqa: ARG002
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Label image (y, x) int32 and confidence (n,) float32."""
        from models.tasks.threshold import segment

        return segment(pixels, self._settings)
