"""What a run came to: the report for machines (stable keys) and for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from drivers import Rig, RigInfo, TrueDivision
from live.acquire import Acquisition
from live.decider import Decider
from live.ledger import Ledger
from live.outcome import Outcome
from live.recorder import RecorderStats
from live.runfolder import RunFolder
from live.statusboard import StatusBoard
from live.supervisor import Supervisor
from live.truth import score_divisions
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
    notes: tuple[str, ...] = ()
    rig: dict[str, str] = field(default_factory=dict)
    out: str = ""

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        found: dict[str, Any] = {
            "frames": self.frames,
            "drops": self.drops,
            "latency_ms": self.latency_ms,
            "engine": self.engine,
            "objects": self.objects,
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


def report_of(parts: RunParts) -> RunReport:
    """Ask every part what it did, and write ``report.json`` and, where known, ``truth.json``."""
    decider, seen = parts.decider, parts.decider.seen
    report = RunReport(
        frames={
            "captured": parts.acquisition.counts.captured,
            "recorded": parts.stats.recorded,
            "analysed": seen.analysed,
        },
        drops=parts.board.drops(parts.supervisor),
        latency_ms=parts.ledger.summary(),
        engine=asdict(decider.engine),
        objects={
            "mean_per_frame": seen.objects / seen.analysed if seen.analysed else 0.0,
            "tracks": seen.tracks,
            "divisions": seen.divisions,
        },
        rules=decider.firings(),
        truth=_truth(parts),
        memory_mb={"rig": parts.board.peak_mb, **parts.supervisor.peaks_mb()},
        restarts=parts.supervisor.restarts(),
        rates_hz=parts.board.rates(),
        exit_reason=parts.outcome.reason,
        exit_code=parts.outcome.exit_code,
        problems=parts.outcome.problems,
        notes=parts.outcome.notes,
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


def _truth(parts: RunParts) -> Mapping[str, Any] | None:
    """Score of the decisions, where the rig knows what really happened."""
    divisions = getattr(parts.rig, "divisions", None)
    if divisions is None:
        return None
    real: list[TrueDivision] = divisions()
    score = score_divisions(list(parts.decider.decisions), real).to_json()
    kept = {"score": score, "divisions": [asdict(division) for division in real]}
    parts.folder.truth.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    return score
