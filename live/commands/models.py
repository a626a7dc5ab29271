"""``parfocal models``: which networks there are, training and building new ones."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from live.commands.build import add_to as add_build_commands
from live.commands.options import JsonFile, check_json_target, console, write_json
from live.errors import UsageError

models_app = typer.Typer(
    help="Networks that pipelines can use.", no_args_is_help=True, rich_markup_mode="rich"
)
train_app = typer.Typer(
    help="Train networks on your own pictures.", no_args_is_help=True, rich_markup_mode="rich"
)
models_app.add_typer(train_app, name="train")
add_build_commands(models_app)

OutFolder = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="For checkpoint, curve and weights; continued.")
]
Minutes = Annotated[float, typer.Option("--minutes", help="Wall-clock time in all.")]
Threads = Annotated[int, typer.Option("--threads", help="CPU threads.")]
Device = Annotated[str, typer.Option("--device", help="cpu or cuda.")]
Seed = Annotated[int, typer.Option("--seed", help="Of all that is drawn by chance.")]
ExportOnly = Annotated[
    bool, typer.Option("--export-only", help="Export and score the checkpoint as it is.")
]


@models_app.command("list", epilog="Example: parfocal models list --json models.json")
def list_models(json_file: JsonFile = None) -> None:
    """List the networks that ship with the program and those imported, with what they are for."""
    from rich.table import Table

    from models.catalog import models_available, user_folder

    check_json_target(json_file)
    every = [*models_available(), *models_available(user_folder())]
    cards = [card.to_json() for card in every]
    write_json(json_file, cards)
    table = Table("name", "task", "summary", box=None)
    for card in cards:
        table.add_row(card["name"], card["task"], str(card.get("summary", "")))
    console().print(table)


@train_app.command(
    "segment",
    epilog="Example: parfocal models train segment --data labelled --out mine --minutes 10",
)
def train_segment(
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            metavar="DIR",
            help="Your labelled images, NAME_img.tif and NAME_lab.tif or images/ and labels/.",
        ),
    ],
    out: OutFolder,
    task: Annotated[
        str, typer.Option("--task", help="What they are like: nuclei, bacteria or cells.")
    ] = "nuclei",
    start: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Network to go on from, a name or an ONNX file; the task's for your own images. "
            "new for none.",
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Of the network: NAME.onnx, NAME.md.")] = "",
    minutes: Minutes = 30.0,
    threads: Threads = 1,
    device: Device = "cpu",
    seed: Seed = 1,
    low_precision: Annotated[
        bool,
        typer.Option("--low-precision", help="Train in bfloat16: faster on CPUs that have it."),
    ] = False,
    also_train: Annotated[
        list[str] | None,
        typer.Option(
            "--also-train", metavar="PART", help="Train on a held-out part too, at the very end."
        ),
    ] = None,
    widths: Annotated[
        str | None,
        typer.Option(metavar="N,N,N,N", help="Channels of the levels of a new network."),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="checkpoint.pt of a network whose answers count too."),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Of the first steps.")
    ] = None,
    export_only: ExportOnly = False,
) -> None:
    """Train a segmentation network, export it as ONNX and score it on held-out images.

    Needs the extra "train". Can be stopped at any time, and goes on from its last checkpoint.
    """
    _need_torch()
    from models.training.segment.command import export_and_score
    from models.training.segment.train import TrainSegmentSettings, train

    settings = _settings(
        TrainSegmentSettings,
        data=data,
        out=out,
        task=task,
        start=_start(start, task, data),
        name=name,
        minutes=minutes,
        threads=threads,
        device=device,
        seed=seed,
        low_precision=low_precision,
        also_train=tuple(also_train or ()),
        teacher=teacher,
        **({} if widths is None else {"widths": tuple(widths.split(","))}),
        **({} if learning_rate is None else {"learning_rate": learning_rate}),
    )
    _need_checkpoint(out, export_only)
    if not export_only:
        train(settings)
    path = export_and_score(settings)
    _say_weights(path)
    console().print(
        f"In a pipeline: segment: {{kind: network, model: {path}}}", markup=False, soft_wrap=True
    )


@train_app.command(
    "classify", epilog="Example: parfocal models train classify taught --out training --name mine"
)
def train_classify(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="Folder with a folder of crops for each class."),
    ],
    out: OutFolder,
    name: Annotated[
        str, typer.Option("--name", help="Of the network: NAME.onnx, NAME.md.")
    ] = "classes",
    minutes: Minutes = 3.0,
    threads: Threads = 1,
    device: Device = "cpu",
    seed: Seed = 1,
    export_only: ExportOnly = False,
) -> None:
    """Train a network that sorts objects into your classes, with a card of how good it is.

    Takes the folder "taught" that clicks in the window leave in a run, or any folder with one
    folder a class of PNG or TIFF images that have the object in their middle (its outline beside
    as STEM_mask.png helps). Some 50 of each class are enough. A fifth is held out, and scored.
    Write [bold]classify: {model: OUT/NAME.onnx}[/bold] in a pipeline to use it.

    Needs the extra "train". Can be stopped at any time, and goes on from its last checkpoint.
    """
    _need_torch()
    from models.training.classify.command import train_and_export
    from models.training.classify.train import TrainClassifySettings

    settings = _settings(
        TrainClassifySettings,
        data=data,
        out=out,
        name=name,
        minutes=minutes,
        threads=threads,
        device=device,
        seed=seed,
    )
    _need_checkpoint(out, export_only)
    _say_weights(train_and_export(settings, export_only=export_only))


@train_app.command(
    "denoise", epilog="Example: parfocal models train denoise my-run --out training --minutes 3"
)
def train_denoise(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_OR_FOLDER",
            help="Folder of a run, a TIFF or a stack, an OME-Zarr, or a folder of pictures.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="For weights, card and pictures.")
    ] = Path("training"),
    name: Annotated[
        str, typer.Option("--name", help="Of the network: NAME.onnx, NAME.md.")
    ] = "denoise-mine",
    start: Annotated[
        str, typer.Option("--start", metavar="MODEL", help="Weights to start from.")
    ] = "denoise",
    minutes: Minutes = 3.0,
    seed: Seed = 1,
    channel: Annotated[
        str, typer.Option("--channel", help="Of a run: train on this preset's frames only.")
    ] = "",
) -> None:
    """Train the denoiser on your own noisy frames; no clean image is needed.

    Weights are written only if they do better than those that training started from on frames that
    were held out. Ctrl-C ends training early and keeps the best so far. A picture of before and
    after, the loss curve and the scores come beside them.

    Needs the extra "train".
    """
    from live.commands.train_denoise import train_denoiser

    train_denoiser(source, out, name, start=start, minutes=minutes, seed=seed, channel=channel)


def _need_torch() -> None:
    if any(find_spec(part) is None for part in ("torch", "onnx", "onnxscript")):
        raise UsageError(
            "training needs torch, onnx and onnxscript, which are not all installed: "
            "pip install 'parfocal[train]'"
        )


def _start(asked: str | None, task: str, data: Path) -> str:
    """Network to go on from: few labelled images are enough to change one, not to make one."""
    from models.training.segment.own import has_own

    if asked is None:
        return task if has_own(data) else ""
    return "" if asked == "new" else asked


def _settings(kind: Any, **given: Any) -> Any:
    """Options as the settings of a training; all mistakes at once."""
    from live.experiment.validation import checked

    settings, problems = checked(kind, given)
    if settings is None:
        raise UsageError("; ".join(f"--{problem}" for problem in problems))
    return settings


def _need_checkpoint(out: Path, export_only: bool) -> None:
    if export_only and not (out / "checkpoint.pt").is_file():
        raise UsageError(f"--export-only: {out} holds no checkpoint.pt; train first")


def _say_weights(path: Path) -> None:
    console().print(f"Weights: {path}", markup=False, soft_wrap=True)
