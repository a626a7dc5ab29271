"""The simulated rig: real stages, shutters and presets of Micro-Manager, a sample that lives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import mm_test_adapters
import numpy as np
import pymmcore
import useq
from numpy.typing import NDArray

from drivers.errors import RigError
from drivers.frame import Frame
from drivers.mmcore import CoreRig, release_core
from drivers.mmcore_images import DirectImages, Shot
from drivers.plus import pymmcore_plus, silent
from drivers.rig import ImageFormat, RigInfo, RigState, TrueDivision
from drivers.simulated.camera import SimulatedCamera
from drivers.simulated.optics import BRIGHTFIELD
from drivers.simulated.scene import Exposure, Scene
from drivers.simulated.settings import SimulatedSettings
from drivers.simulated.slm import SLM, SimulatedSlm
from drivers.simulated.truth import Truth

CAMERA = "Simulated Camera"
_GROUP = "Channel"


class SimulatedRig:
    """A `Rig` that knows the truth about its sample.

    The truth of the last run is kept after the ``with`` block; entering it again starts with a new
    sample.

    Parameters
    ----------
    settings
        Of cells, camera and stage.
    """

    def __init__(self, settings: SimulatedSettings) -> None:
        self._settings = settings
        adapters = Path(mm_test_adapters.device_adapter_path())
        self._images = _NumberedImages()
        self._camera: SimulatedCamera | None = None
        self._scene: Scene | None = None
        self._truth = Truth(settings.cycle_s)
        self.slm: SimulatedSlm | None = None
        """The modulator of the open rig, which remembers what it showed."""
        self._rig = CoreRig(
            self._open_core,
            name="simulated",
            config=str(adapters / "MMConfig_demo.cfg"),
            adapters=str(adapters),
            software=f"pymmcore-plus {pymmcore_plus.__version__}, pymmcore {pymmcore.__version__}",
            limits=settings.limits.limits(),
            camera_buffer_mb=settings.camera_buffer_mb,
            ready_timeout_s=settings.ready_timeout_s,
            images=self._images,
        )

    def __enter__(self) -> Self:
        """Load the devices and put a new sample on the stage."""
        if self._camera is not None:
            raise RigError("the simulated rig is open already; leave its block first")
        try:
            self._rig.__enter__()
        except BaseException:
            self._camera = None
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop the camera, close every shutter, release the devices. Safe to call twice."""
        self._halt()
        try:
            self._rig.__exit__(*exc)
        finally:
            self._camera = None

    @property
    def core(self) -> Any:
        """The open core; raises ``RigError`` outside the ``with`` block."""
        return self._rig.core

    @property
    def info(self) -> RigInfo:
        """What this rig is made of."""
        return self._rig.info

    def image_format(self) -> ImageFormat:
        """Shape, dtype and pixel size that the next frame will have."""
        return self._rig.image_format()

    def read_state(
        self, groups: Sequence[str] = (), properties: Sequence[tuple[str, str]] = ()
    ) -> RigState:
        """Where and how it would image now; see ``Rig.read_state``."""
        return self._rig.read_state(groups, properties)

    def apply(self, event: useq.MDAEvent) -> None:
        """Move, set and wait as ``event`` asks; see ``Rig.apply``."""
        self._rig.apply(event)

    def snap(self, timeout_s: float = 10.0) -> Frame:
        """Expose one frame and return it (mode *snap*)."""
        return self._kept(self._rig.snap(timeout_s))

    def start_sequence(self, count: int | None, interval_ms: float = 0.0) -> None:
        """Start a hardware sequence of which every frame is kept; see ``Rig.start_sequence``."""
        self._set_interval(interval_ms)
        self._rig.start_sequence(count, interval_ms)

    def sequence_room(self) -> int:
        """How many frames fit the camera's buffer; see ``Rig.sequence_room``."""
        return self._rig.sequence_room()

    def start_live(self) -> None:
        """Start continuous imaging of which only the newest frame matters."""
        self._set_interval(0.0)
        self._rig.start_live()

    def read(self, timeout_s: float) -> Frame:
        """Next unread frame of the running sequence, oldest first; see ``Rig.read``."""
        return self._kept(self._rig.read(timeout_s))

    def latest(self, timeout_s: float) -> Frame:
        """Newest frame of live mode that was not returned before; see ``Rig.latest``."""
        return self._kept(self._rig.latest(timeout_s))

    def stop(self) -> None:
        """End a running sequence or live mode and close the shutter. Safe to call when idle."""
        self._halt()
        self._rig.stop()

    def divisions(self) -> list[TrueDivision]:
        """Every division that a captured frame shows, in time order."""
        return [] if self._scene is None else self._truth.divisions(self._scene.divisions())

    def labels(self, seq: int) -> NDArray[np.int32]:
        """True outlines of the nuclei in one of the last 256 frames.

        Returns
        -------
        (y, x) int32 of the frame's shape: the ids of the cells, 0 is background.

        Raises
        ------
        RigError
            When frame ``seq`` was not given, or too long ago.
        """
        labels = self._truth.labels(seq)
        if labels is None:
            raise RigError(f"frame {seq} is not among the last frames of this rig; ask sooner")
        return labels

    def cells_in(self, seq: int) -> tuple[NDArray[np.int32], NDArray[np.float64]] | None:
        """Cells whose centre a frame shows: ids (n,) and (n, 2) x, y on the stage, um.

        None for a dark frame, and for one that was not among the last 20,000.
        """
        return self._truth.cells_in(seq)

    def exposure(self, seq: int) -> Exposure:
        """What one of the last 256 frames really saw; raises as `labels` does."""
        exposure = self._truth.exposure(seq)
        if exposure is None:
            raise RigError(f"frame {seq} is not among the last frames of this rig; ask sooner")
        return exposure

    def _open_core(self) -> Any:
        from pymmcore_plus.experimental.unicore import UniMMCore

        core = UniMMCore(mm_path=mm_test_adapters.device_adapter_path())
        try:
            with silent():
                core.loadSystemConfiguration(
                    str(Path(mm_test_adapters.device_adapter_path()) / "MMConfig_demo.cfg")
                )
            core.unloadDevice(str(core.getCameraDevice()))
            for group in ("Camera", "System"):  # of the camera that was unloaded
                core.deleteConfigGroup(group)
            for device in ("Dichroic", "Emission", "Excitation"):
                core.defineConfig(_GROUP, BRIGHTFIELD, device, "State", "9")
            core.setConfig("Objective", self._settings.objective)
            core.setConfig(_GROUP, "DAPI")
            core.waitForSystem()
            self._scene = Scene(self._settings)
            self._truth = Truth(self._settings.cycle_s)
            sensor_px = (self._settings.height, self._settings.width)
            self._camera = SimulatedCamera(core, self._scene, sensor_px, _GROUP)
            core.loadPyDevice(CAMERA, self._camera)
            core.initializeDevice(CAMERA)
            core.setCameraDevice(CAMERA)
            self.slm = SimulatedSlm()
            core.loadPyDevice(SLM, self.slm)
            core.initializeDevice(SLM)
            core.setSLMDevice(SLM)
            self._images.camera = self._camera
        except BaseException:
            release_core(core)
            raise
        return core

    def _halt(self) -> None:
        if self._camera is not None:
            self._camera.halt()

    def _set_interval(self, interval_ms: float) -> None:
        if self._camera is not None:
            self._camera.set_interval(interval_ms)

    def _kept(self, frame: Frame) -> Frame:
        if self._images.exposure is not None:
            self._truth.add(frame.meta, self._images.exposure)
        return frame


class _NumberedImages(DirectImages):
    """Remembers which of the camera's exposures the last image was."""

    def __init__(self) -> None:
        self.camera: SimulatedCamera | None = None
        self.exposure: Exposure | None = None

    def snap(self, core: Any) -> Shot:
        """Expose and fetch one image."""
        return self._noted(super().snap(core), 0)

    def pop(self, core: Any) -> Shot:
        """Take the oldest image out of the sequence buffer."""
        shot = super().pop(core)
        return self._noted(shot, shot.number)

    def last(self, core: Any) -> Shot:
        """Copy the newest image of the sequence buffer."""
        shot = super().last(core)
        return self._noted(shot, shot.number)

    def _noted(self, shot: Shot, number: int) -> Shot:
        self.exposure = None if self.camera is None else self.camera.exposure(number)
        return shot
