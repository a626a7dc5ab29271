"""Engines of other people: entry points of the group ``parfocal.engines``.

A package adds ``[project.entry-points."parfocal.engines"] mine = "package:make"`` to its
``pyproject.toml``; ``make(path, precision, threads)`` gives an `models.engines.Engine`, not yet
open. A pipeline asks for it as ``engine: plugin:mine``. The prefix says that it is not one of ours,
and ``auto`` never takes one.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

from models.engines.base import Engine
from models.errors import EngineError

GROUP = "parfocal.engines"
PREFIX = "plugin:"


def plugged_engine(engine: str, path: Path, precision: str, threads: int) -> Engine:
    """Engine that a plug-in makes, not yet open.

    Parameters
    ----------
    engine
        ``plugin:`` and the name of the entry point.
    path, precision, threads
        As of ``models.engines.open_engine``; threads are counted already.

    Raises
    ------
    EngineError
        When no such plug-in is installed, or it cannot be loaded.
    """
    name = engine.removeprefix(PREFIX)
    installed = {point.name: point for point in entry_points(group=GROUP)}
    if name not in installed:
        known = ", ".join(sorted(installed)) or "none"
        raise EngineError(
            f"no engine plug-in named {name!r}; installed: {known}. It is an entry point of the "
            f"group {GROUP}: install the package that brings it, or set another engine"
        )
    point = installed[name]
    try:
        made: Engine = point.load()(path, precision, threads)
    except EngineError:
        raise
    except Exception as error:  # a plug-in raises what it likes
        raise EngineError(
            f"engine plug-in {name!r} ({point.value}) cannot be loaded: {error}; install the "
            "package again, or set another engine"
        ) from error
    return made
