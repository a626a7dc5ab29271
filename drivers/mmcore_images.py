"""How pixels leave a core: straight from its memory, for every core in this process.

The Java bridge of Micro-Manager needs another way (``drivers.pycromanager``); both meet `Images`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pymmcore
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Shot:
    """Pixels with what the core says about them."""

    pixels: NDArray[Any]
    """(y, x) camera counts; (y, x, rgb) from a colour camera."""
    captured_ns: int
    popped_ns: int
    number: int = -1
    """The core's count of frames since the sequence started; -1 when it does not say."""
    elapsed_ms: float = -1.0
    """From the start of the sequence until the core had the frame; -1 when it does not say."""


class Images(Protocol):
    """The three ways to get an image from a core; each blocks and copies the pixels once."""

    def snap(self, core: Any) -> Shot:
        """Expose and fetch one image."""

    def pop(self, core: Any) -> Shot:
        """Take the oldest image out of the sequence buffer, which must not be empty."""

    def last(self, core: Any) -> Shot:
        """Copy the newest image of the sequence buffer, which must not be empty."""


class DirectImages:
    """Images of a core in this process: CMMCorePlus, UniMMCore or a bare pymmcore.CMMCore."""

    def snap(self, core: Any) -> Shot:
        """Expose and fetch one image."""
        core.snapImage()
        captured_ns = time.monotonic_ns()
        pixels = np.ascontiguousarray(core.getImage())
        return Shot(pixels, captured_ns, time.monotonic_ns())

    def pop(self, core: Any) -> Shot:
        """Take the oldest image out of the sequence buffer."""
        tags = pymmcore.Metadata()
        return _shot(core.popNextImageMD(tags), tags)

    def last(self, core: Any) -> Shot:
        """Copy the newest image of the sequence buffer."""
        tags = pymmcore.Metadata()
        return _shot(core.getLastImageMD(tags), tags)


def _shot(pixels: NDArray[Any], tags: Any) -> Shot:
    now_ns = time.monotonic_ns()
    known = tags.HasTag("ImageNumber")
    number = int(tags.GetSingleTag("ImageNumber").GetValue()) if known else -1
    timed = tags.HasTag("ElapsedTime-ms")
    elapsed_ms = float(tags.GetSingleTag("ElapsedTime-ms").GetValue()) if timed else -1.0
    return Shot(np.ascontiguousarray(pixels), now_ns, now_ns, number, elapsed_ms)
