"""Options that several commands share, and how each writes its answer."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from live.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON.")
]
OutFolder = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="New folder for everything that is recorded."),
]
Headless = Annotated[
    bool, typer.Option("--headless", help="No window, and nothing of Qt is loaded.")
]
Seconds = Annotated[
    float | None, typer.Option("--seconds", min=0.1, metavar="S", help="Stop after this time.")
]


def console() -> Console:
    """Where people read; wide enough in a log file that no sentence is broken."""
    from rich.console import Console

    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=140)


def check_json_target(file: Path | None) -> None:
    """Refuse, before anything starts, a report file that could not be written at the end.

    Raises
    ------
    UsageError
        Naming the folder that is missing or closed to us.
    """
    if file is None:
        return
    folder = file.expanduser().resolve().parent
    if not folder.is_dir():
        raise UsageError(f"--json {file}: there is no folder {folder}; make it first")
    if file.is_dir():
        raise UsageError(f"--json {file}: this is a folder, need a file name")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"--json {file}: no right to write in {folder}")


def write_json(file: Path | None, content: Any) -> None:
    """Write ``content`` whole or not at all; nothing when no file was asked for.

    Numbers that JSON does not know (NaN, infinities) become null.
    """
    if file is None:
        return
    text = json.dumps(_plain(content), indent=2, allow_nan=False) + "\n"
    part = file.with_name(f".{file.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UsageError(f"--json {file}: cannot be written: {error.strerror or error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not -1e308 < value < 1e308:
        return None
    if hasattr(value, "item"):  # numpy scalars
        return _plain(value.item())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value
