"""Draws the report of a run as one table for people; the numbers are those of its JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.table import Table

_MOST_FIRINGS = 20


def report_table(report: Mapping[str, Any]) -> Table:
    """Table of a run's report.

    Parameters
    ----------
    report
        ``RunReport.to_json()``; keys that a run does not have are left out.
    """
    table = Table(box=box.SIMPLE_HEAD, title="Report", title_justify="left", show_header=False)
    table.add_column("what", style="bold", no_wrap=True)
    table.add_column("value")
    for what, value in _rows(report):
        table.add_row(what, value)
    return table


def _rows(report: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    frames = report.get("frames", {})
    yield "frames", ", ".join(f"{count} {name}" for name, count in frames.items())
    drops = {stage: count for stage, count in report.get("drops", {}).items() if count}
    yield "drops", ", ".join(f"{stage} {count}" for stage, count in drops.items()) or "none"
    if engine := report.get("engine"):
        yield "engine", " · ".join(str(value) for value in engine.values() if value)
    for hop, value in report.get("latency_ms", {}).items():
        yield f"{hop.replace('_', ' ')}, ms", _percentiles(value)
    if objects := report.get("objects"):
        yield "objects", _named(objects)
    rules = report.get("rules", [])
    done = [rule for rule in rules if rule.get("action") != "hold"]
    yield "rules", f"{len(done)} fired" if done else "none fired"
    for rule in done[:_MOST_FIRINGS]:
        yield "", f"frame {rule['seq']}, object {rule['object']}: {rule['rule']} → {rule['action']}"
    if len(done) > _MOST_FIRINGS:
        yield "", f"and {len(done) - _MOST_FIRINGS} more, see the decision table of the run"
    if truth := report.get("truth"):
        yield "against the truth", _named(truth)
    if memory := report.get("memory_mb"):
        yield "peak memory, MB", _named(memory)
    if restarts := report.get("restarts"):
        yield "restarts", _named(restarts) if isinstance(restarts, Mapping) else str(restarts)
    yield "ended because", str(report.get("exit_reason", "unknown"))


def _percentiles(value: Any) -> str:
    if not isinstance(value, Mapping):
        return _number(value)
    return "  ".join(f"{name} {_number(value[name])}" for name in value)


def _named(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_number(v)}" for name, v in values.items())


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "none" if value is None else str(value)
    return (
        str(value) if isinstance(value, int) else f"{value:.3g}" if value < 100 else f"{value:.0f}"
    )
