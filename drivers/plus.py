"""Keeps pymmcore-plus to itself: no log in the user's home, no chatter on the terminal.

On import it opens a log file per user, which every program and environment shares, and sets the
root logger to DEBUG. A run has its own log, so both are taken back. Its signals are its own too:
in a process that has a Qt application it would take Qt's, through a package that we do not need.
Take what you need of pymmcore-plus from here.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler

_root_level = logging.getLogger().level
os.environ.setdefault("PYMM_SIGNALS_BACKEND", "psygnal")

import pymmcore_plus  # noqa: E402
from pymmcore_plus import CMMCorePlus, find_micromanager  # noqa: E402

__all__ = ["CMMCorePlus", "find_micromanager", "pymmcore_plus", "silent"]

_logger = logging.getLogger("pymmcore-plus")

for _handler in list(_logger.handlers):
    if isinstance(_handler, RotatingFileHandler):
        _logger.removeHandler(_handler)
        _handler.close()
logging.getLogger().setLevel(_root_level)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Log nothing of pymmcore-plus: it logs to the terminal what it also raises."""
    _logger.disabled, before = True, _logger.disabled
    try:
        yield
    finally:
        _logger.disabled = before
