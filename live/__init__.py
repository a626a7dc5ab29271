"""The application: acquisition loop, supervision, decisions, recording, window, command line.

Nothing heavy is imported before a name is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from live.experiment.loading import load_experiment
    from live.experiment.settings import ExperimentSettings
    from live.report import RunReport
    from live.session import Session, run_experiment

__all__ = ["ExperimentSettings", "RunReport", "Session", "load_experiment", "run_experiment"]

_HOME = {
    "ExperimentSettings": "live.experiment.settings",
    "RunReport": "live.report",
    "Session": "live.session",
    "load_experiment": "live.experiment.loading",
    "run_experiment": "live.session",
}


def __getattr__(name: str) -> object:
    """Public names, imported when first used (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'live' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
