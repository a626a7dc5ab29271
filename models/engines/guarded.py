"""A guard round any engine: its answers are looked at, its errors are named.

An engine that gives no numbers, or another shape than it should, must not reach the tracker: ids
that went wrong cannot be taken back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.engines.base import Arrays, Engine
from models.engines.faults import typed
from models.engines.wrapper import Wrapper
from models.errors import EngineDeviceLost, EngineError, EngineShapeError, EngineValueError

WHOLE_VALUES = 1 << 20
"""Answers of up to so many values are looked at whole."""

ROWS_EACH = 8
"""Of larger ones, one row in so many; the next call takes the rows after these."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One output that a network must give."""

    name: str
    kinds: str
    """What its values may be: letters of ``dtype.kind``, such as ``iu`` or ``f``."""
    like: str
    """Input whose lengths it has."""
    axes: tuple[int, ...] = (-2, -1)
    """On these axes; the lengths are the same from the same end."""


SEGMENTS = (Answer("labels", "iu", "image"), Answer("probability", "f", "image"))
DENOISES = (Answer("denoised", "f", "image"), Answer("state_out", "f", "image"))
CLASSIFIES = (Answer("probability", "f", "windows", (0,)),)


class GuardedEngine(Wrapper):
    """Runs an engine and checks what it answers. Hold it in a ``with`` block; one thread uses it.

    Parameters
    ----------
    engine
        Not yet open.
    answers
        What it must give; names beyond these are let through.
    values
        Whether to look for what is no number. Off where the caller has a use for such an answer,
        as the denoiser has.
    """

    def __init__(self, engine: Engine, answers: tuple[Answer, ...], *, values: bool = True) -> None:
        self._engine, self._answers, self._values = engine, answers, values
        self._turn = 0
        self._lost: EngineDeviceLost | None = None

    def __enter__(self) -> Self:
        """Open it; raises a typed ``EngineError``, whatever the engine raises."""
        try:
            self._engine.__enter__()
        except Exception as error:  # other people's engines raise what they like
            self._raise(error, "cannot be opened")
        return self

    def __exit__(self, *exc: object) -> None:
        """Let it go. Safe to call twice, and after the device was lost."""
        try:
            self._engine.__exit__(*exc)
        except EngineError:
            # what a device that is gone cannot free, the end of the process does
            if self._lost is None:
                raise

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Outputs by name.

        Raises
        ------
        EngineShapeError, EngineValueError
            When an answer is missing, of another shape or type, or no number.
        EngineDeviceLost
            Also on every call after the device was lost.
        EngineError
            Or what else of it the engine raises; errors of others become one of these.
        """
        if self._lost is not None:
            raise self._lost
        try:
            found = self._engine.run(inputs)
        except EngineDeviceLost as error:
            self._lost = error
            raise
        except Exception as error:  # as above
            self._raise(error, "failed")
        for answer in self._answers:
            self._check(answer, inputs, found)
        self._turn += 1
        return found

    def _inner(self) -> Engine:
        return self._engine

    def _check(
        self, answer: Answer, inputs: Mapping[str, NDArray[Any]], found: Mapping[str, NDArray[Any]]
    ) -> None:
        name = answer.name
        if name not in found:
            given = ", ".join(found) or "nothing"
            raise EngineShapeError(f"{self._who()} gives {given}, need {name}; export it again")
        array, like = found[name], inputs.get(answer.like)
        if array.dtype.kind not in answer.kinds:
            raise EngineShapeError(
                f"{self._who()} gives {name} as {array.dtype}, need one of kind {answer.kinds!r}"
            )
        if like is not None:
            try:
                same = all(array.shape[axis] == like.shape[axis] for axis in answer.axes)
            except IndexError:
                same = False
            if not same:
                raise EngineShapeError(
                    f"{self._who()} gives {name} of {array.shape} for {answer.like} of "
                    f"{like.shape}; build it again for this size"
                )
        if self._values and array.dtype.kind == "f" and not is_finite(array, self._turn):
            raise EngineValueError(f"{self._who()} gives {name} with values that are no numbers")

    def _who(self) -> str:
        info = self.info
        return f"{info.name} with {info.model}"

    def _raise(self, error: Exception, what: str) -> None:
        try:
            who = self._who()
        except EngineError:
            who = type(self._engine).__name__
        named = typed(error, f"{who} {what}")
        if isinstance(named, EngineDeviceLost):
            self._lost = named
        if named is error:
            raise named
        raise named from error


def is_finite(array: NDArray[Any], turn: int = 0) -> bool:
    """Whether every value is a number; of large arrays one row in `ROWS_EACH`, by ``turn``."""
    if array.size > WHOLE_VALUES:
        array = array.reshape(-1, array.shape[-1])[turn % ROWS_EACH :: ROWS_EACH]
    # a sum is finite only if every number is, and takes a quarter of the time of asking each
    with np.errstate(invalid="ignore", over="ignore"):
        total = array.sum(dtype=np.float32 if array.itemsize <= 4 else None)
    if np.isfinite(total):
        return True
    return bool(np.isfinite(array).all())


def guarded(engine: Engine, answers: tuple[Answer, ...], *, values: bool = True) -> GuardedEngine:
    """The engine within a guard; see `GuardedEngine`."""
    return GuardedEngine(engine, answers, values=values)
