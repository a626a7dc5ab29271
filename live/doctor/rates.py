"""Puts what was measured into the model of ``saferate``, scaled where it was not measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from live.doctor.findings import PipelineRow, StageRow
from live.doctor.saferate import Stage, lost_at_start, safe_rate
from live.doctor.timing import Timing

APART = 1.15
"""On top of the ratio of pixels: larger images leave the caches behind, and what every image costs
weighs more with smaller ones."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What the stages beside the analysis were measured to take."""

    stages: Sequence[StageRow]
    cores: int
    slowdown: float
    window: bool
    """The live window runs too."""

    def others(self, side: int) -> dict[str, Stage]:
        """The stages beside the analysis at images of ``side`` x ``side`` pixels."""
        camera, ring = self._at("camera", side), self._at("ring", side)
        recorder, window = self._at("recorder", side), self._at("window", side)
        found: dict[str, Stage] = {}
        if camera is not None:
            # one thread does both: takes the picture, then writes it into the ring
            found["camera"] = Stage(
                camera.p95_ms + (ring.p95_ms if ring else 0.0),
                camera.cpu_ms + (ring.cpu_ms if ring else 0.0),
            )
        if recorder is not None:
            found["recorder"] = Stage(recorder.p95_ms, recorder.cpu_ms)
        if window is not None and self.window:
            # it takes the newest frame and lets the others go, so only its cores count
            found["window"] = Stage(0.0, window.cpu_ms)
        return found

    def estimate(self, row: PipelineRow, side: int) -> PipelineRow:
        """The row for an image of another size, scaled by pixels; what failed stays so."""
        if row.timing is None:
            return replace(row, side=side)
        factor = APART * (side / row.side) ** 2
        timing = scaled(row.timing, factor)
        check_ms = row.check_ms * factor
        other = replace(
            row, side=side, timing=timing, first_ms=row.first_ms * factor, check_ms=check_ms,
            objects=row.objects * factor / APART, estimated_from=row.side,
        )  # fmt: skip
        stage = Stage(timing.p95_ms, timing.cpu_ms, check_ms, row.check_every)
        return rate_of(other, stage, self)

    def _at(self, stage: str, side: int) -> Timing | None:
        known = {
            row.side: row.timing
            for row in self.stages
            if row.stage == stage and row.timing is not None
        }
        if not known:
            return None
        nearest = min(known, key=lambda one: abs(one - side))
        found = known[nearest]
        if found is None or nearest == side:
            return found
        return scaled(found, max(1.0, (side / nearest) ** 2))


def rate_of(row: PipelineRow, analysis: Stage, measured: Measured) -> PipelineRow:
    """The row with its safe rate."""
    safe = safe_rate(
        analysis, measured.others(row.side), cores=measured.cores, slowdown=measured.slowdown
    )
    return replace(
        row,
        rate_hz=safe.rate_hz,
        bottleneck=safe.bottleneck,
        needs_ms=safe.needs_ms,
        lost_at_start=lost_at_start(row.first_ms, safe.rate_hz),
    )


def scaled(timing: Timing, factor: float) -> Timing:
    """Each time of it, longer by ``factor``."""
    return Timing(
        timing.p50_ms * factor, timing.p95_ms * factor, timing.cpu_ms * factor, timing.count
    )
