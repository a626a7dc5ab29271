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
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture",
            metavar="PNG|DIR",
            help="Draw what is right and wrong: one PNG (of several images the worst; of tracks "
            "the trees), or a new folder with one of each image.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", metavar="FOLDER", help="Images to draw on, where not beside the truth."
        ),
    ] = None,
    denoise: Annotated[
        bool,
        typer.Option(
            "--denoise", help="PRED and TRUTH are pictures: PSNR, SSIM and resolution of PRED."
        ),
    ] = False,
    raw: Annotated[
        Path | None,
        typer.Option(
            "--raw", metavar="NOISY", help="With --denoise: score the noisy pictures too."
        ),
    ] = None,
    fit: Annotated[
        bool,
        typer.Option("--fit", help="With --denoise: fit gain and offset to the truth first."),
    ] = False,
    data_range: Annotated[
        float | None,
        typer.Option(
            "--data-range",
            metavar="COUNTS",
            help="With --denoise: black to white; else 255 for 8 bits, or the span of the truth.",
        ),
    ] = None,
    split: Annotated[
        bool,
        typer.Option(
            "--split", help="With --denoise: TRUTH is noisy too, of frames that PRED never saw."
        ),
    ] = False,
) -> None:
    """Compare results with the truth: label images, Cell Tracking Challenge folders, or pictures.

    Label images may be single files, stacks, OME-Zarr, or folders matched by name: STEM_labels.tif
    belongs to STEM_lab.png. AP is TP / (TP + FP + FN) at each limit of overlap (IoU), pooled over
    images.

    With --denoise, pictures are compared: PSNR, SSIM and the resolution by Fourier ring
    correlation. They may be single files, stacks, OME-Zarr, or folders matched by name.

    With pictures: parfocal score result truth --picture worst.png

    Of denoising: parfocal score --denoise pred.tif clean.tif --raw noisy.tif --json scores.json
    """
    from live.errors import UsageError
    from live.scoring.score import holds_tracks
    from live.scoring.score import score as score_files

    check_json_target(json_file)
    if denoise:
        _score_denoised(
            pred, truth, raw, json_file, picture, fit=fit, data_range=data_range, split=split
        )
        return
    if raw is not None or fit or data_range is not None or split:
        raise UsageError("--raw, --fit, --data-range and --split are for pictures; add --denoise")
    if images is not None and picture is None:
        raise UsageError("--images is for pictures; add --picture worst.png, or leave it out")
    tracks = holds_tracks(pred)
    if images is not None and tracks:
        raise UsageError(
            "--images is for label images; the trees of tracks need none, leave it out"
        )
    if picture is not None:
        from live.scoring.sheet import check_target

        check_target(picture)
        if tracks and not picture.suffix:
            raise UsageError(
                f"--picture {picture}: tracks give one picture; give a name that ends in .png"
            )
    screen = console()
    report = score_files(pred, truth, console=screen)
    if picture is not None and report.compared is not None:
        from live.scoring.trackpicture import write_track_picture

        title = f"{pred} against {truth}"
        report.notes += write_track_picture(report.compared, picture, title, report.seg)
    elif picture is not None:
        from live.scoring.sheet import write_pictures

        report.notes += write_pictures(report, picture, images, screen)
    write_json(json_file, report.to_json())
    screen.print(report.table())
    if (worst := report.worst_table()) is not None:
        screen.print(worst)
    for note in report.notes:
        screen.print(note, markup=False, soft_wrap=True)


def _score_denoised(
    pred: Path,
    truth: Path,
    raw: Path | None,
    json_file: Path | None,
    picture: Path | None,
    *,
    fit: bool,
    data_range: float | None,
    split: bool,
) -> None:
    from live.picturefile import check_png
    from live.scoring.denoised import score_denoised
    from live.scoring.denoisedpicture import write_denoise_picture

    if picture is not None:
        check_png(picture)
    screen = console()
    report = score_denoised(
        pred,
        truth,
        raw=raw,
        fit=fit,
        data_range=data_range,
        reference="split" if split else "clean",
        console=screen,
    )
    if picture is not None and report.worst is not None:
        title = f"{pred} against {truth}"
        report.notes += write_denoise_picture(report.worst, picture.expanduser(), title)
    write_json(json_file, report.to_json())
    screen.print(report.table())
    for note in report.notes:
        screen.print(note, markup=False, soft_wrap=True)
