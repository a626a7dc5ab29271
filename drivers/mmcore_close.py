"""How a core is brought to rest and let go."""

from __future__ import annotations

import time
from typing import Any

import pymmcore

from drivers.mmcore_names import names

LAST_WORDS_S = 0.25
"""What a camera's thread may take to end, also on a busy computer; 5 ms on a quiet one."""


def release_core(core: Any) -> None:
    """Close every shutter of a core in this process, unload it, cut its way back into Python."""
    try:
        close_shutters(core)
    finally:
        core.reset()
        # MMCore's callback thread would call into a finalised interpreter and abort it ("FATAL:
        # exception not rethrown"), also with every device unloaded.
        pymmcore.CMMCore.registerCallback(core, None)


def close_shutters(core: Any) -> None:
    """Close all shutters that a core in this process has, not only the one in use."""
    for shutter in names(core.getLoadedDevicesOfType(pymmcore.ShutterDevice)):
        core.setShutterOpen(shutter, False)


class CameraEnd:
    """Stops the camera of a core, and knows when its thread is truly gone.

    A camera whose sequence ended by itself says that it runs no more a few ms before its thread
    has closed the shutter and ended (most device adapters share that code). An exposure begun in
    between goes dark, and a core unloaded in between crashes; both were seen with the DemoCamera.
    """

    def __init__(self) -> None:
        self._ended_s = -LAST_WORDS_S

    def stop(self, core: Any, started: bool) -> None:
        """Stop the camera; returns when it will not touch the shutter any more.

        ``started``: a sequence was started since the last stop.
        """
        if core.isSequenceRunning():
            core.stopSequenceAcquisition()
            return
        is_python = getattr(core, "isPyDevice", None)  # it runs until its thread has ended
        if not started or (is_python is not None and is_python(core.getCameraDevice())):
            return
        self._ended_s = time.monotonic()
        if not core.getAutoShutter() or not core.getShutterDevice():
            return
        while core.getShutterOpen() and time.monotonic() - self._ended_s < LAST_WORDS_S:
            time.sleep(0.001)

    def wait(self) -> None:
        """Wait until the core may be unloaded: nothing tells when a thread has ended."""
        time.sleep(max(0.0, self._ended_s + LAST_WORDS_S - time.monotonic()))
