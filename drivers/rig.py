"""The contract of a rig: a microscope that can be told where to look and gives frames.

Every driver meets this one protocol and runs under one contract test suite
(``tests/drivers/test_rig_contract.py``). The acquisition loop, alone, calls it, from one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

import useq

from drivers.frame import Frame


@dataclass(frozen=True, slots=True)
class RigInfo:
    """What a rig is made of; printed at the start of a run and kept in its journal."""

    name: str
    """Kind of rig: ``micromanager``, ``simulated``, ``pycromanager``, ``replay``."""
    camera: str
    channel_group: str = ""
    presets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Configuration group -> its presets, as the hardware has them."""
    config: str = ""
    """The ``.cfg`` file, folder or address that was opened."""
    adapters: str = ""
    """The folder that device adapters were loaded from."""
    software: str = ""
    """Versions of the libraries that drive it."""
    notes: tuple[str, ...] = ()
    """Warnings that the user should read, such as a slow bridge."""
    frame_count: int | None = None
    """How many frames there are to give; None for a live camera."""
    slms: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Label of each spatial light modulator -> its (height, width) in pixels; the first is the
    one that the configuration names as Core-SLM."""
    axes: str = "xyz"
    """Those that can be moved."""


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """Shape and depth of the frames that the camera would give now."""

    height: int
    width: int
    dtype: str
    """``uint8`` or ``uint16``."""
    bit_depth: int
    pixel_size_um: float
    """0 means uncalibrated."""


@dataclass(frozen=True, slots=True)
class RigState:
    """Where and how a rig would image now."""

    x_um: float
    y_um: float
    z_um: float
    exposure_ms: float
    channel: str = ""
    """Preset of the channel group; empty where there is none."""
    presets: dict[str, str] = field(default_factory=dict)
    """Configuration group that was asked for -> its preset; empty text when it is in none."""
    properties: dict[tuple[str, str], str] = field(default_factory=dict)
    """Device and property that were asked for -> value."""


@dataclass(frozen=True, slots=True)
class StageLimits:
    """Where the stage and focus may go, µm; None means that no limit is set on that side."""

    x_um: tuple[float, float] | None = None
    y_um: tuple[float, float] | None = None
    z_um: tuple[float, float] | None = None
    max_exposure_ms: float | None = None


class Rig(Protocol):
    """A microscope. Hold it in a ``with`` block; outside one every call raises ``RigError``.

    Exactly one thread calls it. Each method that can block has a timeout of its own and raises
    ``CameraTimeout`` or ``RigError`` rather than hang.
    """

    def __enter__(self) -> Self:
        """Open the hardware; raises ``SettingsError`` or ``RigError`` with one clear sentence."""

    def __exit__(self, *exc: object) -> None:
        """Stop the camera, close the shutter, release the hardware. Safe to call twice."""

    @property
    def info(self) -> RigInfo:
        """What this rig is made of."""

    def image_format(self) -> ImageFormat:
        """Shape, dtype and pixel size that the next frame will have."""

    def read_state(
        self, groups: Sequence[str] = (), properties: Sequence[tuple[str, str]] = ()
    ) -> RigState:
        """Where and how it would image now, with the presets and properties that are named.

        Raises ``RigError`` for a group, device or property that does not exist.
        """

    def apply(self, event: useq.MDAEvent) -> None:
        """Move stage and focus, set preset, exposure, properties and ROI as the event asks.

        Blocks until the devices are ready. What the event leaves out stays as it is. Raises
        ``RigError`` naming the preset, device or property that was refused. A preset of another
        group than the channel group leaves the frames' channel as it is. An SLM image is shown for
        its exposure, then the modulator is dark again.
        """

    def snap(self, timeout_s: float = 10.0) -> Frame:
        """Expose one frame and return it (mode *snap*)."""

    def start_sequence(self, count: int | None, interval_ms: float = 0.0) -> None:
        """Start a hardware sequence of ``count`` frames (None: until stopped); every frame is kept.

        ``interval_ms`` 0 runs as fast as exposure and read-out allow.
        """

    def sequence_room(self) -> int:
        """How many frames of the present format fit the camera's own buffer, at least 1.

        A sequence of no more frames cannot overflow, however slowly it is read.
        """

    def start_live(self) -> None:
        """Start continuous imaging of which only the newest frame matters (mode *live*)."""

    def read(self, timeout_s: float) -> Frame:
        """Next unread frame of the running sequence, oldest first.

        Raises ``CameraTimeout`` after ``timeout_s``, ``FramesLost`` when the camera's buffer
        overflowed.
        """

    def latest(self, timeout_s: float) -> Frame:
        """Newest frame of live mode that was not returned before; older ones are passed over.

        ``seq`` jumps by the number of frames passed over.
        """

    def stop(self) -> None:
        """End a running sequence or live mode and close the shutter. Safe to call when idle."""


class HasTruth(Protocol):
    """A rig that knows what is really in the sample; read by scoring and tests, never by models."""

    def divisions(self) -> list[TrueDivision]:
        """Every division that fell inside a captured frame's field of view, in time order."""


@dataclass(frozen=True, slots=True)
class TrueDivision:
    """One real division of the simulated sample, as the camera could have seen it."""

    seq: int
    """The first captured frame in which the two daughters exist."""
    captured_ns: int
    x_um: float
    """Stage position where it happened."""
    y_um: float
    parent: int
    daughters: tuple[int, int]
    mother_seq: int | None = None
    """The last captured frame with the mother's centre in it; -1 where there was none, None where
    the rig does not know."""
    margin_px: float | None = None
    """Least distance from the border of the image, of the mother in frame ``mother_seq`` and of
    both daughters in frame ``seq``; negative where one was outside, None where not known."""
