"""What a run came to: the report for machines (stable keys) and for people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from drivers import Rig, RigInfo
from live.acquire import Acquisition
from live.decider import Decider, Seen
from live.denoising.denoising import Denoising
from live.ledger import Ledger
from live.outcome import Outcome
from live.processes.supervisor import Supervisor
from live.recording.recorder import RecorderStats
from live.recording.runfolder import RunFolder
from live.scoring.truthfile import write_truth
from live.statusboard import StatusBoard
from live.tracks.run import export_cheap
from models import EngineInfo


@dataclass(frozen=True, slots=True)
class RunReport:
    """Everything that a run has to say at its end. Keys of ``to_json`` are added, never renamed."""

    frames: dict[str, int]
    """``captured``, ``recorded``, ``analysed``."""
    drops: dict[str, int]
    latency_ms: dict[str, dict[str, float]]
    engine: dict[str, str]
    objects: dict[str, float]
    rules: list[dict[str, Any]]
    truth: Mapping[str, Any] | None
    memory_mb: dict[str, float]
    restarts: dict[str, int]
    rates_hz: dict[str, float]
    exit_reason: str
    exit_code: int
    problems: tuple[str, ...] = ()
    """What went wrong, one sentence each; empty for a good run."""
    classes: dict[str, int] = field(default_factory=dict)
    """Class -> objects of it, summed over the analysed frames; empty without a classifier."""
    trust: dict[str, Any] = field(default_factory=dict)
    """``checked`` and ``unlike`` frames, the ``strangest`` value and its ``reason``; empty without
    checks."""
    light: dict[str, Any] = field(default_factory=dict)
    """What light the sample got, by preset and by place; empty for recorded data."""
    denoise: dict[str, Any] = field(default_factory=dict)
    """Noise model, checks, alarms and trainings; empty where no network denoised."""
    engine_faults: dict[str, int] = field(default_factory=dict)
    """Fault of an engine -> how often; empty for a run without."""
    latency_budget: dict[str, float] = field(default_factory=dict)
    """``budget_ms``, decisions ``over`` it, ``worst_ms``; empty where none was given."""
    notes: tuple[str, ...] = ()
    rig: dict[str, str] = field(default_factory=dict)
    out: str = ""

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        found: dict[str, Any] = {
            "frames": self.frames,
            "drops": self.drops,
            "latency_ms": self.latency_ms,
            "latency_budget": self.latency_budget,
            "engine": self.engine,
            "objects": self.objects,
            "classes": self.classes,
            "trust": self.trust,
            "light": self.light,
            "denoise": self.denoise,
            "engine_faults": self.engine_faults,
            "rules": self.rules,
            "memory_mb": self.memory_mb,
            "restarts": self.restarts,
            "rates_hz": self.rates_hz,
            "exit_reason": self.exit_reason,
            "exit_code": int(self.exit_code),
            "problems": list(self.problems),
            "notes": list(self.notes),
            "rig": self.rig,
            "out": self.out,
        }
        if self.truth is not None:
            found["truth"] = dict(self.truth)
        return found

    def lines(self) -> list[str]:
        """Problems and notes for people; what went wrong comes first."""
        return [*(f"Problem: {problem}" for problem in self.problems), *self.notes]


@dataclass(frozen=True, slots=True)
class RunParts:
    """The parts of a run that is over, for its report."""

    rig: Rig
    info: RigInfo
    acquisition: Acquisition
    stats: RecorderStats
    decider: Decider
    supervisor: Supervisor
    board: StatusBoard
    ledger: Ledger
    outcome: Outcome
    folder: RunFolder
    light: dict[str, Any] = field(default_factory=dict)
    denoising: Denoising | None = None
    engine_faults: dict[str, int] = field(default_factory=dict)


def report_of(parts: RunParts) -> RunReport:
    """Ask every part what it did, and write ``report.json`` and, where known, ``truth.json``."""
    decider, seen, denoising = parts.decider, parts.decider.seen, parts.denoising
    untold = export_cheap(parts.folder)
    report = RunReport(
        frames={
            "captured": parts.acquisition.counts.captured,
            "recorded": parts.stats.recorded,
            "analysed": seen.analysed,
        },
        drops=parts.board.drops(parts.supervisor),
        latency_ms=parts.ledger.summary(),
        latency_budget=decider.alarm.to_json(),
        engine=asdict(decider.engine),
        objects={
            "mean_per_frame": seen.objects / seen.analysed if seen.analysed else 0.0,
            "tracks": seen.tracks,
            "divisions": seen.divisions,
            "repaired": seen.repairs.total(),
        },
        rules=decider.firings(),
        truth=_truth(parts),
        memory_mb={"rig": parts.board.peak_mb, **parts.supervisor.peaks_mb()},
        restarts=parts.supervisor.restarts(),
        rates_hz=parts.board.rates(),
        exit_reason=parts.outcome.reason,
        exit_code=parts.outcome.exit_code,
        problems=parts.outcome.problems,
        notes=(
            *parts.outcome.notes,
            *unlike_note(seen),
            *untold,
            *(denoising.notes() if denoising is not None else ()),
        ),
        classes=dict(seen.classes),
        trust=trust_of(seen),
        light=parts.light,
        denoise=denoising.summary() if denoising is not None else {},
        engine_faults=parts.engine_faults,
        rig=rig_facts(parts.info),
        out=str(parts.folder.path),
    )
    parts.folder.report.write_text(json.dumps(report.to_json(), indent=2), encoding="utf-8")
    return report


def rig_facts(info: RigInfo) -> dict[str, str]:
    """What the rig is made of, as text."""
    return {
        "rig": info.name,
        "camera": info.camera,
        "config": info.config,
        "adapters": info.adapters,
        "software": info.software,
    }


def engine_line(engine: EngineInfo) -> str:
    """Engine, precision, device and model in one line."""
    return " · ".join(filter(None, (engine.name, engine.precision, engine.device, engine.model)))


def trust_of(seen: Seen) -> dict[str, Any]:
    """What the checks of the images came to, for the report; empty where none was made."""
    if seen.strangest is None:
        return {}
    worst = seen.strangest.strangeness
    return {
        "checked": seen.checked,
        "unlike": seen.unlike,
        "strangest": worst if math.isfinite(worst) else None,
        "reason": seen.strangest.reason,
    }


def unlike_note(seen: Seen) -> tuple[str, ...]:
    """A sentence for people when images were unlike those that the network knows."""
    if not seen.unlike or seen.strangest is None:
        return ()
    return (
        f"{seen.unlike} of {seen.checked} checked frames are unlike what the network was trained "
        f"on ({seen.strangest.reason}): look at the outlines before you use them",
    )


def _truth(parts: RunParts) -> Mapping[str, Any] | None:
    """Score of the decisions, where the rig knows what really happened."""
    decider = parts.decider
    about = decider.about("divided")
    return write_truth(parts.rig, parts.folder, list(decider.decisions), about)
