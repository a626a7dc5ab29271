"""Draws what a plan comes to as one table for people; the numbers are those of the JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.table import Table


def check_table(summary: Mapping[str, Any]) -> Table:
    """Table of ``CheckReport.summary``."""
    table = Table(box=box.SIMPLE_HEAD, title="The plan", title_justify="left", show_header=False)
    table.add_column("what", style="bold", no_wrap=True)
    table.add_column("value")
    for what, value in _rows(summary):
        table.add_row(what, value)
    return table


def _rows(summary: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    frames, more = summary["frames"], summary["frames_of_rules_at_most"]
    extra = f", and at most {more} that rules add" if more else ""
    if summary.get("open_ended"):
        yield "end", "none; the figures are those of the time points that are written out"
    yield "frames", f"{frames} in {summary['time_points']} time points{extra}"
    yield "duration", f"{_time(summary['duration_s'])}; one time point takes {_ms(summary)} ms"
    if "data_mb" in summary:
        yield "data", f"{summary['data_mb'] / 1000:.3g} GB before compression, without the rules'"
    yield "travel of the stage", f"{summary['travel_mm']:.4g} mm"
    light = summary.get("light")
    if light is None:
        return
    unit = light["unit"]
    yield "light", f"{light['total']:.4g} {unit}, the lamp on for {_time(light['light_s'])}"
    yield "most at one place", f"{light['max_position']:.4g} {unit}"
    for place in light["positions"]:
        yield "", f"({place['x_um']:.0f}, {place['y_um']:.0f}) µm: {place['dose']:.4g} {unit}"


def _ms(summary: Mapping[str, Any]) -> str:
    return f"{summary['time_point_s'] * 1e3:.0f}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
