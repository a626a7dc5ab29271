"""Open the live window and run it until it closes. Qt is imported only when this is called."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from live.display.availability import missing_library
from live.display.errors import DisplayError
from live.display.still import run_still
from live.display.view_model import DisplayFeed

LOG = logging.getLogger(__name__)


def run_window(
    feed: DisplayFeed,
    *,
    title: str,
    offscreen: bool,
    screenshot: Path | None,
    on_close: Callable[[], None],
    snapshot_dir: Path | None = None,
    taught_dir: Path | None = None,
    on_train: Callable[[], bool] | None = None,
    on_steer: Callable[[tuple[str, ...]], bool] | None = None,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> int:
    """Show the window until the feed is closed or someone closes it. Blocks; main thread only.

    Parameters
    ----------
    feed
        Where values come from; polled at most 30 times a second.
    title
        Of the window.
    offscreen
        Draw without a screen. Where even Qt cannot load, a plain picture is drawn instead, and the
        log says so.
    screenshot
        PNG that shows the window a few seconds ago at most, and its last state after the end; each
        is written whole. None for none.
    on_close
        Called once when the window closes, whoever closed it.
    snapshot_dir
        Where the Snapshot button puts its pictures; the working folder when None.
    taught_dir
        Where objects go that someone names by clicks; None offers no such thing.
    on_train
        Asks for a training of the denoiser, see ``LiveWindow``; None offers no such thing.
    on_steer
        Sends a command in the words of ``parfocal ctl``; None offers no controls.
    clock_ns
        The clock of ``ShownFrame.captured_ns``.

    Returns
    -------
    int
        0 after an orderly end.

    Raises
    ------
    DisplayError
        When no window can be opened here; the message names what to install.
    Exception
        What went wrong in the feed or while drawing, after the window was closed.
    """
    missing = missing_library(offscreen)
    if missing:
        reason = (
            f"got no {missing}, a system library that the window needs; install it "
            f"(apt-get install {missing}) or run with --headless"
        )
        if not offscreen:
            raise DisplayError(reason)
        LOG.warning("%s; a plain picture is drawn instead", reason)
        return run_still(
            feed, title=title, picture=screenshot, on_close=on_close, clock_ns=clock_ns
        )
    return _run_qt(
        feed,
        title,
        offscreen,
        screenshot,
        on_close,
        snapshot_dir,
        taught_dir,
        on_train,
        on_steer,
        clock_ns,
    )


def _run_qt(
    feed: DisplayFeed,
    title: str,
    offscreen: bool,
    screenshot: Path | None,
    on_close: Callable[[], None],
    snapshot_dir: Path | None,
    taught_dir: Path | None,
    on_train: Callable[[], bool] | None,
    on_steer: Callable[[tuple[str, ...]], bool] | None,
    clock_ns: Callable[[], int],
) -> int:
    if offscreen:
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    from PySide6.QtCore import QCoreApplication, QEvent, qInstallMessageHandler
    from PySide6.QtWidgets import QApplication

    from live.display.theme import apply_theme
    from live.display.window import LiveWindow

    before = qInstallMessageHandler(_log_qt)
    app = QApplication.instance() or QApplication([title])
    apply_theme()
    window = LiveWindow(
        feed,
        title=title,
        screenshot=screenshot,
        on_close=on_close,
        snapshot_dir=snapshot_dir,
        taught_dir=taught_dir,
        on_train=on_train,
        on_steer=on_steer,
        clock_ns=clock_ns,
    )
    window.start()
    code = app.exec()
    error = window.error
    window.release()
    window.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    qInstallMessageHandler(before)
    if error is not None:
        raise error
    return code


def _log_qt(kind: object, context: object, message: str) -> None:  # noqa: ARG001
    """Qt's own messages go to our log; what it says of every offscreen window, to its bottom."""
    name = getattr(kind, "name", "")
    serious = name in ("QtCriticalMsg", "QtFatalMsg", "QtWarningMsg")
    harmless = "propagateSizeHints" in message or not serious
    LOG.log(logging.DEBUG if harmless else logging.WARNING, "Qt: %s", message)
