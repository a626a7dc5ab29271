"""What a core was told and what it said last, so that a frame's metadata asks no hardware.

The rig is the only one who moves the hardware while it runs; a stage moved by hand is noticed at
the next event that moves the stage.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import useq

from drivers.errors import RigError
from drivers.mmcore_names import names, set_preset, set_property, unknown
from drivers.mmcore_slm import stimulate
from drivers.rig import ImageFormat, RigState, StageLimits

_DTYPES = {1: "uint8", 2: "uint16"}
MOST_CHANGES = 64
"""Changes of exposure remembered while a sequence runs; frames that wait need the last few."""


class CoreState:
    """State of one open core; `apply` changes it, attributes tell it.

    Parameters
    ----------
    core
        An open, configured core with a camera.
    limits
        Checked before anything moves.
    """

    def __init__(self, core: Any, limits: StageLimits) -> None:
        self._core = core
        self._limits = limits
        self.camera = str(core.getCameraDevice())
        self.xy_stage = str(core.getXYStageDevice())
        self.focus = str(core.getFocusDevice())
        self.epoch = 0
        self.x_um = self.y_um = self.z_um = 0.0
        self.index: dict[str, int] = {}
        self.pos_name = ""
        self.decision = -1
        self._asked_xy: tuple[float, float] | None = None
        self._asked_z: float | None = None
        self._asked_exposure_ms: float | None = None
        self._asked_roi: tuple[int, int, int, int] | None = None
        self._asked_presets: dict[str, str] = {}
        self._group = group = str(core.getChannelGroup())
        self.channel = str(core.getCurrentConfig(group)) if group else ""
        self.exposure_ms = float(core.getExposure())
        self._exposed: deque[tuple[int, float]] = deque(maxlen=MOST_CHANGES)
        self.format = self._read_format()
        self._read_xy()
        self._read_z()

    def apply(self, event: useq.MDAEvent, running: bool) -> None:
        """Send what ``event`` changes and wait until those devices are ready.

        ``running``: a sequence is going on, so the camera's own settings are refused.
        """
        self._check(event, running)
        moved: list[str] = []
        if event.x_pos is not None or event.y_pos is not None:
            self._move_xy(event, moved)
        if event.z_pos is not None and event.z_pos != self._asked_z:
            self._send(f"z = {event.z_pos} µm", self._core.setPosition, event.z_pos)
            self._asked_z = event.z_pos
            moved.append(self.focus)
        changed = self._set_channel(event) | self._set_properties(event, moved)
        if event.exposure is not None and event.exposure != self._asked_exposure_ms:
            self._send(f"exposure {event.exposure} ms", self._core.setExposure, event.exposure)
            self._asked_exposure_ms = event.exposure
            self.exposure_ms = float(self._core.getExposure())
        if event.roi is not None:
            changed |= self._set_roi(event.roi)
        for device in dict.fromkeys(moved):
            self._send(f"wait for {device!r}", self._core.waitForDevice, device)
        if self.xy_stage in moved:
            self._read_xy()
        if self.focus in moved:
            self._read_z()
        if changed:
            self.refresh()
        if event.slm_image is not None:
            stimulate(self._core, event.slm_image)
        self.index = dict(event.index)
        self.pos_name = event.pos_name or ""
        ours = event.metadata.get("parfocal")
        self.decision = int(ours.get("decision", -1)) if isinstance(ours, dict) else -1

    def read(self, groups: Sequence[str], properties: Sequence[tuple[str, str]]) -> RigState:
        """Snapshot of the state, with presets and properties that are read from the core."""
        core = self._core
        known = names(core.getAvailableConfigGroups())
        for group in groups:
            if group not in known:
                raise RigError(unknown("configuration group", group, known))
        devices = names(core.getLoadedDevices()) if properties else ()
        values: dict[tuple[str, str], str] = {}
        for device, name in properties:
            if device not in devices:
                raise RigError(unknown("device", device, devices))
            if not core.hasProperty(device, name):
                real = names(core.getDevicePropertyNames(device))
                raise RigError(unknown(f"property of {device!r}", name, real))
            values[device, name] = str(core.getProperty(device, name))
        return RigState(
            self.x_um,
            self.y_um,
            self.z_um,
            self.exposure_ms,
            self.channel,
            {group: str(core.getCurrentConfig(group)) for group in groups},
            values,
        )

    def refresh(self) -> None:
        """Read exposure and image format again; a new shape, dtype or depth is a new epoch."""
        self.exposure_ms = float(self._core.getExposure())
        if self._asked_exposure_ms is not None and self.exposure_ms != self._asked_exposure_ms:
            self._asked_exposure_ms = None  # a preset may have overwritten what the event asked
        old, new = self.format, self._read_format()
        if (old.height, old.width, old.dtype, old.bit_depth) != (
            new.height,
            new.width,
            new.dtype,
            new.bit_depth,
        ):
            self.epoch += 1
        self.format = new

    def _check(self, event: useq.MDAEvent, running: bool) -> None:
        for name, value, limit, device in (
            ("x", event.x_pos, self._limits.x_um, self.xy_stage),
            ("y", event.y_pos, self._limits.y_um, self.xy_stage),
            ("z", event.z_pos, self._limits.z_um, self.focus),
        ):
            if value is None:
                continue
            if not device:
                raise RigError(f"event moves {name} to {value} µm, but this rig has no such stage")
            if limit is not None and not limit[0] <= value <= limit[1]:
                raise RigError(
                    f"event moves {name} to {value} µm, outside the limit {name}_um = "
                    f"{limit[0]} to {limit[1]}; nothing was moved"
                )
        longest = self._limits.max_exposure_ms
        if event.exposure is not None and longest is not None and event.exposure > longest:
            raise RigError(
                f"event asks for an exposure of {event.exposure} ms, over the limit "
                f"max_exposure_ms = {longest}; nothing was changed"
            )
        if running and self._camera_change(event):
            raise RigError(
                "event changes exposure, ROI or a camera property while a sequence runs; stop first"
            )

    def expose(self, exposure_ms: float) -> None:
        """Set the exposure, also while a sequence runs: for cameras that are known to allow it."""
        self._check(useq.MDAEvent(exposure=exposure_ms), running=False)
        if exposure_ms != self._asked_exposure_ms:
            self._send(f"exposure {exposure_ms} ms", self._core.setExposure, exposure_ms)
            self._exposed.append((time.monotonic_ns(), self.exposure_ms))
            self._asked_exposure_ms = exposure_ms
            self.exposure_ms = float(self._core.getExposure())

    def begin_sequence(self) -> None:
        """A sequence is about to start: what was changed before is true of all its frames."""
        self._exposed.clear()

    def exposed_ms(self, began_ns: int) -> float:
        """Exposure of a frame of the sequence whose exposure began at this monotonic time.

        A camera that is told of another exposure takes it for the frame after the one that it is
        exposing, and frames that wait in its buffer were exposed before.
        """
        for changed_ns, before_ms in self._exposed:
            if began_ns < changed_ns:
                return before_ms
        return self.exposure_ms

    def _camera_change(self, event: useq.MDAEvent) -> bool:
        exposure = event.exposure is not None and event.exposure not in (
            self._asked_exposure_ms,
            self.exposure_ms,
        )
        roi = event.roi is not None and _box(event.roi) != self._asked_roi
        return exposure or roi or any(p[0] == self.camera for p in event.properties or ())

    def _move_xy(self, event: useq.MDAEvent, moved: list[str]) -> None:
        x = self.x_um if event.x_pos is None else event.x_pos
        y = self.y_um if event.y_pos is None else event.y_pos
        if (x, y) != self._asked_xy:
            self._send(f"x, y = {x}, {y} µm", self._core.setXYPosition, x, y)
            self._asked_xy = (x, y)
            moved.append(self.xy_stage)

    def _set_channel(self, event: useq.MDAEvent) -> bool:
        if event.channel is None:
            return False
        group, preset = event.channel.group, event.channel.config
        if self._asked_presets.get(group) == preset:
            return False
        set_preset(self._core, group, preset)
        self._send(f"preset {preset!r}", self._core.waitForConfig, group, preset)
        # Two groups may set the same property, so what another group was told counts no more.
        self._asked_presets = {group: preset}
        if group == self._group or not self._group:
            self.channel = preset
        return True

    def _set_properties(self, event: useq.MDAEvent, moved: list[str]) -> bool:
        sent = [p[0] for p in event.properties or () if set_property(self._core, *p)]
        moved += sent
        if sent:
            # A property may undo part of a preset, and binning an ROI: the next event that names
            # one sends it again.
            self._asked_presets, self._asked_roi = {}, None
        return bool(sent)

    def _set_roi(self, roi: useq.CameraROI) -> bool:
        box = _box(roi)
        if box == self._asked_roi:
            return False
        self._send(f"ROI x, y, width, height = {box}", self._core.setROI, *box)
        self._asked_roi = box
        return True

    def _send(self, what: str, function: Any, *args: object) -> None:
        try:
            function(*args)
        except Exception as error:
            raise RigError(f"{what}: the hardware refused: {error}") from error

    def _read_xy(self) -> None:
        if self.xy_stage:
            self.x_um = float(self._core.getXPosition())
            self.y_um = float(self._core.getYPosition())

    def _read_z(self) -> None:
        if self.focus:
            self.z_um = float(self._core.getPosition())

    def _read_format(self) -> ImageFormat:
        core = self._core
        per_pixel, parts = int(core.getBytesPerPixel()), int(core.getNumberOfComponents())
        if per_pixel not in _DTYPES or parts != 1:
            kind = "colour" if parts != 1 else f"{8 * per_pixel}-bit"
            raise RigError(
                f"camera {self.camera!r} gives {kind} images ({per_pixel} bytes a pixel, {parts} "
                "components), need 8 or 16 bit grey; set its PixelType"
            )
        return ImageFormat(
            height=int(core.getImageHeight()),
            width=int(core.getImageWidth()),
            dtype=_DTYPES[per_pixel],
            bit_depth=int(core.getImageBitDepth()),
            pixel_size_um=float(core.getPixelSizeUm()),
        )


def _box(roi: useq.CameraROI) -> tuple[int, int, int, int]:
    return roi.offset_x, roi.offset_y, roi.width, roi.height
