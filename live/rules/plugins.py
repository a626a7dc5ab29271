"""Conditions of other packages: functions over the table of columns, found by entry point.

::

    [project.entry-points."parfocal.rules"]
    crowded = "my_package:crowded"

    def crowded(table: dict[str, numpy.ndarray], *, least: int) -> numpy.ndarray: ...

``table`` has every column of `live.rules.columns` but those of regions, each (n,), ``class`` as
text; the answer is (n,) bool, or one bool for a rule ``per: frame``. The same table must give the
same answer: a plug-in looks at no clock.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import numpy as np
from numpy.typing import NDArray

from live.experiment.didyoumean import suggestion

GROUP = "parfocal.rules"

Condition = Callable[..., Any]


def plugin_problem(name: str) -> str:
    """Why a condition cannot be used; empty when it is installed. Imports nothing."""
    installed = _installed()
    if name in installed:
        return ""
    if not installed:
        return f"no installed package has a condition '{name}'; none is installed at all"
    return f"no installed package has a condition '{name}'; {suggestion(name, installed)}"


def load_condition(name: str) -> Condition:
    """Import a condition; ``ValueError`` with a sentence when it cannot be."""
    if problem := plugin_problem(name):
        raise ValueError(problem)
    point = _installed()[name]
    try:
        function = point.load()
    except Exception as error:  # code of others: whatever it raises, the run does not start
        raise ValueError(
            f"condition '{name}' ({point.value}) cannot be imported: {error}"
        ) from error
    if not callable(function):
        raise ValueError(f"condition '{name}' ({point.value}) is no function")
    found: Condition = function
    return found


def ask(
    condition: Condition, table: dict[str, NDArray[Any]], params: dict[str, Any], count: int
) -> NDArray[np.bool_]:
    """Its answer for one frame, checked; ``ValueError`` when it fails or is not (``count``,) bool.

    The arrays are copies, so that a plug-in changes nothing for others.
    """
    try:
        said = np.asarray(condition({k: v.copy() for k, v in table.items()}, **params))
    except Exception as error:  # code of others: the rule is switched off, imaging goes on
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if said.dtype != np.bool_ or said.shape not in ((count,), ()):
        raise ValueError(f"gave {said.dtype} {said.shape}, need bool ({count},)")
    return np.broadcast_to(said, (count,)).copy()


def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}
