"""Errors of recording.

::

    LiveError
    └── RecorderError        a frame could not be kept: the run stops, what is written stays whole
        ├── StoreError       pixels did not reach the disk
        └── JournalError     the journal cannot be written or read

    drivers.SettingsError
    └── OutputExists         the output holds something already; nothing is overwritten
"""

from __future__ import annotations

from drivers.errors import SettingsError
from live.errors import ExitCode, LiveError


class RecorderError(LiveError):
    """A frame could not be kept; the run has to stop, what was written stays whole."""

    exit_code = ExitCode.FRAMES_LOST


class StoreError(RecorderError):
    """Pixels did not reach the disk."""


class JournalError(RecorderError):
    """The journal cannot be written or read."""


class OutputExists(SettingsError):
    """The output folder holds something already and is not overwritten."""
