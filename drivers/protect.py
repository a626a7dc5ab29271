"""The single gate to a microscope: every event, exposure and sequence passes it or is refused."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Self

import useq

from drivers.devices import Devices
from drivers.errors import LightSpent, ProtectionError, RigError
from drivers.frame import Frame
from drivers.light import Light, LightMeter, LitSequence
from drivers.limits import LimitSettings
from drivers.protect_checks import Present, after, objective_first, ready_to_expose
from drivers.rig import ImageFormat, Rig, RigInfo, RigState

_ONLY_CHANNEL: dict[str, None] = dict.fromkeys(
    ("x_pos", "y_pos", "z_pos", "exposure", "properties", "roi", "slm_image")
)


class ProtectedRig:
    """A `Rig` whose limits and light budget bind whoever calls it.

    What is refused raises ``ProtectionError`` before anything moves or light goes on. Limits that a
    driver checks itself stay; this gate adds those that need to know how the microscope stands.
    Exactly one thread calls it; `objection` alone may be called from others.

    Parameters
    ----------
    rig
        The microscope itself.
    limits
        None: only what is never right (NaN, an exposure of nothing) is refused.
    light
        Counts the light of a live camera; recorded data need none.
    on_refused, exposure_in_sequence
        Called with the sentence of each refusal; whether `retime` may do anything.
    """

    def __init__(
        self,
        rig: Rig,
        limits: LimitSettings | None = None,
        light: LightMeter | None = None,
        on_refused: Callable[[str], None] | None = None,
        *,
        exposure_in_sequence: bool = False,
    ) -> None:
        self._rig = rig
        self._retimes = exposure_in_sequence
        self._allowed_ms = 0.0
        self._limits = limits or LimitSettings()
        self._light = light
        self._on_refused = on_refused
        self._devices: Devices | None = None
        self._now = Present()
        self._field = (0, 0, 0.0)
        self._group = ""
        self._open: LitSequence | None = None

    @property
    def rig(self) -> Rig:
        """The microscope itself, for what is no imaging, such as the truth of a simulation."""
        return self._rig

    def __enter__(self) -> Self:
        """Open the hardware and ask how it stands."""
        self._rig.__enter__()
        try:
            self._begin()
        except BaseException:
            self._rig.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop the camera, close the shutter, release the hardware. Safe to call twice."""
        try:
            self._settle()
        finally:
            self._devices = None
            self._rig.__exit__(*exc)

    @property
    def info(self) -> RigInfo:
        """What this rig is made of."""
        return self._rig.info

    @property
    def present(self) -> Present:
        """How the microscope stands, as far as it is known."""
        return self._now

    @property
    def devices(self) -> Devices | None:
        """What is known of stages, shutters and presets; None for a rig without a core."""
        return self._devices

    def image_format(self) -> ImageFormat:
        """Shape, dtype and pixel size that the next frame will have."""
        return self._rig.image_format()

    def objection(self, events: Sequence[useq.MDAEvent]) -> str | None:
        """Why a block of events would be refused if it ran now, or None. Any thread may ask.

        Parameters
        ----------
        events
            In order; each takes one frame. Their light is added up and held against the budget.
        """
        now = self._now
        wanted: list[tuple[Light, int]] = []
        try:
            for event in events:
                now = after(event, now, self._limits, self._devices, self._group)
                light = self._light_of(now)
                if isinstance(event.action, useq.CustomAction):
                    continue  # a move: no frame is taken
                ready_to_expose(now, 1, self._limits)
                if wanted and wanted[-1][0] == light:
                    wanted[-1] = (light, wanted[-1][1] + 1)
                else:
                    wanted.append((light, 1))
        except RigError as error:
            return str(error)
        return None if self._light is None else self._light.objection(wanted)

    def read_state(
        self, groups: Sequence[str] = (), properties: Sequence[tuple[str, str]] = ()
    ) -> RigState:
        """Where and how it would image now; see ``Rig.read_state``."""
        return self._rig.read_state(groups, properties)

    def apply(self, event: useq.MDAEvent) -> None:
        """Move, set and wait as ``event`` asks, or raise ``ProtectionError`` before anything."""
        self._look()
        with self._refusals():
            then = after(event, self._now, self._limits, self._devices, self._group)
            shown = event.slm_image is not None and self._light is not None
            if shown:
                self._begin_pattern(event, then)
        try:
            if objective_first(event, self._now, self._limits):
                self._rig.apply(event.model_copy(update=_ONLY_CHANNEL))
            self._rig.apply(event)
        except BaseException:
            with contextlib.suppress(RigError):  # the first error tells more
                self._now = self._asked_anew()
            raise
        finally:
            if shown:
                self._end(1)
        self._now = then
        self._look()

    def snap(self, timeout_s: float = 10.0) -> Frame:
        """Expose one frame and return it, if limits and light budget allow."""
        if self._open is not None:
            return self._rig.snap(timeout_s)  # which says that it is busy
        self._allow(1)
        try:
            frame = self._rig.snap(timeout_s)
        except BaseException:
            self._end(1)  # whether light fell is not known, so it counts
            raise
        self._end(1, frame.meta.seq)
        self._saw(frame)
        return frame

    def start_sequence(self, count: int | None, interval_ms: float = 0.0) -> None:
        """Start a hardware sequence, if limits and light budget allow all of it.

        Without a ``count`` it ends by itself where the light budget does.
        """
        if self._open is not None:
            self._rig.start_sequence(count, interval_ms)  # which says that it is busy
            return
        if not math.isfinite(interval_ms):
            raise self._refused(ProtectionError(f"a sequence needs an interval, got {interval_ms}"))
        if count is None and self._light is not None:
            self._look()
            count = self._light.room(self._light_of(self._now, interval_ms))
            if count == 0:
                self._allow(1, interval_ms)
        self._allow(count, interval_ms)
        self._allowed_ms = self._now.exposure_ms
        try:
            self._rig.start_sequence(count, interval_ms)
        except BaseException:
            self._end(0)
            raise
        self._open = LitSequence(count, max(self._now.exposure_ms, interval_ms) / 1e3)

    def retime(self, exposure_ms: float) -> bool:
        """Expose the running sequence anew, no longer than its light allows; False: end it."""
        expose = getattr(getattr(self._rig, "state", None), "expose", None)
        expose = expose if self._retimes else None
        if expose is None or self._open is None or not 0 < exposure_ms <= self._allowed_ms:
            return False
        expose(exposure_ms)
        self._open.shortened(exposure_ms / 1e3)
        return True

    def sequence_room(self) -> int:
        """How many frames fit the camera's buffer, the limits and the light budget; at least 1."""
        room = self._rig.sequence_room()
        self._look()  # the last frame may be of an exposure before the present one
        exposure_s = self._now.exposure_ms / 1e3
        if self._limits.max_sequence_s is not None and exposure_s > 0:
            room = min(room, int(self._limits.max_sequence_s / exposure_s))
        if self._light is not None:
            left = self._light.room(self._light_of(self._now))
            room = room if left is None else min(room, left)
        return max(1, room)

    def start_live(self) -> None:
        """Start continuous imaging; refused where a light budget is set, for it has no end."""
        if self._open is not None:
            self._rig.start_live()
            return
        self._look()
        if self._light is not None and self._light.room(self._light_of(self._now)) is not None:
            raise self._refused(
                LightSpent(
                    "live mode has no end, and a light budget is set (light.cap_...); take "
                    "single frames or a sequence of so many"
                )
            )
        self._allow(None)
        try:
            self._rig.start_live()
        except BaseException:
            self._end(0)
            raise
        self._open = LitSequence(None, self._now.exposure_ms / 1e3)

    def read(self, timeout_s: float) -> Frame:
        """Next unread frame of the running sequence, oldest first; see ``Rig.read``."""
        return self._noted(self._rig.read(timeout_s))

    def latest(self, timeout_s: float) -> Frame:
        """Newest frame of live mode that was not returned before; see ``Rig.latest``."""
        return self._noted(self._rig.latest(timeout_s))

    def stop(self) -> None:
        """End a running sequence or live mode and close the shutter. Safe to call when idle."""
        try:
            self._rig.stop()
        finally:
            self._settle()

    def darken(self) -> tuple[str, ...]:
        """Stop, and close every shutter there is; those that stayed open all the same.

        Raises ``RigError`` when camera or shutters do not answer.
        """
        self.stop()
        try:
            return () if self._devices is None else self._devices.darken()
        except Exception as error:
            raise RigError(f"a shutter did not close: {error}") from error

    # --- what is known ------------------------------------------------------------------------

    def _begin(self) -> None:
        self._rig.stop()  # whoever was here before may have left the light on
        core = getattr(self._rig, "core", None)
        self._devices = None if core is None else Devices(core)
        self._group = self._rig.info.channel_group
        if self._rig.info.frame_count is not None:
            self._light = None  # recorded data: no light falls
        self._open = None
        image = self._rig.image_format()
        self._field = (image.width, image.height, image.pixel_size_um)
        self._now = self._asked_anew()

    def _asked_anew(self) -> Present:
        """How the microscope says that it stands; what it cannot say stays as it was."""
        devices, group = self._devices, self._limits.objective_group
        if devices is None:
            known = (group,) if group in self._rig.info.presets else ()
            state = self._rig.read_state(known)
            return replace(
                self._now,
                x_um=state.x_um,
                y_um=state.y_um,
                z_um=state.z_um,
                exposure_ms=state.exposure_ms,
                objective=state.presets.get(group) or None,
                preset=state.channel,
            )
        x, y, z = devices.place()
        return replace(
            self._now,
            x_um=x,
            y_um=y,
            z_um=z,
            exposure_ms=devices.exposure_ms(),
            objective=devices.current(group),
            preset=devices.current(self._group) or self._now.preset,
        )

    def _look(self) -> None:
        """Take the exposure from the camera: a preset or its own panel may have changed it."""
        if self._devices is not None and self._open is None:
            self._now = replace(self._now, exposure_ms=self._devices.exposure_ms())

    def _saw(self, frame: Frame) -> None:
        meta, now = frame.meta, self._now
        found = (meta.x_um, meta.y_um, meta.z_um, meta.exposure_ms)
        same = found == (now.x_um, now.y_um, now.z_um, now.exposure_ms)
        if not same and self._rig.info.frame_count is None:
            x_um, y_um, z_um, ms = found
            self._now = replace(now, x_um=x_um, y_um=y_um, z_um=z_um, exposure_ms=ms)

    def _light_of(self, now: Present, interval_ms: float = 0.0) -> Light:
        image = self._rig.image_format()
        width, height, at_first = self._field
        scales = [s for s in (image.pixel_size_um, at_first) if s > 0]
        # Pixel size and image size change together with binning and apart with ROI and objective.
        least = min(scales, default=0.0)
        return Light(
            x_um=now.x_um or 0.0,
            y_um=now.y_um or 0.0,
            width_um=max(width * least, image.width * image.pixel_size_um),
            height_um=max(height * least, image.height * image.pixel_size_um),
            preset=now.preset,
            exposure_s=now.exposure_ms / 1e3,
            period_s=interval_ms / 1e3,
            properties=now.properties,
        )

    # --- light --------------------------------------------------------------------------------

    def _allow(self, frames: int | None, interval_ms: float = 0.0) -> None:
        self._look()
        with self._refusals():
            ready_to_expose(self._now, frames, self._limits)
            if self._light is not None:
                self._light.begin(self._light_of(self._now, interval_ms), frames or 1)

    def _begin_pattern(self, event: useq.MDAEvent, then: Present) -> None:
        """Set aside the light of an SLM; its power stands in the table under its label."""
        pattern = event.slm_image
        if pattern is None or self._light is None:
            return
        exposure_ms = then.exposure_ms if pattern.exposure is None else pattern.exposure
        light = replace(
            self._light_of(then),
            preset=pattern.device or "SLM",
            exposure_s=exposure_ms / 1e3,
        )
        self._light.begin(light, 1)

    def _noted(self, frame: Frame) -> Frame:
        if self._open is not None:
            self._open.read += 1
            self._open.last_seq = frame.meta.seq
        self._saw(frame)
        return frame

    def _settle(self) -> None:
        """Count what a sequence exposed that has ended."""
        sequence, self._open = self._open, None
        if sequence is not None:
            self._end(sequence.exposed(), sequence.last_seq)

    def _end(self, frames: float, last_seq: int = -1) -> None:
        if self._light is not None:
            self._light.end(frames, last_seq)

    def _refusals(self) -> _Refusals:
        return _Refusals(self._on_refused)

    def _refused(self, error: ProtectionError) -> ProtectionError:
        if self._on_refused is not None:
            self._on_refused(str(error))
        return error


class _Refusals:
    """Tells of a refusal that leaves its block."""

    def __init__(self, on_refused: Callable[[str], None] | None) -> None:
        self._on_refused = on_refused

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, ProtectionError) and self._on_refused is not None:
            self._on_refused(str(error))
