"""``parfocal bench``: measurements of ours beside a peer's, in one run on one machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Annotated, Any, TypeAlias

import typer

from live.commands.options import JsonFile, check_json_target, console, write_json
from live.errors import BenchFailed, UsageError

BENCHES = "parfocal.benches"
_OURS = {"handover": "benchmarks.handover:run"}
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
    json_file: JsonFile = None,
) -> None:
    """Measure; without a name, list what can be measured.

    Exits non-zero when a measurement misses a bar that it names.
    """
    from live.didyoumean import suggestion

    check_json_target(json_file)
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
    rows: list[dict[str, Any]] = []
    for name in chosen:
        screen.print(f"Measuring {name} ...", markup=False)
        rows += load_bench(known[name])(quick=quick)
    write_json(json_file, rows)
    screen.print(_table(rows))
    missed = [row for row in rows if "bar" in row and not row["ratio"] >= row["bar"]]
    if missed and not quick:
        raise BenchFailed("; ".join(_miss(row) for row in missed))


def known_benches() -> dict[str, str]:
    """Name -> ``module:function`` of every bench that is installed."""
    return _OURS | {point.name: point.value for point in entry_points(group=BENCHES)}


def load_bench(where: str) -> Bench:
    """The function at ``module:function``; it takes ``quick`` and returns rows.

    A row is ``{bench, case, ours, peer, value_ours, value_peer, unit, ratio}``; ``bar``, where
    given, is the least ratio that is good enough.

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


def _miss(row: Row) -> str:
    what = f"{row['bench']} {row['case']}"
    return f"{what}: {row['ratio']:.2f} times {row['peer']}, need {row['bar']:g}"
