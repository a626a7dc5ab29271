"""``parfocal infer``: the live analysis over files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from live.commands.options import JsonFile, check_json_target, console, write_json


def infer(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="INPUT...", help="Images, folders of them, OME-Zarr."),
    ],
    pipeline: Annotated[
        str, typer.Option("--pipeline", metavar="NAME", help="Shipped pipeline, or a YAML file.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New folder for results.")],
    movie: Annotated[
        bool, typer.Option("--movie", help="The inputs are one movie, in order: follow objects.")
    ] = False,
    masks: Annotated[
        Path | None,
        typer.Option("--masks", metavar="FOLDER", help="Track these label images instead."),
    ] = None,
    pixel_size_um: Annotated[
        float | None,
        typer.Option("--pixel-size", min=0, metavar="UM", help="Where the file has none."),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Also write OUT/explain/NAME.png for the first 20 images: probability, "
            "confidence, uncertainty, and what drove the least certain object and the classes.",
        ),
    ] = False,
    trackmate: Annotated[
        bool,
        typer.Option("--trackmate", help="Of a movie, also TrackMate's CSV of spots and edges."),
    ] = False,
    json_file: JsonFile = None,
) -> None:
    """Run the live analysis over image files.

    Writes label images, denoised images where the pipeline makes them, and a table of objects;
    with --movie in the Cell Tracking Challenge result format, and the tracks as tracks.geff.

    How far to trust it, as pictures: parfocal infer pictures --pipeline nuclei --out result
    --explain
    """
    from live.experiment.loading import load_pipeline_settings
    from live.infer import infer as infer_files

    check_json_target(json_file)
    settings = load_pipeline_settings(pipeline)
    screen = console()
    report = infer_files(
        inputs,
        settings,
        out,
        movie=movie,
        masks=masks,
        pixel_size_um=pixel_size_um,
        explain=explain,
        trackmate=trackmate,
        console=screen,
    )
    write_json(json_file, report.to_json())
    for line in report.lines():
        screen.print(line, markup=False, soft_wrap=True)
