"""What a run came to: the report for machines (stable keys) and for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from live.errors import ExitCode


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
    truth: dict[str, Any] | None
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
            found["truth"] = self.truth
        return found

    def lines(self) -> list[str]:
        """Problems and notes for people; what went wrong comes first."""
        return [*(f"Problem: {problem}" for problem in self.problems), *self.notes]


def worst(codes: list[ExitCode]) -> ExitCode:
    """The exit code that matters most when several things went wrong."""
    order = (
        ExitCode.FRAMES_LOST,
        ExitCode.HARDWARE,
        ExitCode.ANALYSIS_FAILED,
        ExitCode.RULE_FAILED,
        ExitCode.BAD_INPUT,
        ExitCode.CRASH,
        ExitCode.INTERRUPTED,
    )
    return next((code for code in order if code in codes), ExitCode.OK)
