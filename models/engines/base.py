"""What every engine promises, and the checks that they share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from models.errors import EngineError
from models.result import EngineInfo

Arrays = dict[str, NDArray[Any]]
Shape = tuple[int | None, ...]


class Described(Protocol):
    """What an open engine tells of itself."""

    @property
    def info(self) -> EngineInfo:
        """What really runs, as the engine itself reports it."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what the network takes; files of earlier versions take less."""

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """Lengths of the axes of each input, None where an axis is free."""


class Engine(Described, Protocol):
    """Runs one ONNX file. Hold it in a ``with`` block; one thread uses it.

    Outside the block every call raises ``EngineError``. Leaving twice is safe.
    """

    def __enter__(self) -> Self:
        """Load the file; raises ``EngineError`` when it would not run as asked."""

    def __exit__(self, *exc: object) -> None:
        """Let the network go."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Outputs by name for inputs by name; blocks until done.

        An input of fixed size that is left out is zeros, which is to say: as you think best. The
        arrays belong to the caller: no later call changes them.
        """


def model_name(path: Path) -> str:
    """Name and the first 12 digits of the SHA-256 of a model file, as ``nuclei@0123456789ab``.

    Raises
    ------
    EngineError
        When there is no such file.
    """
    if not path.is_file():
        raise EngineError(
            f"no model at {path}; give a name that `parfocal models list` shows, or an ONNX file"
        )
    return f"{path.stem}@{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"


def refuse_precision(engine: str, asked: str, known: tuple[str, ...]) -> None:
    """Raise ``EngineError`` unless the engine knows the precision asked for."""
    if asked not in known:
        raise EngineError(f"{engine} runs {' or '.join(known)} here, not {asked}; set precision")


def filled(
    inputs: Mapping[str, NDArray[Any]], known: Mapping[str, tuple[int, ...] | None]
) -> dict[str, NDArray[Any]]:
    """Inputs, with zeros for those left out whose size is fixed (not None in ``known``)."""
    missing = {
        name: np.zeros(shape, np.float32)
        for name, shape in known.items()
        if shape is not None and name not in inputs
    }
    return {**inputs, **missing}


def not_open(engine: str) -> EngineError:
    """Error of a call outside the ``with`` block."""
    return EngineError(f"{engine} engine is not open; use it inside a `with` block")
