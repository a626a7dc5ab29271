"""Actions of other packages: functions that make events, found by entry point.

::

    [project.entry-points."parfocal.actions"]
    spiral = "my_package:spiral"

    def spiral(cause: live.actions.blocks.Cause, params: dict) -> list[useq.MDAEvent]: ...
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import entry_points

from live.actions.blocks import Plugin
from live.experiment.didyoumean import suggestion

GROUP = "parfocal.actions"


def load_plugins(names: Iterable[str]) -> tuple[dict[str, Plugin], dict[str, str]]:
    """Import the actions that are named; those that cannot be, with the sentence why."""
    installed = {point.name: point for point in entry_points(group=GROUP)}
    found: dict[str, Plugin] = {}
    wrong: dict[str, str] = {}
    for name in dict.fromkeys(names):
        point = installed.get(name)
        if point is None:
            hint = suggestion(name, installed)
            wrong[name] = f"no installed package has an action '{name}'; {hint}"
            continue
        try:
            function = point.load()
        except Exception as error:  # code of others: whatever it raises, the run does not start
            wrong[name] = f"action '{name}' ({point.value}) cannot be imported: {error}"
            continue
        if callable(function):
            found[name] = function
        else:
            wrong[name] = f"action '{name}' ({point.value}) is no function"
    return found, wrong
