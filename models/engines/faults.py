"""Faults of engines: what each is called, and what is done about it.

Pure: it takes errors and gives names and steps; others carry the steps out.
"""

from __future__ import annotations

import re
from enum import StrEnum

from models.errors import (
    EngineDeviceLost,
    EngineError,
    EngineFileError,
    EngineOutOfMemory,
    EngineShapeError,
    EngineValueError,
    EngineVersionError,
    ModelError,
)

IN_A_ROW = 3
"""Frames that fail one after the other before the engine is opened again."""

REOPENINGS = 2
"""How often that is tried before the process ends, so that a new one can begin."""

HEALED_AFTER = 100
"""Answers in a row after which earlier openings no longer count."""

_NAMES: tuple[tuple[type[EngineError], str], ...] = (
    (EngineFileError, "file"),
    (EngineVersionError, "version"),
    (EngineShapeError, "shape"),
    (EngineValueError, "value"),
    (EngineOutOfMemory, "out_of_memory"),
    (EngineDeviceLost, "device_lost"),
    (EngineError, "engine"),
)

_TELLS: tuple[tuple[type[EngineError], str], ...] = (
    (EngineOutOfMemory, r"out of memory|bad.?alloc|fail\w* to allocate|not enough memory"),
    (EngineDeviceLost, r"device (was |is )?(lost|removed|hung|reset)|illegal memory access|"
     r"unspecified launch failure|illegaladdress|launchfailure|context is destroyed"),
    (EngineVersionError, r"unsupported model ir|ir.version|opset|version mismatch|"
     r"different version|incompatible version"),
    (EngineFileError, r"protobuf|invalid.?graph|unable to read the model|magic|truncated|corrupt"),
    (EngineShapeError, r"invalid dimensions|invalid rank|invalid feed|unexpected input data type|"
     r"shape mismatch|incompatible dimensions"),
)  # fmt: skip
"""Words by which an engine that has no class for it tells one fault from another."""


class Step(StrEnum):
    """What is done about a frame that an engine could not answer."""

    SKIP = "the frame is left out"
    REOPEN = "the engine is opened again"
    END = "the inference process ends, for a new one"


def fault_name(error: ModelError) -> str:
    """Short name of a fault of an engine; empty where the engine is not at fault."""
    return next((name for kind, name in _NAMES if isinstance(error, kind)), "")


def typed(error: Exception, doing: str) -> EngineError:
    """An error of an engine as one of ours; the one given where it says already what it is.

    Parameters
    ----------
    error
        What was raised.
    doing
        Engine and deed, such as ``onnxruntime failed on nuclei@0123``, for foreign errors.
    """
    if isinstance(error, EngineError) and type(error) is not EngineError:
        return error
    text = str(error)
    if isinstance(error, MemoryError):
        return EngineOutOfMemory(f"{doing}: out of memory")
    kind = next((kind for kind, words in _TELLS if re.search(words, text, re.IGNORECASE)), None)
    if isinstance(error, EngineError):
        return error if kind is None else kind(text)
    return (kind or EngineError)(f"{doing}: {type(error).__name__}: {text}")


class Ladder:
    """Decides what to do about each failed frame: wait, open the engine again, begin anew.

    Parameters
    ----------
    in_a_row
        Failed frames one after the other before the next step up.
    reopenings
        How often the engine is opened again before the process ends.
    """

    def __init__(self, in_a_row: int = IN_A_ROW, reopenings: int = REOPENINGS) -> None:
        self._in_a_row, self._reopenings = in_a_row, reopenings
        self._failed = self._reopened = self._good = 0

    def failed(self, error: ModelError) -> Step:
        """Count a frame that was not answered, and say what to do."""
        if isinstance(error, EngineDeviceLost):
            return Step.END
        if not isinstance(error, EngineError):
            return Step.SKIP
        self._good = 0
        self._failed += 1
        if self._failed < self._in_a_row:
            return Step.SKIP
        self._failed = 0
        self._reopened += 1
        return Step.REOPEN if self._reopened <= self._reopenings else Step.END

    def answered(self) -> None:
        """Count a frame that was answered."""
        self._failed = 0
        self._good += 1
        if self._good >= HEALED_AFTER:
            self._reopened = 0
