"""Pictures of a comparison as PNG files: one of one image, a sheet of the worst, or a folder."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drivers import SettingsError, list_frames
from live.errors import UsageError
from live.scoring.files import images_by_stem, listed, read_case, stem_of
from live.scoring.picture import Tile, draw, page, sheet
from live.scoring.score import CaseScore, ScoreReport, with_progress

if TYPE_CHECKING:
    from rich.console import Console

SHEET: Final = 12
"""Images on a sheet of the worst."""
_SHEET_SIDE: Final = 420
_IMAGE_DTYPES: Final = (
    "uint8", "uint16", "uint32", "int16", "int32", "float32", "float64"
)  # fmt: skip
SHEET_NAME: Final = "worst.png"
_PACKED: Final = 3
"""Half the time of Pillow's usual 6 for files a seventh larger."""


def check_target(target: Path) -> None:
    """Refuse, before anything is compared, a place where no picture can be written.

    Raises
    ------
    UsageError
        Naming what is wrong with it.
    """
    name = f"--picture {target}"
    if target.suffix and target.suffix.lower() != ".png":
        raise UsageError(
            f"{name}: pictures are PNG; give a name that ends in .png, or a new folder for one "
            "picture of each image"
        )
    folder = target.expanduser().resolve().parent
    if not folder.is_dir():
        raise UsageError(f"{name}: there is no folder {folder}; make it first")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{name}: no right to write in {folder}")
    if target.suffix and target.is_dir():
        raise UsageError(f"{name}: this is a folder, need a file name")
    if not target.suffix and target.exists() and (target.is_file() or any(target.iterdir())):
        raise UsageError(f"{name}: exists and is not empty; give a new folder")


def write_pictures(
    report: ScoreReport, target: Path, images: Path | None = None, console: Console | None = None
) -> list[str]:
    """Draw what was compared; blocks until all is written, and leaves nothing half done.

    Parameters
    ----------
    report
        Scores of label images.
    target
        A name that ends in ``.png``: the image, or a sheet of the worst where there are several.
        Otherwise a new folder: that sheet, and one picture of each image.
    images
        The images themselves: a file, or a folder matched by stem. None looks for them beside the
        truth, and draws on the areas of the true objects where there is none.
    console
        Where a progress bar is drawn; None: nowhere.

    Returns
    -------
    list[str]
        What was written, and what is good to know, one sentence each.

    Raises
    ------
    SettingsError, UsageError
        When ``images`` do not fit, or the target cannot be written.
    """
    target = target.expanduser()
    beside = _Images(report, images)
    part = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        if target.suffix:
            _overview(report, beside, console).save(part, "PNG", compress_level=_PACKED)
            written = f"picture in {target}"
        else:
            part.mkdir()
            _overview(report, beside, console).save(
                part / SHEET_NAME, "PNG", compress_level=_PACKED
            )
            for one in with_progress(report.cases, "Drawing", console):
                page(_tile(one, beside)).save(
                    part / f"{one.case.name}.png", "PNG", compress_level=_PACKED
                )
            if target.exists():
                target.rmdir()
            written = f"{len(report.cases)} pictures and {SHEET_NAME} in {target}"
        part.replace(target)
    except OSError as error:
        raise UsageError(
            f"--picture {target}: cannot be written: {error.strerror or error}"
        ) from error
    finally:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)
    return [written, *beside.notes()]


def _overview(report: ScoreReport, beside: _Images, console: Console | None) -> Image.Image:
    if len(report.cases) == 1:
        return page(_tile(report.cases[0], beside))
    worst = report.worst(SHEET)
    tiles = [_tile(one, beside, _SHEET_SIDE) for one in with_progress(worst, "Drawing", console)]
    title = f"The {len(tiles)} worst of {report.images} images; scores of all"
    return sheet(tiles, title, report.pooled)


def _tile(one: CaseScore, beside: _Images, side: int = 0) -> Tile:
    pred, truth = read_case(one.case)
    image = beside.of(one, truth.shape)
    return Tile(one.case.name, one.scores, draw(pred, truth, image, side=side))


@dataclass(slots=True)
class _Images:
    """The images that label images were made of, where they are."""

    report: ScoreReport
    given: Path | None
    files: dict[str, Path] = field(init=False)
    missing: dict[str, str] = field(default_factory=dict)
    """Image without a picture of its own -> why."""

    def __post_init__(self) -> None:
        pairs = {one.case.pair.stem: one.case.pair for one in self.report.cases}
        if self.given is None:
            folders = {pair.truth.parent for pair in pairs.values()}
            self.files = {}
            for folder in folders:
                self.files |= _beside(folder, {pair.truth for pair in pairs.values()})
            return
        if not self.given.exists():
            raise SettingsError(f"--images {self.given} does not exist")
        if self.given.is_file() or (self.given / "zarr.json").is_file():
            if len(pairs) > 1:
                raise SettingsError(
                    f"--images {self.given} is one file for {len(pairs)} label images; give the "
                    "folder of their images"
                )
            self.files = dict.fromkeys(pairs, self.given)
            return
        self.files = images_by_stem(self.given)
        if lacking := [stem for stem in pairs if stem not in self.files]:
            raise SettingsError(
                f"--images {self.given} has no image for {listed(lacking)}; images are matched by "
                "their names without endings such as _img"
            )

    def of(self, one: CaseScore, shape: tuple[int, ...]) -> NDArray[Any] | None:
        """(y, x) image of a case; None where there is none that fits."""
        case = one.case
        path = self.files.get(case.pair.stem)
        if path is None:
            self.missing[case.name] = "no image beside the truth; name their folder with --images"
            return None
        try:
            with list_frames(path, dtypes=_IMAGE_DTYPES) as source:
                if case.index >= len(source):
                    raise SettingsError(f"{path} has {len(source)} frames, not {case.index + 1}")
                image = source.read(case.index)
            if image.shape != shape:
                raise SettingsError(
                    f"{path} is {image.shape[1]} x {image.shape[0]}, its label image is "
                    f"{shape[1]} x {shape[0]}; give the image that it was made of"
                )
        except SettingsError as error:
            if self.given is not None:
                raise
            self.missing[case.name] = str(error)
            return None
        return np.nan_to_num(image) if image.dtype.kind == "f" else image

    def notes(self) -> list[str]:
        """What was drawn without an image, and why."""
        if not self.missing:
            return []
        why = next(iter(self.missing.values()))
        return [f"drawn without an image: {listed(list(self.missing))} ({why})"]


def _beside(folder: Path, truths: set[Path]) -> dict[str, Path]:
    """Images in the folder of the truth; none where names do not tell them apart."""
    try:
        found = images_by_stem(folder)
    except SettingsError:
        # two files of one name: none is certain, and the note on missing images says what to do
        return {}
    return {stem_of(path): path for path in found.values() if path not in truths}
