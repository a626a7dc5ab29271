"""``parfocal score``: how good results are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from live.commands.options import JsonFile, check_json_target, console, write_json


def score(
    pred: Annotated[Path, typer.Argument(metavar="PRED", help="What the analysis found.")],
    truth: Annotated[Path, typer.Argument(metavar="TRUTH", help="What is really there.")],
    json_file: JsonFile = None,
) -> None:
    """Compare results with the truth: label images, or Cell Tracking Challenge folders."""
    from live.score import score as score_files

    check_json_target(json_file)
    report = score_files(pred, truth)
    write_json(json_file, report.to_json())
    console().print(report.table())
