"""One camera image with everything that is known about how it was taken."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from drivers.errors import FrameError

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
_DTYPES = np.dtype(np.uint8), np.dtype(np.uint16)


class FrameMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What travels beside the pixels of a frame, over the wire and into the journal.

    Times are nanoseconds of the camera host's monotonic clock (``time.monotonic_ns``).
    """

    seq: int
    """The rig's count of frames since it was opened, from 0; a gap is frames lost before us."""
    captured_ns: int
    """End of exposure, as close as the camera tells."""
    popped_ns: int
    """The pixels were in this process's memory."""
    exposure_ms: float
    x_um: float = 0.0
    """Stage position of the optical axis when the frame was exposed."""
    y_um: float = 0.0
    z_um: float = 0.0
    channel: str = ""
    """Preset of the channel group; empty where the rig has none."""
    pixel_size_um: float = 0.0
    """0 means uncalibrated: then positions inside the image stay in pixels."""
    bit_depth: int = 16
    epoch: int = 0
    """Counts changes of image shape, dtype or bit depth during the run, from 0."""
    index: dict[str, int] = {}
    """useq axis index of the event that asked for the frame (``t``, ``p``, ``c``, ``z``)."""
    pos_name: str = ""
    recorded_s: float = -1.0
    """For recorded data, when in its movie the frame was taken; negative for a live camera.
    Tracking goes by this, so that a replay gives the same tracks at any speed."""
    decision: int = -1
    """Number of the decision that asked for this frame; -1 for a frame of the user's plan."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One camera image.

    Parameters
    ----------
    pixels
        (y, x) camera counts, uint8 or uint16, C-contiguous. Shared between the ring, the recorder
        and the display, so nobody writes to it.
    meta
        How it was taken.

    Raises
    ------
    FrameError
        When the pixels are not two-dimensional uint8 or uint16.
    """

    pixels: Pixels
    meta: FrameMeta

    def __post_init__(self) -> None:
        """Check shape and dtype once, where data enters."""
        if self.pixels.ndim != 2 or self.pixels.dtype not in _DTYPES:
            raise FrameError(
                f"frame {self.meta.seq}: got {self.pixels.dtype} {self.pixels.shape}, "
                "need (y, x) uint8 or uint16; convert in the driver"
            )
