"""``parfocal bench``: measurements of ours beside a peer's, in one run on one machine."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from live.commands.options import JsonFile, check_json_target, console, write_json
from live.errors import BenchFailed, UsageError

BENCHES = "parfocal.benches"
_OURS = {
    "acquire": "benchmarks.acquire:run",
    "handover": "benchmarks.handover:run",
    "segment": "benchmarks.segment:run",
    "measure": "benchmarks.measure:run",
    "track": "benchmarks.track:run",
    "denoise": "benchmarks.denoise:run",
    "decide": "benchmarks.decide:run",
    "engines": "benchmarks.engines:run",
    "reaction": "benchmarks.reaction:run",
    "latency": "benchmarks.latency:run",
    "closedloop": "benchmarks.closedloop:run",
    "smart": "benchmarks.smart:run",
    "saferate": "benchmarks.saferate:run",
    "endurance": "benchmarks.endurance:run",
    "growth": "benchmarks.growth:run",
    "lineage": "benchmarks.lineage:run",
    "trainlive": "benchmarks.trainlive:run",
}
"""Known without an installation, so that a bare checkout can be measured too."""

Row: TypeAlias = Mapping[str, Any]
Bench: TypeAlias = Callable[..., list[dict[str, Any]]]


def bench(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="All of them: all.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer repeats: shows that it works, no figures.")
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE", help="Measure on this picture, where one is."),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option("--pictures", metavar="DIR", help="Draw each bench there as PNG."),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds", min=5, metavar="S", help="For those that measure for a time: how long."
        ),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Measure; without a name, list what can be measured.

    Exits non-zero when a measurement misses a bar that it names, or could not be compared because
    the peer is not installed.
    """
    from live.experiment.didyoumean import suggestion

    check_json_target(json_file)
    if pictures is not None and pictures.exists() and not pictures.is_dir():
        raise UsageError(f"--pictures {pictures}: this is a file, need a folder")
    known = known_benches()
    screen = console()
    if not names:
        for name, where in sorted(known.items()):
            screen.print(f"{name}  ({where})", markup=False)
        return
    chosen = sorted(known) if names == ["all"] else names
    for name in chosen:
        if name not in known:
            raise UsageError(f"no bench is called '{name}'; {suggestion(name, known)}")
    if picture is not None and not picture.is_file():
        raise UsageError(f"--picture {picture}: there is no such file")
    rows: list[dict[str, Any]] = []
    for name in chosen:
        screen.print(f"Measuring {name} ...", markup=False)
        measure = load_bench(known[name])
        wanted = {"picture": picture, "seconds": seconds}
        given = {
            key: value
            for key, value in wanted.items()
            if value is not None and _takes(measure, key)
        }
        rows += measure(quick=quick, **given)
    write_json(json_file, rows)
    if pictures is not None:
        from live.commands.benchpicture import write_pictures

        for path in write_pictures(rows, pictures):
            screen.print(f"picture in {path}", markup=False, soft_wrap=True)
    screen.print(_table([row for row in rows if "left_out" not in row]))
    for machine in dict.fromkeys(row["machine"] for row in rows if "machine" in row):
        screen.print(f"Machine: {machine}", markup=False)
    missed = [_miss(row) for row in rows if "bar" in row and not row["ratio"] >= row["bar"]]
    left_out = [f"{row['case']}: not compared, {row['left_out']}" for row in _without(rows)]
    if (missed or left_out) and not quick:
        raise BenchFailed("; ".join(missed + left_out))
    for line in left_out:
        screen.print(line, markup=False)


def known_benches() -> dict[str, str]:
    """Name -> ``module:function`` of every bench that is installed."""
    return _OURS | {point.name: point.value for point in entry_points(group=BENCHES)}


def load_bench(where: str) -> Bench:
    """The function at ``module:function``; it takes ``quick`` and returns rows.

    A row is ``{bench, case, ours, peer, value_ours, value_peer, unit, ratio}``; ``bar``, where
    given, is the least ratio that is good enough, and ``machine`` says what it ran on. A row that
    could not be measured is ``{bench, case, left_out}``, the last being why.

    Raises
    ------
    UsageError
        When it cannot be imported.
    """
    module, _, function = where.partition(":")
    try:
        found: Bench = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"bench {where} cannot be loaded: {error}") from error
    return found


def _table(rows: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    table = Table("bench", "case", "ours", "peer", "unit", "ratio", box=None)
    for row in rows:
        table.add_row(
            str(row["bench"]),
            str(row["case"]),
            f"{row['ours']} {row['value_ours']:.4g}",
            f"{row['peer']} {row['value_peer']:.4g}",
            str(row["unit"]),
            f"{row['ratio']:.2f}" + (f" (bar {row['bar']:g})" if "bar" in row else ""),
        )
    return table


def _takes(measure: Bench, key: str) -> bool:
    return key in inspect.signature(measure).parameters


def _without(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if "left_out" in row]


def _miss(row: Row) -> str:
    what = f"{row['bench']} {row['case']}"
    return f"{what}: {row['ratio']:.2f} times {row['peer']}, need {row['bar']:g}"
