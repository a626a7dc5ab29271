"""Errors of the window.

::

    live.errors.LiveError
    ├── DisplayError     the window cannot be opened here; imaging goes on without it
    └── TeachError       an object cannot be kept as an example; nothing else happens
"""

from live.errors import ExitCode, LiveError


class DisplayError(LiveError):
    """The window cannot be opened on this machine, with what to install or change."""

    exit_code = ExitCode.BAD_INPUT


class TeachError(LiveError):
    """An object cannot be kept as an example; the window says why, and imaging goes on."""
