"""What the window is told: plain values, no Qt, no sockets.

The process that receives messages turns them into these and hands them over through a
``DisplayFeed``; the window polls the feed from one timer and draws the newest only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.result import DenoiseReport, Verdict


@dataclass(frozen=True, slots=True, eq=False)
class ShownFrame:
    """One picture to show.

    ``pixels`` is (y, x) uint8 or uint16 and belongs to the window from here on: a feed that reads
    from a ring copies first.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    seq: int
    captured_ns: int
    """End of exposure on this host's ``time.monotonic_ns``."""
    x_um: float
    """Stage position of the optical axis, which is the middle of the picture."""
    y_um: float
    pixel_size_um: float
    """0 means uncalibrated."""
    channel: str
    bit_depth: int = 0
    """Bits that the camera fills, for the count of saturated pixels; 0: those of the dtype."""
    objective: str = ""
    exposure_ms: float = 0.0
    px_to_um: NDArray[np.float64] | None = None
    """2 x 2 (or the left of a 2 x 3) matrix from (x_px, y_px) to stage (x_um, y_um); None for a
    stage that runs along the camera's axes."""


@dataclass(frozen=True, slots=True, eq=False)
class ShownResult:
    """What was found in one frame, not always the one on screen.

    ``labels`` is (y, x) int32 with 0 for background, ``objects`` (n,) of
    ``models.result.OBJECT_DTYPE``, ``denoised`` (y, x) in the frame's own scale, or None.
    """

    seq: int
    labels: NDArray[np.int32]
    objects: NDArray[np.void]
    denoised: NDArray[np.generic] | None = None
    x_um: float | None = None
    """Stage position of the frame that it was found in. None: taken from the frames shown."""
    y_um: float | None = None
    pixel_size_um: float | None = None
    """Pixel size of the frame that it was found in. None: the same as that of the frame shown."""
    captured_ns: int = 0
    """Of the frame that it was found in; 0 where that is not known."""
    channel: str = ""
    """Of the same frame."""
    classes: tuple[str, ...] = ()
    """Names that ``class_id`` of the objects counts into; empty where nothing is classified."""
    verdict: Verdict | None = None
    """The newest check of whether images are of the kind that the networks know."""
    denoise: DenoiseReport | None = None
    """Noise model and trust of the denoised image; None where no network denoises."""


@dataclass(frozen=True, slots=True)
class RuleLine:
    """State of one rule."""

    name: str
    fired: int
    last_text: str = ""
    """Cause of the last firing in words; empty while it never fired."""
    armed: bool = True
    """False during a cool-down, or when the rule has used up its firings."""
    mode: str = "auto"
    """``observe``: it only logs; ``suggest``: it asks first; ``auto``: it acts."""


@dataclass(frozen=True, slots=True)
class ShownQuestion:
    """What a rule suggests."""

    number: int
    rule: str
    text: str
    left_s: float
    """How long it can still be accepted."""


@dataclass(frozen=True, slots=True)
class ShownTraining:
    """How training the denoiser goes."""

    state: str
    """``starting``, ``reading``, ``training``, ``better``, ``not better``, ``failed``,
    ``swapped``; empty before the first."""
    sentence: str
    done: float = 0.0
    """Share of the time, 0 to 1."""
    left_s: float = 0.0
    loss_start: float = math.nan
    """Held-out self-supervised loss before, NaN while it is not known."""
    loss_best: float = math.nan
    frames: int = 0


@dataclass(frozen=True, slots=True)
class ShownStatus:
    """State of the run beside the picture; one snapshot."""

    camera_hz: float = 0.0
    inference_hz: float = 0.0
    drops: dict[str, int] = field(default_factory=dict)
    """Stage -> frames lost or passed over there."""
    engine: str = ""
    """Engine, precision and device in one line."""
    latency_ms: dict[str, float] = field(default_factory=dict)
    """Name -> ms. ``camera_to_decision_p50`` and ``camera_to_decision_p95`` (``p50`` and ``p95``
    for short) have a tile of their own; the rest is shown in its tooltip."""
    rules: Sequence[RuleLine] = ()
    events: Sequence[str] = ()
    """Newest last; the window keeps the last 50."""
    recorded: int = 0
    captured: int = 0
    phase: str = ""
    """``plan``, ``burst``, ``paused``."""
    warning: str = ""
    """Shown across the window until it is empty again."""
    target_um: tuple[float, float] | None = None
    """Stage position (x, y) of what a running burst looks at, ringed in the picture."""
    asked: Sequence[ShownQuestion] = ()
    """Suggestions that wait for an answer, oldest first."""
    training: ShownTraining | None = None
    """How training the denoiser goes; None while none was asked for."""


class DisplayFeed(Protocol):
    """Where the window gets its values. Every call returns at once and never raises."""

    def newest_frame(self) -> ShownFrame | None:
        """Newest frame, or None when nothing is newer than the one returned before."""

    def newest_result(self) -> ShownResult | None:
        """Newest result, or None when nothing is newer than the one returned before."""

    def status(self) -> ShownStatus:
        """State of the run now."""

    def closed(self) -> bool:
        """True once the run is over: the window takes its last picture and closes."""
