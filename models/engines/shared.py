"""One loaded engine for several pipelines of a process: one copy of the weights, one run at a time.

The engine lives in a thread of its own and never learns that it is shared. Who may go next is
decided by `models.engines.batching`. A network that takes any number of things along the first axis
of every input, as the one that sorts objects does, runs once for all requests of a batch. Those
that take one image, as all networks that segment, run one after another, the oldest request first;
for them nothing is waited for.

The last digits of an answer may depend on what ran with it, as matrix products are summed in
another order for more rows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.engines.base import Arrays, Engine, Shape
from models.engines.batching import Batcher
from models.errors import EngineDeviceLost, EngineError, EngineShapeError
from models.result import EngineInfo
from models.settings import ShareSettings

CAPACITY = 64
"""Requests that wait, at most."""

LOOK_EVERY_S = 1.0
"""How often who waits makes sure that there still is somebody to wait for."""

OPEN_TIMEOUT_S = 900.0
"""Loading may build an engine for a GPU first."""

CLOSE_TIMEOUT_S = 60.0


@dataclass(slots=True, eq=False)
class Pending:
    """A request that was made."""

    inputs: Mapping[str, NDArray[Any]]
    done: threading.Event = field(default_factory=threading.Event)
    answer: Arrays | None = None
    error: Exception | None = None

    @property
    def rows(self) -> int:
        """Length of the first axis; -1 where the inputs do not agree on one."""
        lengths = {array.shape[:1] for array in self.inputs.values()}
        return lengths.pop()[0] if len(lengths) == 1 and lengths != {()} else -1

    @property
    def kind(self) -> Hashable:
        """Requests of one kind can run together along the first axis; with none runs alone."""
        first = 0 if self.rows < 0 else 1
        named = sorted(self.inputs.items())
        return first, tuple((name, a.dtype.str, a.shape[first:]) for name, a in named)

    def fail(self, error: Exception) -> None:
        """No answer will come."""
        self.error = error
        self.done.set()


class SharedEngine:
    """Runs an engine in a thread of its own for all who ask. Hold it in a ``with`` block.

    Every method may be called from any thread.

    Parameters
    ----------
    engine
        Not yet open; opened, run and closed by the one thread.
    share
        How much to collect.
    stacked
        Whether the first axis of every input and output counts things, none of which depends on
        the others. It is taken only where the engine's shapes agree.
    """

    def __init__(self, engine: Engine, share: ShareSettings, *, stacked: bool = False) -> None:
        self._engine, self._share, self._stacked = engine, share, stacked
        self._changed = threading.Condition()
        self._batcher = Batcher(share.most, 0.0, CAPACITY)
        self._pending: dict[int, Pending] = {}
        self._members = 0
        self._stopping = False
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._info: EngineInfo | None = None
        self.shapes: Mapping[str, Shape] = {}
        """Lengths of the axes of each input, None where free."""
        self.inputs: tuple[str, ...] = ()
        """Names of what the network takes."""
        self.runs = 0
        """Calls of the engine so far."""

    def __enter__(self) -> SharedEngine:
        """Load it; raises what the engine raises."""
        self._thread = threading.Thread(target=self._serve, name="shared engine", daemon=True)
        self._thread.start()
        if not self._ready.wait(OPEN_TIMEOUT_S):
            self._stop()
            raise EngineError(f"the engine did not open within {OPEN_TIMEOUT_S:g} s; start again")
        if self._error is not None:
            self._thread.join(CLOSE_TIMEOUT_S)
            raise self._error
        return self

    def __exit__(self, *exc: object) -> None:
        """Let it go; who still waits gets an error. Safe to call twice."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stop()
        thread.join(CLOSE_TIMEOUT_S)
        if thread.is_alive():
            raise EngineError(f"the engine did not close within {CLOSE_TIMEOUT_S:g} s")
        if self._error is not None and not self.lost:
            raise self._error

    @property
    def lost(self) -> bool:
        """Whether its device no longer answers; nobody else should join."""
        return isinstance(self._error, EngineDeviceLost)

    @property
    def dropped(self) -> int:
        """Requests that gave way to newer ones of the same member."""
        with self._changed:
            return self._batcher.dropped.total()

    @property
    def info(self) -> EngineInfo:
        """What runs, and how requests of several members come together."""
        if self._info is None:
            raise EngineError("shared engine is not open; use it inside a `with` block")
        return self._info

    def join(self) -> int:
        """Number of a new member."""
        with self._changed:
            self._members += 1
            return self._members

    def leave(self, member: int) -> None:
        """A member goes; what it still had asked for is not answered."""
        with self._changed:
            for ticket in self._batcher.leave(member):
                self._pending.pop(ticket).fail(EngineError("left before its turn"))
            self._changed.notify_all()

    def ask(self, member: int, inputs: Mapping[str, NDArray[Any]]) -> Pending:
        """Ask for a run, for `result`; the inputs must not change before that."""
        pending = Pending(inputs)
        with self._changed:
            if self._stopping or self._error is not None:
                raise self._error or EngineError("shared engine is closed")
            asked = self._batcher.ask(member, pending.kind, _now_ms())
            self._pending[asked.ticket] = pending
            if asked.gave_way is not None:
                self._pending.pop(asked.gave_way).fail(
                    EngineError("gave way to newer frames: the engine is too slow for all streams")
                )
            self._changed.notify_all()
        return pending

    def result(self, pending: Pending) -> Arrays:
        """Outputs by name; blocks until done.

        Raises
        ------
        EngineError
            What the engine raised, or when the request gave way to a newer one.
        """
        while not pending.done.wait(LOOK_EVERY_S):
            thread = self._thread
            if (thread is None or not thread.is_alive()) and not pending.done.is_set():
                raise EngineError("the shared engine was closed before it answered")
        if pending.error is not None:
            raise pending.error
        assert pending.answer is not None
        return pending.answer

    def _serve(self) -> None:
        try:
            with self._engine as engine:
                self._opened(engine)
                while batch := self._next():
                    self._answer(engine, batch)
        except Exception as error:  # other people's engines raise what they like
            with self._changed:
                self._error = self._error or error
        with self._changed:
            self._stopping = True
            for pending in self._pending.values():
                pending.fail(self._error or EngineError("the shared engine was closed"))
            self._pending.clear()
        self._ready.set()

    def _opened(self, engine: Engine) -> None:
        self.shapes, self.inputs = dict(engine.shapes), engine.inputs
        free = all(len(s) > 1 and s[0] is None for s in self.shapes.values())
        self._stacked = self._stacked and free
        how = "one after another"
        if self._stacked:
            # a single request is never held back for what could not run with it
            self._batcher = Batcher(self._share.most, self._share.budget_ms, CAPACITY)
            how = f"up to {self._share.most} requests together within {self._share.budget_ms:g} ms"
        info = engine.info
        self._info = replace(info, device=f"{info.device}, shared, {how}")
        self._ready.set()

    def _next(self) -> list[Pending]:
        """The next batch; empty when it is time to stop."""
        with self._changed:
            while not self._stopping:
                now = _now_ms()
                if requests := self._batcher.take(now):
                    return [self._pending.pop(request.ticket) for request in requests]
                wait = self._batcher.wait_ms(now)
                self._changed.wait(LOOK_EVERY_S if wait is None else wait / 1e3)
            return []

    def _answer(self, engine: Engine, batch: list[Pending]) -> None:
        if self._stacked and len(batch) > 1 and batch[0].rows >= 0:
            try:
                parts = self._together(engine, batch)
            except EngineDeviceLost as error:
                self._lose(error, batch)
                return
            except Exception:  # whose fault it was shows when each runs alone, below
                parts = []
            if parts:
                for pending, part in zip(batch, parts, strict=True):
                    pending.answer = part
                    pending.done.set()
                return
        for number, pending in enumerate(batch):
            try:
                self.runs += 1
                pending.answer = engine.run(pending.inputs)
            except EngineDeviceLost as error:
                self._lose(error, batch[number:])
                return
            except Exception as error:  # as above: it is the caller's to name
                pending.error = error
            pending.done.set()

    def _together(self, engine: Engine, batch: list[Pending]) -> list[Arrays]:
        names = batch[0].inputs
        self.runs += 1
        found = engine.run({n: np.concatenate([p.inputs[n] for p in batch]) for n in names})
        ends = np.cumsum([pending.rows for pending in batch])
        wrong = [name for name, array in found.items() if len(array) != ends[-1]]
        if wrong:
            raise EngineShapeError(f"{wrong[0]} has {len(found[wrong[0]])} rows, need {ends[-1]}")
        # copies: a member who keeps its part would keep those of all others too
        return [
            {name: array[end - p.rows : end].copy() for name, array in found.items()}
            for p, end in zip(batch, ends.tolist(), strict=True)
        ]

    def _lose(self, error: EngineDeviceLost, batch: list[Pending]) -> None:
        with self._changed:
            self._error, self._stopping = error, True
        for pending in batch:
            pending.fail(error)

    def _stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()


def _now_ms() -> float:
    return time.monotonic() * 1e3
