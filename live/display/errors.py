"""Errors of the window.

::

    live.errors.LiveError
    └── DisplayError     the window cannot be opened here; imaging goes on without it
"""

from live.errors import ExitCode, LiveError


class DisplayError(LiveError):
    """The window cannot be opened on this machine, with what to install or change."""

    exit_code = ExitCode.BAD_INPUT
