"""The live window, in a process of its own: newest frame, what was found in it, what was decided.

Importing this package loads no Qt. ``live.display.app.run_window`` opens the window; the rig's
process imports only ``live.display.availability`` and ``live.display.view_model``.
"""

from live.display.availability import display_available
from live.display.view_model import (
    DisplayFeed,
    RuleLine,
    ShownFrame,
    ShownQuestion,
    ShownResult,
    ShownStatus,
    ShownTraining,
)

__all__ = [
    "DisplayFeed",
    "RuleLine",
    "ShownFrame",
    "ShownQuestion",
    "ShownResult",
    "ShownStatus",
    "ShownTraining",
    "display_available",
]
