"""Draws the report of a run as one table for people; the numbers are those of its JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.table import Table

_MOST_FIRINGS = 20
_MOST_PLACES = 5


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
    if (light := report.get("light")) and light.get("total"):
        yield from _light(light)
    rules = report.get("rules", [])
    done = [rule for rule in rules if rule.get("action") != "hold"]
    yield "rules", f"{len(done)} fired" if done else "none fired"
    for rule in done[:_MOST_FIRINGS]:
        yield "", f"frame {rule['seq']}, object {rule['object']}: {rule['rule']} → {rule['action']}"
    if len(done) > _MOST_FIRINGS:
        yield "", f"and {len(done) - _MOST_FIRINGS} more, see the decision table of the run"
    if truth := report.get("truth"):
        yield "against the truth", _named(truth)
    if denoise := report.get("denoise"):
        yield "denoising", denoise_line(denoise)
    if memory := report.get("memory_mb"):
        yield "peak memory, MB", _named(memory)
    if restarts := report.get("restarts"):
        yield "restarts", _named(restarts) if isinstance(restarts, Mapping) else str(restarts)
    yield "ended because", str(report.get("exit_reason", "unknown"))


def _light(light: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Light that the sample got: in all, where most, and what was refused."""
    unit, caps = light.get("unit", ""), light.get("caps", {})
    yield (
        "light",
        f"{_number(light['total'])} {unit} in {_number(light['light_s'])} s; most at one place "
        f"{_number(light['max_position'])}, for one cell {_number(light['cells']['max'])}",
    )
    if caps:
        yield "", "caps: " + _named(caps)
    for place in light.get("positions", [])[:_MOST_PLACES]:
        yield "", f"({place['x_um']:.0f}, {place['y_um']:.0f}) µm: {_number(place['dose'])}"
    more = len(light.get("positions", [])) - _MOST_PLACES
    if more > 0:
        yield "", f"and {more} more places, see light.png"
    if light.get("refused"):
        yield "", f"{light['refused']} times refused; last: {light['refusals'][-1]}"


def denoise_line(denoise: Mapping[str, Any]) -> str:
    """The noise model, the checks and what was trained, in words."""
    noise = denoise.get("noise", {})
    gain, offset = noise.get("gain_counts_per_photon"), noise.get("offset_counts")
    parts = []
    if gain:
        parts.append(f"{gain:.3g} counts/e over {offset:.4g}, {noise['read_noise_e']:.2g} e read")
    checked, alarmed = denoise.get("checked", 0), denoise.get("alarmed", 0)
    parts.append(f"{alarmed} of {checked} checks in doubt")
    for one in denoise.get("trainings", ()):
        swapped = f" from frame {one['first_seq']}" if one["first_seq"] >= 0 else ""
        parts.append(f"training {one['number']}: {one['outcome']}{swapped}")
    return "; ".join(parts)


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
