"""What the doctor found: one row for each measurement, and the report made of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from live.doctor.gpu import Advice
from live.doctor.machine import Machine
from live.doctor.timing import Timing


@dataclass(frozen=True, slots=True)
class StageRow:
    """One stage at one image size."""

    stage: str
    side: int
    """Pixels along an edge."""
    timing: Timing | None
    note: str = ""
    failed: str = ""
    """Why there is no timing."""


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """One network on one engine."""

    model: str
    engine: str
    precision: str
    device: str = ""
    timing: Timing | None = None
    failed: str = ""


@dataclass(frozen=True, slots=True)
class PipelineRow:
    """One pipeline at one image size."""

    pipeline: str
    side: int
    rate_hz: float = 0.0
    """Safe frame rate; 0 where there is none."""
    bottleneck: str = ""
    needs_ms: dict[str, float] | None = None
    timing: Timing | None = None
    """Of the usual frame."""
    first_ms: float = 0.0
    """The first frame of a sample, in which the size of objects is found."""
    lost_at_start: int = 0
    """Frames passed over meanwhile at this rate."""
    check_ms: float = 0.0
    check_every: int = 0
    objects: float = 0.0
    """Found in a frame of the sample that was measured on."""
    engine: str = ""
    precision: str = ""
    device: str = ""
    model: str = ""
    estimated_from: int = 0
    """Measured at images of this side and scaled by their pixels; 0: measured."""
    failed: str = ""


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """All that was found. Keys of ``to_json`` are added, never renamed."""

    machine: Machine
    advice: Advice
    camera: str
    """Which camera the rates hold for."""
    with_window: bool
    """Whether the rates leave room for the live window."""
    slowdown: float
    """How many times slower the analysis is while all other cores are at work."""
    stages: tuple[StageRow, ...]
    networks: tuple[NetworkRow, ...]
    pipelines: tuple[PipelineRow, ...]
    notes: tuple[str, ...]
    took_s: float

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self) | {
            "machine": self.machine.to_json(),
            "engines": sorted({(row.engine, row.precision, row.device) for row in self._ran()}),
        }

    def engines(self) -> list[str]:
        """Engine, precision and device that the shipped pipelines ran on, as one line each."""
        lines = (f"{row.engine} {row.precision} on {row.device}" for row in self._ran())
        return list(dict.fromkeys(lines))

    def _ran(self) -> list[PipelineRow]:
        return [row for row in self.pipelines if row.timing is not None]
