"""``parfocal models``: which networks there are, and training new ones."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from live.commands.options import JsonFile, check_json_target, console, write_json
from live.errors import UsageError

models_app = typer.Typer(
    help="Networks that pipelines can use.", no_args_is_help=True, rich_markup_mode="rich"
)


@models_app.command("list", epilog="Example: parfocal models list --json models.json")
def list_models(json_file: JsonFile = None) -> None:
    """List the networks that ship with the program, with what they are for."""
    from rich.table import Table

    from models.catalog import models_available

    check_json_target(json_file)
    cards = [card.to_json() for card in models_available()]
    write_json(json_file, cards)
    table = Table("name", "task", "summary", box=None)
    for card in cards:
        table.add_row(card["name"], card["task"], str(card.get("summary", "")))
    console().print(table)


@models_app.command(
    "train",
    epilog="Example: parfocal models train --task nuclei --data pictures --out training",
)
def train(
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="Folder that holds seg/ and track/.")
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="For checkpoint, log and curve; continued."),
    ],
    task: Annotated[str, typer.Option("--task", help="nuclei or bacteria.")] = "nuclei",
    minutes: Annotated[float, typer.Option("--minutes", help="Wall-clock time in all.")] = 30.0,
    threads: Annotated[int, typer.Option("--threads", help="CPU threads.")] = 1,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    seed: Annotated[int, typer.Option("--seed", help="Of crops and augmentation.")] = 1,
    low_precision: Annotated[
        bool,
        typer.Option("--low-precision", help="Train in bfloat16: faster on CPUs that have it."),
    ] = False,
    export_only: Annotated[
        bool, typer.Option("--export-only", help="Export and score the checkpoint as it is.")
    ] = False,
) -> None:
    """Train a segmentation network, export it as ONNX and score it on held-out images.

    Needs the extra "train". Can be stopped at any time, and goes on from its last checkpoint.
    """
    if find_spec("torch") is None:
        raise UsageError(
            "training needs torch, which is not installed: pip install 'parfocal[train]'"
        )
    from live.validation import checked
    from models.training.command import export_and_score
    from models.training.train_segment import TrainSegmentSettings
    from models.training.train_segment import train as train_segment

    given = {
        "data": data,
        "out": out,
        "task": task,
        "minutes": minutes,
        "threads": threads,
        "device": device,
        "seed": seed,
        "low_precision": low_precision,
    }
    settings, problems = checked(TrainSegmentSettings, given)
    if settings is None:
        raise UsageError("; ".join(f"--{problem}" for problem in problems))
    if not export_only:
        train_segment(settings)
    elif not (settings.out / "checkpoint.pt").is_file():
        raise UsageError(f"--export-only: {settings.out} holds no checkpoint.pt; train first")
    console().print(f"Weights: {export_and_score(settings)}", markup=False, soft_wrap=True)
