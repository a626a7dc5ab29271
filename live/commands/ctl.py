"""``parfocal ctl``: steer a run from another terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from live.commands.options import JsonFile, check_json_target, console, write_json

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run that goes on.")]
Words = Annotated[
    list[str],
    typer.Argument(
        metavar="COMMAND...",
        help="status, pause, resume, stop, arm RULE [observe|suggest|auto], disarm RULE, "
        "disarm-all, set RULE KEY VALUE, add-position X Y [Z] [NAME], accept [N], refuse [N], "
        "train-denoise. Put -- before negative numbers.",
    ),
]


def ctl(run: RunArgument, command: Words, json_file: JsonFile = None) -> None:
    """Steer a run that goes on: pause it, arm and disarm its rules, answer its suggestions.

    Only who started the run can, and only on the same computer. Every command goes to the log and
    the journal of the run.
    """
    from live.steering.client import ask

    check_json_target(json_file)
    answer = ask(run, tuple(command))
    write_json(json_file, {"ok": answer.ok, "text": answer.text, **answer.data})
    if not answer.ok:
        typer.echo(f"parfocal: {answer.text}", err=True)
        raise typer.Exit(2)
    console().print(answer.text, markup=False, soft_wrap=True)
