"""Who shares which engine in this process: counted, so that the last to leave closes it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from models.engines.base import Arrays, Engine, model_name, not_open
from models.engines.opening import open_engine
from models.engines.shared import Pending, SharedEngine
from models.engines.threads import Threads, resolve_threads
from models.engines.wrapper import Wrapper
from models.settings import ShareSettings

Choice = tuple[str, str, Threads]
"""Engine, precision and threads, as `open_engine` takes them."""

_Key = tuple[str, str, str, int, ShareSettings, bool]


@dataclass(slots=True, eq=False)
class _Held:
    engine: SharedEngine
    members: int = 0


_held: dict[_Key, _Held] = {}
_lock = threading.Lock()


class Member(Wrapper):
    """An engine that other pipelines of this process may use too. Hold it in a ``with`` block.

    Made anew only where no other member has the same model (by what is in the file), engine,
    precision, threads and settings of sharing open. One whose device was lost takes no new
    members. An engine that others hold is not opened again by leaving and coming back.

    Parameters
    ----------
    path, choice
        As of `open_engine`.
    share, stacked
        As of `models.engines.shared.SharedEngine`.
    """

    def __init__(
        self, path: Path, choice: Choice, share: ShareSettings, *, stacked: bool = False
    ) -> None:
        self._path, self._choice, self._share, self._stacked = path, choice, share, stacked
        self._key: _Key | None = None
        self._shared: SharedEngine | None = None
        self._number = 0

    def __enter__(self) -> Self:
        """Load the network, or join those who have; raises ``EngineError``."""
        engine, precision, threads = self._choice
        name = f"{self._path.resolve()} {model_name(self._path)}"
        key = (name, engine, precision, resolve_threads(threads), self._share, self._stacked)
        # a second member waits here while the first one loads
        with _lock:
            held = _held.get(key)
            if held is None or held.engine.lost:
                made = open_engine(self._path, engine, precision, threads)
                shared = SharedEngine(made, self._share, stacked=self._stacked)
                held = _held[key] = _Held(shared.__enter__())
            held.members += 1
            self._key, self._shared = key, held.engine
        self._number = self._shared.join()
        return self

    def __exit__(self, *exc: object) -> None:
        """Leave; the last one closes the engine. Safe to call twice."""
        shared, self._shared = self._shared, None
        if shared is None or self._key is None:
            return
        shared.leave(self._number)
        with _lock:
            held = _held.get(self._key)
            if held is None or held.engine is not shared:
                return  # its device was lost, it has ended by itself
            held.members -= 1
            if held.members > 0:
                return
            del _held[self._key]
            shared.__exit__(*exc)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Outputs by name for inputs by name; blocks until done."""
        return self.result(self.ask(inputs))

    def ask(self, inputs: Mapping[str, NDArray[Any]]) -> Pending:
        """Ask for a run and go on; the inputs must not change before `result`."""
        return self.shared.ask(self._number, inputs)

    def result(self, pending: Pending) -> Arrays:
        """Outputs of what was asked for; blocks until done."""
        return self.shared.result(pending)

    @property
    def shared(self) -> SharedEngine:
        """What all members have in common."""
        if self._shared is None:
            raise not_open("shared")
        return self._shared

    def _inner(self) -> SharedEngine:
        return self.shared


def engine_for(
    path: Path, choice: Choice, share: ShareSettings | None = None, *, stacked: bool = False
) -> Engine:
    """Engine for an ONNX file, not yet open: one of its own, or with ``share`` a member's.

    Raises
    ------
    EngineError
        As `open_engine`.
    """
    if share is None:
        return open_engine(path, *choice)
    return Member(path, choice, share, stacked=stacked)
