"""Settings of every kind of rig, as they are written in ``config/rigs/*.yaml``.

Pure data: nothing here looks at a file. A path that is not absolute is taken from the folder that
the program was started in, unless the reader of the YAML file resolved it before.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from drivers.limits import LimitSettings
from drivers.motion import MotionSettings
from drivers.simulated.settings import SimulatedSettings


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _CoreSettings(_Strict):
    """What every rig with a Micro-Manager core has in common."""

    startup: tuple[tuple[str, str, str], ...] = ()
    """Device properties set after the configuration was loaded: ``[device, property, value]``."""
    limits: LimitSettings = LimitSettings()
    motion: MotionSettings = MotionSettings()
    ready_timeout_s: float = Field(default=10.0, gt=0)
    """How long devices may take to become ready."""

    slm_affine: tuple[float, float, float, float, float, float] | None = None
    """Camera pixels (x, y, 1) to those of the spatial light modulator, two rows of three: for
    stimulation."""

    @field_validator("startup", mode="before")
    @classmethod
    def _text(cls, rows: Any) -> Any:
        """Numbers become text; YAML's On and Off, which became true and false, are refused."""
        if not isinstance(rows, list | tuple):
            return rows
        for row in rows:
            if isinstance(row, list | tuple) and any(isinstance(item, bool) for item in row):
                raise ValueError(f"YAML reads On, Off, Yes, No as true or false: quote it in {row}")
        return [
            [str(item) if isinstance(item, int | float) else item for item in row]
            if isinstance(row, list | tuple)
            else row
            for row in rows
        ]


class MicroManagerSettings(_CoreSettings):
    """A microscope that Micro-Manager knows, driven through pymmcore-plus."""

    driver: Literal["micromanager"] = "micromanager"
    config: str = "demo"
    """A Micro-Manager ``.cfg``; ``demo`` is the one that comes with ``mm-test-adapters``."""
    adapters: str | None = None
    """Folder of device adapters; ``mm-test-adapters`` is that package's own. None: the same package
    for ``demo``, otherwise what pymmcore-plus finds, which is told at the start of a run."""
    camera_buffer_mb: int = Field(default=512, gt=0)
    """Memory for frames that were taken but not yet fetched. MMCore fills it with zeros when it is
    opened and whenever a sequence starts with another image size: about 0.8 s for 1024 MB."""
    exposure_in_sequence: bool = False
    """The camera takes a new exposure while a sequence runs, and holds to it from the next frame
    on. MMCore does not tell; try it before you say so. The demo camera does."""


class PycroManagerSettings(_CoreSettings):
    """A microscope through pycro-manager: a running Micro-Manager, or its headless Python core."""

    driver: Literal["pycromanager"] = "pycromanager"
    mode: Literal["connect", "headless"] = "connect"
    """``connect``: to the Micro-Manager that runs (option *Run server on port 4827*)."""
    address: str = "127.0.0.1"
    port: int = Field(default=4827, gt=0, lt=65536)
    connect_timeout_s: float = Field(default=3.0, gt=0)
    config: str = "demo"
    """``.cfg`` for ``headless``; a running Micro-Manager has its own."""
    adapters: str = "mm-test-adapters"
    """Folder of device adapters for ``headless``."""
    camera_buffer_mb: int = Field(default=512, gt=0)
    """For ``headless``."""


class ReplaySettings(_Strict):
    """Recorded frames as a camera."""

    driver: Literal["replay"] = "replay"
    path: str
    """TIFF stack, folder of TIFF or PNG files, OME-Zarr, or the folder of a run."""
    timing: Literal["original", "fast"] = "original"
    """``original`` keeps the recorded interval; ``fast`` gives frames as they are asked for."""
    interval_ms: float | None = Field(default=None, gt=0)
    """Between frames, over what the file says; needed for ``original`` when the file has none."""
    pixel_size_um: float | None = Field(default=None, gt=0)
    """Over what the file says."""
    channel: int = Field(default=0, ge=0)
    """Which one, where the recording has several."""
    loop: bool = False
    """Start again at the end instead of ending the run."""


RigSettings = Annotated[
    MicroManagerSettings | SimulatedSettings | PycroManagerSettings | ReplaySettings,
    Field(discriminator="driver"),
]

_ADAPTER: TypeAdapter[
    MicroManagerSettings | SimulatedSettings | PycroManagerSettings | ReplaySettings
] = TypeAdapter(RigSettings)


def rig_settings(
    data: Any,
) -> MicroManagerSettings | SimulatedSettings | PycroManagerSettings | ReplaySettings:
    """Checked settings from what a YAML file held; raises pydantic's ``ValidationError``."""
    return _ADAPTER.validate_python(data)
