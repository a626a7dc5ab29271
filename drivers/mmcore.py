"""A rig over any Micro-Manager core: CMMCorePlus, UniMMCore, or pycro-manager's.

Snap blocks in ``snapImage``; *sequence* pops every frame, oldest first, and an overflow of the
core's buffer is an error; *live* copies the newest frame and counts what it passed over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import useq

from drivers.errors import CameraTimeout, FramesLost, RigError, ScopeError, SettingsError
from drivers.frame import Frame, FrameMeta
from drivers.mmcore_close import CameraEnd, release_core
from drivers.mmcore_images import DirectImages, Images, Shot
from drivers.mmcore_names import names
from drivers.mmcore_naps import Naps
from drivers.mmcore_slm import slms_of
from drivers.mmcore_state import CoreState
from drivers.patience import Patience, TookTooLong
from drivers.rig import ImageFormat, RigInfo, RigState, StageLimits

__all__ = ["CoreRig", "release_core"]

_START_NS = 5_000_000  # the DemoCamera's thread starts its clock about 2.5 ms after the call
_FOREVER = 2**31 - 1  # MMCore counts in a C long, which has 32 bits on Windows


@dataclass(slots=True)
class _Run:
    """A sequence or live imaging that is going on."""

    live: bool
    count: int | None
    first_seq: int
    start_ns: int
    """Monotonic time of the core's zero of elapsed time, at the latest."""
    number: int = -1
    """The core's number of the last frame that was read."""
    waiting: int = 0
    """Frames in the core's buffer when live imaging last looked."""
    looked_s: float = 0.0
    last_ns: int = 0
    held: Frame | None = None
    naps: Naps = field(default_factory=Naps)


class CoreRig:
    """A ``Rig`` over a CMMCore-like object.

    Nothing is opened before the ``with`` block. The rig can be opened again after it was closed;
    then frames count from 0 again.

    Parameters
    ----------
    open_core
        Gives a core with its configuration loaded; called on entering. What it raises that is not
        a ``ScopeError`` becomes a ``RigError``.
    name, config, adapters, software, notes
        Go into `info`.
    limits
        Checked before anything moves.
    camera_buffer_mb
        Size of the core's sequence buffer, which MMCore takes and clears at once (about 0.8 ms for
        each MB, again whenever the image size changed); None leaves what the core has.
    ready_timeout_s
        How long devices may take to become ready.
    close_core
        Releases the core; called once on leaving, also when opening failed half-way.
    images
        How pixels leave the core.
    """

    def __init__(
        self,
        open_core: Callable[[], Any],
        *,
        name: str,
        config: str = "",
        adapters: str = "",
        software: str = "",
        notes: tuple[str, ...] = (),
        limits: StageLimits | None = None,
        camera_buffer_mb: int | None = 512,
        ready_timeout_s: float = 10.0,
        close_core: Callable[[Any], None] = release_core,
        images: Images | None = None,
    ) -> None:
        self._open_core = open_core
        self._close_core = close_core
        self._name, self._config, self._adapters = name, config, adapters
        self._software, self._notes = software, notes
        self._limits = limits or StageLimits()
        self._buffer_mb = camera_buffer_mb
        self._ready_timeout_s = ready_timeout_s
        self._images: Images = images or DirectImages()
        self._patience = Patience(f"{name} camera")
        self._end = CameraEnd()
        self._core: Any = None
        self._state: CoreState | None = None
        self._info: RigInfo | None = None
        self._run: _Run | None = None
        self._seq = 0

    def __enter__(self) -> Self:
        """Open the core and read its state."""
        if self._core is not None:
            raise RigError(f"the {self._name} rig is open already; leave its block first")
        try:
            self._core = self._open_core()
            self._begin()
        except BaseException as error:
            self.__exit__()
            if isinstance(error, ScopeError) or not isinstance(error, Exception):
                raise
            raise RigError(f"the {self._name} rig did not open: {error}") from error
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop the camera, close every shutter, release the hardware. Safe to call twice."""
        if (core := self._core) is None:
            return
        if not self._patience.close(self._ready_timeout_s):
            self._core = self._state = self._run = None
            raise RigError(
                f"the camera still hangs in its driver after {self._ready_timeout_s:g} s, so it "
                "could not be released and the light may be on: switch it off by hand"
            )
        try:
            self.stop()
        finally:
            self._core = self._state = self._run = None
            self._end.wait()
            self._close_core(core)

    @property
    def core(self) -> Any:
        """The open core; raises ``RigError`` outside the ``with`` block."""
        if self._core is None:
            raise RigError(f"the {self._name} rig is not open; use it inside a with block")
        return self._core

    @property
    def info(self) -> RigInfo:
        """What this rig is made of."""
        _ = self.core
        assert self._info is not None
        return self._info

    @property
    def state(self) -> CoreState:
        """What the hardware was last told and said."""
        _ = self.core
        assert self._state is not None
        return self._state

    def image_format(self) -> ImageFormat:
        """Shape, dtype and pixel size that the next frame will have."""
        return self.state.format

    def read_state(
        self, groups: Sequence[str] = (), properties: Sequence[tuple[str, str]] = ()
    ) -> RigState:
        """Where and how it would image now; see ``Rig.read_state``."""
        return self.state.read(groups, properties)

    def apply(self, event: useq.MDAEvent) -> None:
        """Move, set and wait as ``event`` asks; see ``Rig.apply``."""
        self.state.apply(event, running=self._run is not None)

    def snap(self, timeout_s: float = 10.0) -> Frame:
        """Expose one frame and return it; ``CameraTimeout`` after ``timeout_s`` seconds."""
        core = self.core
        self._need_idle("snap")
        late = self._patience.late
        try:
            shot = self._patience.call(lambda: self._images.snap(core), timeout_s)
        except TookTooLong:
            raise CameraTimeout(
                f"no image within {timeout_s:g} s at an exposure of {self.state.exposure_ms:g} ms; "
                "check the camera or allow more time"
            ) from None
        except Exception as error:
            raise RigError(f"the camera did not give an image: {error}") from error
        # Each image that came too late for its caller is a gap in the count.
        self._seq += self._patience.late - late
        frame = self._frame(shot, self._seq, shot.captured_ns, self.state.exposure_ms)
        self._seq += 1
        return frame

    def start_sequence(self, count: int | None, interval_ms: float = 0.0) -> None:
        """Start a hardware sequence of which every frame is kept; see ``Rig.start_sequence``.

        Some cameras ignore the interval; MMCore does not tell which.
        """
        if count is not None and not 1 <= count <= _FOREVER:
            raise RigError(f"a sequence needs 1 to {_FOREVER} frames, got {count}")
        self._need_idle("start a sequence")
        core = self.core
        self._start(lambda: core.startSequenceAcquisition(count or _FOREVER, interval_ms, True))
        self._run = _Run(False, count, self._seq, time.monotonic_ns() + _START_NS)

    def sequence_room(self) -> int:
        """How many frames fit the core's buffer; see ``Rig.sequence_room``."""
        image = self.image_format()
        frame = image.height * image.width * (2 if image.dtype == "uint16" else 1)
        # The core aligns frames and keeps their metadata beside them: a tenth to spare.
        room = int(self.core.getCircularBufferMemoryFootprint()) * 2**20
        return max(1, int(0.9 * room / frame))

    def start_live(self) -> None:
        """Start continuous imaging of which only the newest frame matters."""
        self._need_idle("start live mode")
        core = self.core
        self._start(lambda: core.startContinuousSequenceAcquisition(0))
        self._run = _Run(True, None, self._seq, time.monotonic_ns() + _START_NS)

    def read(self, timeout_s: float) -> Frame:
        """Next unread frame of the running sequence, oldest first; see ``Rig.read``."""
        run = self._running(live=False)
        if run.held is not None:
            frame, run.held = run.held, None
            return frame
        if run.count is not None and run.number + 1 >= run.count:
            raise RigError(f"all {run.count} frames of the sequence were read; call stop()")
        self._wait(run, time.monotonic() + timeout_s, timeout_s, self.core.getRemainingImageCount)
        shot = self._fetch(self._images.pop)
        expected = run.number + 1
        frame = self._sequence_frame(run, shot)
        if run.number != expected:
            run.held = frame
            raise FramesLost(
                f"the camera counted frame {run.number} after {expected - 1}: "
                f"{run.number - expected} frames were lost"
            )
        return frame

    def latest(self, timeout_s: float) -> Frame:
        """Newest frame of live mode that was not returned before; see ``Rig.latest``."""
        run = self._running(live=True)
        deadline = time.monotonic() + timeout_s
        while True:
            self._wait(run, deadline, timeout_s, self._maybe_new)
            run.waiting = int(self.core.getRemainingImageCount())
            run.looked_s = time.monotonic()
            shot = self._fetch(self._images.last)
            if shot.number < 0 or shot.number > run.number:
                return self._sequence_frame(run, shot)

    def stop(self) -> None:
        """End a running sequence or live mode and close the shutter. Safe to call when idle."""
        core = self.core
        try:
            self._end.stop(core, started=self._run is not None)
            if self._run is not None and not self._run.live:
                # Frames that nobody read are lost now, and the count shows it.
                self._seq += int(core.getRemainingImageCount())
            if core.getShutterDevice() and core.getShutterOpen():
                core.setShutterOpen(False)
        except Exception as error:
            raise RigError(f"the camera or shutter did not stop: {error}") from error
        finally:
            self._run = None

    def _begin(self) -> None:
        core = self._core
        self._seq, self._run = 0, None
        if core.isSequenceRunning():
            raise RigError("the camera is imaging already; end live mode in Micro-Manager first")
        core.setTimeoutMs(int(self._ready_timeout_s * 1000))
        if self._buffer_mb is not None:
            core.setCircularBufferMemoryFootprint(self._buffer_mb)
        camera = str(core.getCameraDevice())
        if not camera:
            raise SettingsError(
                f"{self._config or 'the configuration'} names no camera; add a line "
                "'Property,Core,Camera,<label>'"
            )
        if (channels := int(core.getNumberOfCameraChannels())) > 1:
            raise SettingsError(
                f"camera {camera!r} gives {channels} images at once, need one; choose one of its "
                "physical cameras as Core-Camera"
            )
        self._state = CoreState(core, self._limits)
        notes = self._notes
        if self._state.format.pixel_size_um == 0:
            notes += ("no pixel size is calibrated: positions inside the image stay in pixels",)
        groups = names(core.getAvailableConfigGroups())
        self._info = RigInfo(
            name=self._name,
            camera=f"{camera} ({core.getDeviceLibrary(camera)} {core.getDeviceName(camera)})",
            channel_group=str(core.getChannelGroup()),
            presets={group: names(core.getAvailableConfigs(group)) for group in groups},
            config=self._config,
            adapters=self._adapters,
            software=self._software,
            notes=notes,
            slms=slms_of(core),
            axes=("xy" if self._state.xy_stage else "") + ("z" if self._state.focus else ""),
        )
        self._patience.open()

    def _need_idle(self, what: str) -> None:
        if self._run is not None:
            mode = "live mode" if self._run.live else "a sequence"
            raise RigError(f"cannot {what} while {mode} is running; call stop() first")

    def _running(self, live: bool) -> _Run:
        _ = self.core
        if self._run is None or self._run.live != live:
            mode, start = ("live mode", "start_live") if live else ("sequence", "start_sequence")
            raise RigError(f"no {mode} is running; call {start}() first")
        return self._run

    def _start(self, start: Callable[[], None]) -> None:
        self.state.begin_sequence()
        try:
            start()
        except Exception as error:
            raise RigError(f"the camera did not start: {error}") from error

    def _fetch(self, way: Callable[[Any], Shot]) -> Shot:
        try:
            return way(self.core)
        except Exception as error:
            raise RigError(f"the camera's image could not be fetched: {error}") from error

    def _maybe_new(self) -> bool:
        """Whether live mode may have a frame that was not returned yet; never wrongly False twice.

        The number of buffered frames tells without a copy, save when it stands still because the
        buffer is full: then one look per exposure.
        """
        run = self._run
        assert run is not None
        waiting = int(self.core.getRemainingImageCount())
        if waiting == run.waiting and waiting:
            return time.monotonic() - run.looked_s > self.state.exposure_ms / 1e3
        return bool(waiting)

    def _wait(
        self, run: _Run, deadline: float, timeout_s: float, ready: Callable[[], object]
    ) -> None:
        core, exposure_ms = self.core, self.state.exposure_ms
        while not ready():
            if not core.isSequenceRunning() and not ready():
                if core.isBufferOverflowed():
                    raise FramesLost(
                        f"the camera's buffer of {core.getCircularBufferMemoryFootprint()} MB "
                        "overflowed; read faster, image slower or raise camera_buffer_mb"
                    )
                raise RigError("the camera stopped by itself before its sequence was complete")
            if time.monotonic() >= deadline:
                raise CameraTimeout(
                    f"no frame within {timeout_s:g} s at an exposure of {exposure_ms:g} ms; "
                    "check the camera's trigger or allow more time"
                )
            time.sleep(run.naps.next_s(exposure_ms, time.monotonic()))

    def _sequence_frame(self, run: _Run, shot: Shot) -> Frame:
        run.number = shot.number if shot.number >= 0 else run.number + 1
        captured_ns = shot.captured_ns
        if shot.elapsed_ms >= 0:
            elapsed_ns = int(shot.elapsed_ms * 1e6)
            # No frame leaves the core before it came in, so each one bounds the core's zero.
            run.start_ns = min(run.start_ns, captured_ns - elapsed_ns)
            captured_ns = run.start_ns + elapsed_ns
        exposure_ms = self.state.exposed_ms(run.last_ns)
        run.last_ns = captured_ns = max(captured_ns, run.last_ns)
        run.naps.came(shot.popped_ns)
        seq = run.first_seq + run.number
        self._seq = seq + 1
        return self._frame(shot, seq, captured_ns, exposure_ms)

    def _frame(self, shot: Shot, seq: int, captured_ns: int, exposure_ms: float) -> Frame:
        state = self.state
        shape, dtype = (state.format.height, state.format.width), state.format.dtype
        if shot.pixels.shape != shape or shot.pixels.dtype != dtype:
            state.refresh()  # changed behind our back, for instance from the camera's own panel
        meta = FrameMeta(
            seq=seq,
            captured_ns=captured_ns,
            popped_ns=shot.popped_ns,
            exposure_ms=exposure_ms,
            x_um=state.x_um,
            y_um=state.y_um,
            z_um=state.z_um,
            channel=state.channel,
            pixel_size_um=state.format.pixel_size_um,
            bit_depth=state.format.bit_depth,
            epoch=state.epoch,
            index=state.index,
            pos_name=state.pos_name,
            decision=state.decision,
        )
        return Frame(shot.pixels, meta)
