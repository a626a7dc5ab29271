"""``parfocal models build | import | export``: networks in other precisions, in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from live.commands.options import JsonFile, check_json_target, console, write_json
from live.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.catalog import ModelCard

SAMPLES = 12
"""Frames that are drawn where none are given."""

DRAWN = {"nuclei": 28.0, "phases": 28.0, "denoise": 28.0}
"""Networks that drawn nuclei suit, with their diameter in pixels."""


class Engine(StrEnum):
    """What a network is built for."""

    TENSORRT_RTX = "tensorrt-rtx"
    TENSORRT = "tensorrt"
    OPENVINO = "openvino"
    ONNXRUNTIME = "onnxruntime"


class Precision(StrEnum):
    """What its convolutions compute in."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"


class Task(StrEnum):
    """What a network does."""

    SEGMENT = "segment"
    DENOISE = "denoise"
    CLASSIFY = "classify"


OutDir = Annotated[Path, typer.Option("--out", metavar="DIR", help="For the files; made if need.")]
Model = Annotated[
    str, typer.Argument(metavar="NAME", help="Of a network, or the path of its ONNX file.")
]


def add_to(app: typer.Typer) -> None:
    """Register the three commands."""
    app.command(
        "build",
        epilog="Example: parfocal models build nuclei --engine openvino --precision int8 "
        "--calibrate my-run --out built",
    )(build)
    app.command(
        "import",
        epilog="Example: parfocal models import net.onnx --name organoids --task segment "
        "--diameter-px 40",
    )(import_)
    app.command("export", epilog="Example: parfocal models export nuclei --out exported")(export)


def build(
    name: Model,
    out: OutDir,
    engine: Annotated[Engine, typer.Option("--engine", help="What will run it.")],
    precision: Annotated[
        Precision, typer.Option("--precision", help="What its convolutions compute in.")
    ] = Precision.FP16,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            "--calibrate", metavar="RUN_OR_FOLDER",
            help="Your frames: a run, a TIFF, an OME-Zarr or a folder of pictures.",
        ),
    ] = None,
    channel: Annotated[
        str, typer.Option("--channel", help="Of a run: take this preset's frames only.")
    ] = "",
    shapes: Annotated[
        str,
        typer.Option(
            "--shapes", metavar="SIZES",
            help="For TensorRT: image sizes as 1024x1024, or least,usual,most. Any when left out.",
        ),
    ] = "",
    gpu: Annotated[
        list[str] | None,
        typer.Option(
            "--gpu", metavar="CC",
            help="For tensorrt-rtx: compute capability as 8.6; all when left out. Repeat for more.",
        ),
    ] = None,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Make a network faster: fewer bits, for one engine, checked against the original.

    A third of your frames is held back; on those the result is compared with the float32 network,
    and refused with figures if it differs more than allowed. Then write
    [bold]model: DIR/NAME-PRECISION.onnx[/bold] and [bold]precision:[/bold] in a pipeline. For
    TensorRT the engine comes beside it; no GPU is needed to build for tensorrt-rtx.

    Needs the extra "build".
    """
    from models.building.build import build_model, check_build
    from models.catalog import read_card, weights_path

    check_json_target(json_file)
    card = read_card(weights_path(name))
    check_build(card, engine.value, precision.value)
    screen = console()
    frames: list[NDArray[Any]] = []
    if precision is not Precision.FP32:
        frames, source = _frames(card, calibrate, channel)
        screen.print(f"Checked on {source}", markup=False, soft_wrap=True)
    with _bar() as tell:
        report = build_model(
            card, frames, out, engine=engine.value, precision=precision.value, shapes=shapes,
            capabilities=tuple(gpu or ()), progress=tell,
        )  # fmt: skip
    write_json(json_file, report.to_json())
    for warning in report.warnings:
        screen.print(f"Warning: {warning}", markup=False, soft_wrap=True)
    if report.accuracy is not None:
        screen.print(f"Passed: {report.accuracy.sentence()}", markup=False, soft_wrap=True)
    for file in report.bundle.files:
        size = file.stat().st_size / 1e6
        screen.print(f"Wrote {file} ({size:.1f} MB)", markup=False, soft_wrap=True)
    run_as = precision.value
    if engine is Engine.ONNXRUNTIME and precision is Precision.FP16:
        run_as = Precision.FP32.value
    use = f"model: {report.bundle.onnx}, engine: {engine.value}, precision: {run_as}"
    screen.print(f"Use it in a pipeline: {use}", markup=False, soft_wrap=True)


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="With its weights inside.")],
    name: Annotated[str, typer.Option("--name", help="That pipelines will call it by.")],
    task: Annotated[Task, typer.Option("--task", help="What it does.")],
    summary: Annotated[str, typer.Option("--summary", help="One line on what it is for.")] = "",
    licence: Annotated[str, typer.Option("--licence", help="Of its weights.")] = "",
    diameter_px: Annotated[
        float,
        typer.Option(
            "--diameter-px", min=0, help="Usual size of objects in training; 0: as they are."
        ),
    ] = 0.0,
    pixel_multiple: Annotated[
        int, typer.Option("--pixel-multiple", min=1, help="Of height and width that it takes.")
    ] = 16,
    pixel_size_um: Annotated[
        float, typer.Option("--pixel-size-um", min=0, help="Of its training images; 0: unknown.")
    ] = 0.0,
    classes: Annotated[
        str, typer.Option("--classes", metavar="A,B", help="Of a classifier, in order.")
    ] = "",
) -> None:
    """Take an ONNX network of your own: checked, run once, kept with a card in your folder.

    A network to segment takes image (y, x) in counts and gives labels (y, x) int32 and probability
    (y, x); to denoise, image, state, noise and fresh, and gives denoised and state_out; to
    classify, windows and context, and gives probability.
    """
    from models.building.importing import Import, import_network
    from models.catalog import WEIGHTS, models_available, user_folder
    from models.tasks.crops import CROP_PX

    if name in {card.name for card in models_available(WEIGHTS)}:
        raise UsageError(f"--name {name}: a network of this name ships; choose another")
    named = tuple(part.strip() for part in classes.split(",") if part.strip())
    if task is Task.CLASSIFY and len(named) < 2:
        raise UsageError("--classes: a network to classify needs two names or more, as A,B")
    about = Import(
        name, task.value, summary, licence, diameter_px, pixel_multiple, pixel_size_um, named,
        CROP_PX if task is Task.CLASSIFY else 0,
    )  # fmt: skip
    card = import_network(file, about, user_folder())
    screen = console()
    screen.print(f"Kept as {card.path}", markup=False, soft_wrap=True)
    if not licence:
        screen.print("Its licence is not known; write it on the card beside it.")


def export(
    name: Model,
    out: OutDir,
    openvino: Annotated[
        bool, typer.Option("--openvino", help="Write OpenVINO's own files as well.")
    ] = False,
) -> None:
    """Copy a network out, with its card and its licence, for use elsewhere."""
    from models.building.importing import export_network
    from models.catalog import read_card, weights_path

    for file in export_network(read_card(weights_path(name)), out, openvino=openvino):
        console().print(f"Wrote {file}", markup=False, soft_wrap=True)


def _frames(card: ModelCard, source: Path | None, channel: str) -> tuple[list[NDArray[Any]], str]:
    """Frames to calibrate and check on, and where they come from."""
    if source is not None:
        from live.denoising.frames import training_frames

        found = training_frames(source, channel=channel)
        return list(found.pixels), found.source
    stem = card.name.split("-")[0]
    if stem not in DRAWN:
        raise UsageError(
            f"no sample ships that suits {card.name}; give --calibrate with a run or a folder of "
            "images"
        )
    drawn = _drawn_movie() if card.task == "denoise" else _drawn(DRAWN[stem])
    return drawn, f"{len(drawn)} drawn frames of nuclei; --calibrate with your own is better"


def _drawn(diameter_px: float) -> list[NDArray[np.uint16]]:
    from drivers.simulated.fields import render_training_field

    # seeds far from those of the pictures that the networks were trained on
    seeds = range(770_000, 770_000 + SAMPLES)
    return [render_training_field(seed, (512, 512), diameter_px=diameter_px)[0] for seed in seeds]


def _drawn_movie() -> list[NDArray[np.uint16]]:
    """One place again and again, in dim light and in bright."""
    import numpy as np

    still = _drawn(28.0)[0].astype(np.float64)
    light = (still - still.min()) / max(float(np.percentile(still, 99.5) - still.min()), 1.0)
    rng = np.random.default_rng(770_000)
    return [
        np.clip(rng.poisson(40 * light) * 2.0 + rng.normal(100, 3, still.shape), 0, 65535).astype(
            np.uint16
        )
        for _ in range(SAMPLES)
    ]


@contextmanager
def _bar() -> Iterator[Callable[[float, str], None]]:
    """A progress bar; what is told comes from any thread."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    parts = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*parts, console=console(), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda part, what: bar.update(task, completed=part, description=what)
