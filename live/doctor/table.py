"""The doctor's findings for people: what the machine is, each stage, and the safe rates."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from live.doctor.findings import DoctorReport, PipelineRow
from live.doctor.machine import Machine
from live.doctor.timing import Timing

BAR = 16
"""Characters of the longest bar."""
MOST_REASON = 90


def print_report(report: DoctorReport, screen: Console) -> None:
    """Everything, in the order in which people ask for it."""
    for line in machine_lines(report.machine):
        screen.print(line, markup=False)
    for line in engine_lines(report):
        screen.print(line, markup=False, soft_wrap=True)
    screen.print(stage_table(report))
    if report.networks:
        screen.print(network_table(report))
    screen.print(rate_table(report))
    for line in closing_lines(report):
        screen.print(line, markup=False, soft_wrap=True)


def machine_lines(machine: Machine) -> list[str]:
    """What the computer is, and what of a GPU."""
    instructions = ", ".join(machine.instructions) or "not told"
    lines = [
        f"Processor: {machine.processor}, {machine.cores} cores ({machine.threads} threads); "
        f"instructions for networks: {instructions}",
        f"Memory: {machine.memory_gb:.0f} GB, {machine.memory_free_gb:.0f} GB free. "
        f"Disk of {machine.disk}: {machine.disk_free_gb:.0f} GB free. {machine.system}",
    ]
    lines += [
        f"GPU: {gpu.name}, {gpu.memory_mb / 1024:.0f} GB, compute capability "
        f"{gpu.capability}, driver {gpu.driver}"
        for gpu in machine.gpus
    ]
    if not machine.gpus:
        lines.append(f"GPU: no NVIDIA GPU was found: {machine.no_gpu}.")
    return [*lines, machine.priority]


def engine_lines(report: DoctorReport) -> list[str]:
    """The engines that really ran, and how to get TensorRT."""
    ran = [line for line in report.engines() if not line.startswith("classical")]
    lines = [f"Networks run on: {'; '.join(ran) or 'nothing: no network ran'}"]
    advice = report.advice
    lines.append(f"{advice.sentence} {advice.install}".strip())
    return lines


def stage_table(report: DoctorReport) -> Table:
    """Each stage beside the analysis."""
    table = _table("Each stage, one frame", "stage", "image", "ms", "95 %", "core ms", "")
    for row in report.stages:
        side = f"{row.side}²" if row.side else ""
        if row.timing is None:
            table.add_row(row.stage, side, "", "", "", _reason(row.failed))
        else:
            table.add_row(row.stage, side, *_times(row.timing), escape(row.note))
    return table


def network_table(report: DoctorReport) -> Table:
    """Each network on each engine, with a bar for its speed."""
    table = _table("Each network alone at 512²", "network", "engine", "ms", "95 %", "core ms", "")
    for model in dict.fromkeys(row.model for row in report.networks):
        rows = [row for row in report.networks if row.model == model]
        best = min((row.timing.p50_ms for row in rows if row.timing), default=1.0)
        for row in rows:
            engine = f"{row.engine} {row.precision}"
            if row.timing is None:
                table.add_row(model, engine, "", "", "", _reason(row.failed))
                continue
            table.add_row(model, engine, *_times(row.timing), bar(best / row.timing.p50_ms))
    return table


def rate_table(report: DoctorReport) -> Table:
    """The safe frame rate of each pipeline at each size."""
    sides = sorted({row.side for row in report.pipelines})
    table = Table(
        box=box.SIMPLE_HEAD, title="Safe frame rate, frames/s, and what sets it",
        title_justify="left",
    )  # fmt: skip
    table.add_column("pipeline", no_wrap=True)
    for side in sides:
        table.add_column(f"{side}²", justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
    table.add_column("")
    fastest = max((row.rate_hz for row in report.pipelines), default=1.0) or 1.0
    for name in dict.fromkeys(row.pipeline for row in report.pipelines):
        rows = {row.side: row for row in report.pipelines if row.pipeline == name}
        failed = next((row.failed for row in rows.values() if row.failed), "")
        cells = [_rate(rows.get(side)) for side in sides]
        first = rows.get(sides[0])
        mark = _reason(failed) if failed else bar((first.rate_hz if first else 0.0) / fastest)
        table.add_row(name, *(part for cell in cells for part in cell), mark)
    return table


def closing_lines(report: DoctorReport) -> list[str]:
    """What the rates hold for, and remarks."""
    window = "with the live window" if report.with_window else "without a window"
    lines = [
        f"The rates hold for {report.camera}, recording to {report.machine.disk}, {window}, "
        "each frame analysed (policy newest). Cells of another size or number take other times."
    ]
    if any(row.estimated_from for row in report.pipelines):
        lines.append("≈: not measured, but scaled from another image size.")
    lost = [row for row in report.pipelines if row.lost_at_start]
    if lost:
        worst = max(lost, key=lambda row: row.lost_at_start)
        lines.append(
            "The first frame of a sample takes longer, since the size of objects is found in it: "
            f"frames are passed over then (at most {worst.lost_at_start}: {worst.pipeline} at "
            f"{worst.side}²), and none later."
        )
    lines += [f"Note: {note}." for note in report.notes]
    lines.append(f"Measured in {report.took_s:.0f} s.")
    return lines


def rate_text(rate_hz: float) -> str:
    """A rate with two digits, rounded down: what is printed is held."""
    if rate_hz <= 0:
        return "none"
    digits = 0
    while rate_hz * 10**digits < 10:
        digits += 1
    return f"{int(rate_hz * 10**digits) / 10**digits:.{digits}f}"


def bar(share: float) -> str:
    """A bar for a share of 0 to 1."""
    return "█" * max(1, round(min(max(share, 0.0), 1.0) * BAR))


def _rate(row: PipelineRow | None) -> tuple[str, str]:
    if row is None or row.failed:
        return "-", ""
    sign = "≈" if row.estimated_from else ""
    return f"{sign}{rate_text(row.rate_hz)}", row.bottleneck


def _times(timing: Timing) -> Iterable[str]:
    return (f"{timing.p50_ms:.3g}", f"{timing.p95_ms:.3g}", f"{timing.cpu_ms:.3g}")


def _reason(text: str) -> str:
    short = text if len(text) <= MOST_REASON else f"{text[: MOST_REASON - 1]}…"
    return escape(f"not measured: {short}" if short else "")


def _table(title: str, *columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for name in columns:
        number = name in ("ms", "95 %", "core ms")
        table.add_column(name, justify="right" if number else "left", no_wrap=number)
    return table
