"""Sorting of objects into classes by a small network on crops around them."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.settings import ClassifySettings


class Classifier:
    """Sorts the objects of one image. Hold it in a ``with`` block."""

    classes: tuple[str, ...] = ()

    def __init__(self, settings: ClassifySettings) -> None:
        self._settings = settings

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def classify(
        self, pixels: NDArray[Any], labels: NDArray[np.int32], objects: NDArray[np.void]
    ) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
        """Class (n,) and its probability (n,) of every object."""
        raise NotImplementedError
