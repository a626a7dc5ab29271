"""Is there a screen, and can Qt draw here? Answered without importing Qt."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping


def display_available(
    platform: str = sys.platform, environment: Mapping[str, str] | None = None
) -> bool:
    """Say whether a window can be opened on a screen.

    Parameters
    ----------
    platform
        As ``sys.platform`` names it.
    environment
        Environment variables; those of this process when None.

    Returns
    -------
    bool
        True on Windows and macOS; elsewhere whether X11 or Wayland is announced.
    """
    if platform in ("win32", "darwin"):
        return True
    variables = os.environ if environment is None else environment
    return bool(variables.get("DISPLAY") or variables.get("WAYLAND_DISPLAY"))


def missing_library(offscreen: bool, platform: str = sys.platform) -> str:
    """Name the first system library that Qt needs here and that is not installed.

    Qt aborts the whole process when its X11 plug-in cannot load, so we look before we leap.

    Returns
    -------
    str
        The package to install, in Debian's naming, or an empty string when nothing is missing.
    """
    if not platform.startswith("linux"):
        return ""
    needed = {
        "libEGL.so.1": "libegl1",
        "libGL.so.1": "libgl1",
        "libfontconfig.so.1": "libfontconfig1",
        "libxkbcommon.so.0": "libxkbcommon0",
        "libdbus-1.so.3": "libdbus-1-3",
        "libglib-2.0.so.0": "libglib2.0-0",
    }
    if not offscreen and not os.environ.get("WAYLAND_DISPLAY"):
        needed |= {
            "libxcb-cursor.so.0": "libxcb-cursor0",
            "libxcb-icccm.so.4": "libxcb-icccm4",
            "libxcb-keysyms.so.1": "libxcb-keysyms1",
            "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
        }
    for library, package in needed.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            return package
    return ""
