"""Errors of the application side, and the exit code that each kind of failure ends with.

::

    LiveError
    ├── UsageError            a command was asked for something that cannot be done
    └── BenchFailed           a measurement missed its bar

    drivers.SettingsError
    └── SettingsProblems      everything wrong with the settings, all at once, by file and key

Hardware and model failures keep their own trees (``drivers.errors``, ``models.errors``).
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from drivers.errors import FrameError, RigError, ScopeError, SettingsError, WireError


class ExitCode(IntEnum):
    """What a process ends with; the README explains each to users."""

    OK = 0
    CRASH = 1
    """A fault of the program itself."""
    BAD_INPUT = 2
    """Settings, files or options that cannot work; nothing was started."""
    HARDWARE = 3
    """The microscope is missing, refused a command or was lost."""
    FRAMES_LOST = 4
    """A frame was lost, or what is on disk does not add up."""
    ANALYSIS_FAILED = 5
    """The inference process could not be kept alive, or an engine does not work."""
    RULE_FAILED = 6
    """A rule could not be carried out."""
    INTERRUPTED = 130
    """Forced to end; one Ctrl-C or SIGTERM ends a run in order, with the code that it earned."""


class LiveError(Exception):
    """Root of the errors that the application itself raises."""

    exit_code = ExitCode.CRASH


class UsageError(LiveError):
    """A command was asked for something that cannot be done; the message says what can."""

    exit_code = ExitCode.BAD_INPUT


class BenchFailed(LiveError):
    """A measurement missed the bar that it was asked to hold."""

    exit_code = ExitCode.CRASH


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with settings that somebody wrote."""

    file: str
    """The YAML file as the user named it; empty when the settings came from Python."""
    key: str
    """Dotted path such as ``plan.channels[0].exposure``; empty for the whole file."""
    message: str
    line: int = 0
    """Line in the file, from 1; 0 when it is not known."""

    def __str__(self) -> str:
        """``file:line: key: message``, leaving out what is not known."""
        place = f"{self.file}:{self.line}" if self.file and self.line else self.file
        return ": ".join(part for part in (place, self.key, self.message) if part)


class SettingsProblems(SettingsError):
    """Everything that is wrong with the settings, reported together.

    Parameters
    ----------
    problems
        At least one.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def exit_code_of(error: BaseException) -> int:
    """Exit code that an uncaught ``error`` should end the process with.

    An error class of any package may carry an ``exit_code`` of its own, which wins.
    """
    # Loaded only now: the models' package brings numpy, which `--help` can do without.
    from models.errors import EngineError, ModelError

    own = getattr(error, "exit_code", None)
    if isinstance(own, int):
        return int(own)
    match error:
        case KeyboardInterrupt():
            return ExitCode.INTERRUPTED
        case RigError():
            return ExitCode.HARDWARE
        case SettingsError() | FrameError():
            return ExitCode.BAD_INPUT
        case WireError():
            return ExitCode.FRAMES_LOST
        case EngineError():
            return ExitCode.ANALYSIS_FAILED
        case ModelError() | ScopeError() | OSError():
            return ExitCode.BAD_INPUT
        case _:
            return ExitCode.CRASH


def is_users_own(error: BaseException) -> bool:
    """Whether ``error`` speaks to the user in one sentence, so that no traceback is needed."""
    from models.errors import ModelError

    # A file or port that the system refuses is the user's to mend, if it is named.
    named = isinstance(error, OSError) and bool(error.strerror) and bool(error.filename)
    return named or isinstance(error, ScopeError | ModelError | LiveError)


def message_of(error: BaseException) -> str:
    """The message of ``error``, never empty."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{os.fspath(error.filename)}: {error.strerror}"
    return str(error) or type(error).__name__


def traceback_of(error: BaseException) -> str:
    """The full traceback of ``error`` with its causes, for ``--debug`` and the log."""
    return "".join(traceback.format_exception(error))
