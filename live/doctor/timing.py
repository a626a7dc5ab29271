"""What a stage was measured to take, as the probes report it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
import psutil


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of one stage for one frame."""

    p50_ms: float
    p95_ms: float
    cpu_ms: float
    """Time of all cores together, on average; 0 where it was not measured."""
    count: int
    """Frames that were timed."""

    def to_json(self) -> dict[str, float]:
        """The numbers by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Self:
        """As ``to_json`` gave it; further keys are passed over."""
        return cls(**{field.name: found[field.name] for field in fields(cls)})

    @classmethod
    def of(cls, samples_ms: Sequence[float], cpu_ms: float = 0.0) -> Self:
        """Of at least one time; ``cpu_ms`` is that of a frame."""
        p50, p95 = np.percentile(np.asarray(samples_ms, dtype=float), (50, 95))
        return cls(float(p50), float(p95), cpu_ms, len(samples_ms))


class Watch:
    """Times one frame after another, and the time that this process kept cores busy meanwhile."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._cpu_s = self._spent()
        self._began = self._last = time.perf_counter()
        self.samples_ms: list[float] = []

    def lap(self) -> float:
        """One frame is done; milliseconds since the one before."""
        now = time.perf_counter()
        self.samples_ms.append((now - self._last) * 1e3)
        self._last = now
        return self.samples_ms[-1]

    def pause(self) -> None:
        """What happened since the last frame does not count."""
        self._last = time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._began

    def timing(self) -> Timing:
        """Of all frames so far; at least one."""
        cpu_ms = (self._spent() - self._cpu_s) * 1e3 / max(len(self.samples_ms), 1)
        return Timing.of(self.samples_ms, cpu_ms)

    def _spent(self) -> float:
        used = self._process.cpu_times()
        return float(used.user + used.system)
