"""What every engine round another one has in common: it tells of the inner one as of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from models.engines.base import Described, Shape
from models.result import EngineInfo


class Wrapper(ABC):
    """An engine round another one. How it opens, runs and closes, each says itself."""

    @abstractmethod
    def _inner(self) -> Described:
        """The engine that is asked; raises ``EngineError`` where there is none yet."""

    @property
    def info(self) -> EngineInfo:
        """What really runs."""
        return self._inner().info

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what the network takes."""
        return self._inner().inputs

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """Lengths of the axes of each input, None where an axis is free."""
        return self._inner().shapes
