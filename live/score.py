"""How good results are: label images against true ones, or a tracked movie against true tracks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drivers import SettingsError, Source, list_frames
from live.ctc import TABLE, table_of
from models.scoring import (
    FORMULA,
    Agreement,
    TrackScores,
    agreement,
    segmentation_accuracy,
    track_scores,
)

if TYPE_CHECKING:
    from rich.table import Table

LABEL_DTYPES = ("uint8", "uint16", "uint32", "int32", "int64")
LIMITS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.9)
_ENDING = re.compile(r"_(labels?|lab|img|images?|masks?|gt)$")
_IMAGES = {".tif", ".tiff", ".png"}


@dataclass(slots=True)
class ScoreReport:
    """Scores of one comparison."""

    pred: str
    truth: str
    images: int
    instances: list[Agreement] = field(default_factory=list)
    tracks: TrackScores | None = None
    seg: float = math.nan
    """SEG of the Cell Tracking Challenge; NaN where there is no truth for it."""

    def to_json(self) -> dict[str, Any]:
        """Plain values; what could not be computed is null."""
        out: dict[str, Any] = {"pred": self.pred, "truth": self.truth, "images": self.images}
        if self.instances:
            out["formula"] = FORMULA
            out["ap"] = {f"{one.iou:g}": round(one.ap, 6) for one in self.instances}
            out["f1"] = {f"{one.iou:g}": round(one.f1, 6) for one in self.instances}
            out["pq"] = round(self.instances[0].panoptic, 6)
            out["counts"] = {
                f"{one.iou:g}": {"tp": one.true, "fp": one.false, "fn": one.missed}
                for one in self.instances
            }
        if self.tracks is not None:
            names = {"TRA": "tra", "DET": "det", "LNK": "lnk", "division_f1": "division_f1"}
            for name, key in names.items():
                value = float(getattr(self.tracks, key))
                out[name] = None if math.isnan(value) else value
            out["divisions"] = {
                "tp": self.tracks.divisions_true,
                "fp": self.tracks.divisions_false,
                "fn": self.tracks.divisions_missed,
            }
            out["SEG"] = None if math.isnan(self.seg) else self.seg
        return out

    def table(self) -> Table:
        """The scores as a table for the screen."""
        from rich.table import Table

        caption = f"{self.images} images"
        if self.tracks is not None:
            table = Table("measure", "value", title=f"{self.pred} against {self.truth}")
            data = self.to_json()
            for name in ("TRA", "DET", "LNK", "SEG", "division_f1"):
                value = data[name]
                table.add_row(name, "not defined here" if value is None else f"{value:.4f}")
            counts = self.tracks
            table.add_row(
                "divisions true, false, missed",
                f"{counts.divisions_true}, {counts.divisions_false}, {counts.divisions_missed}",
            )
            table.caption = caption
            return table
        table = Table("IoU", "AP", "F1", "found", "false", "missed")
        table.title = f"{self.pred} against {self.truth}"
        table.caption = f"{caption}; {FORMULA}"
        for one in self.instances:
            counted = (str(one.true), str(one.false), str(one.missed))
            table.add_row(f"{one.iou:g}", f"{one.ap:.4f}", f"{one.f1:.4f}", *counted)
        return table


def score(pred: Path, truth: Path) -> ScoreReport:
    """Compare results with the truth.

    Parameters
    ----------
    pred
        A label image, a folder of them (``<stem>_labels.tif``), or a folder with
        ``res_track.txt``.
    truth
        The same kind: ``<stem>_lab.png`` and other endings are matched by their stem; for tracks a
        folder with ``man_track.txt``, such as ``01_GT`` or ``01_GT/TRA``.

    Raises
    ------
    SettingsError, ModelError
        One sentence, naming the file.
    """
    for path in (pred, truth):
        if not path.exists():
            raise SettingsError(f"{path} does not exist")
    if pred.is_dir() and (pred / TABLE).is_file():
        return _score_tracks(pred, truth)
    if truth.is_dir() and table_of(truth) is not None:
        raise SettingsError(f"{truth} holds tracks, but {pred} has no {TABLE} to compare")
    pairs = _pairs(pred, truth)
    report = ScoreReport(str(pred), str(truth), images=0)

    def images() -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        for found, true in pairs:
            for pair in _frame_pairs(found, true):
                report.images += 1
                yield pair

    report.instances = agreement(images(), LIMITS)
    return report


def _score_tracks(pred: Path, truth: Path) -> ScoreReport:
    table = table_of(truth) if truth.is_dir() else None
    if table is None:
        raise SettingsError(f"{truth} has no man_track.txt; give a folder such as 01_GT")
    folder = table.parent
    with _labels(pred) as masks:
        report = ScoreReport(str(pred), str(truth), images=len(masks))
    report.tracks = track_scores(pred, folder, table)
    seg = folder.parent / "SEG" if folder.name == "TRA" else folder / "SEG"
    if seg.is_dir():
        report.seg = segmentation_accuracy(_seg_pairs(pred, seg))
    return report


def _seg_pairs(pred: Path, seg: Path) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Results and the true frames, of which there may be only some."""
    for file in sorted(seg.glob("man_seg*.tif")):
        number = int(re.sub(r"\D", "", file.stem) or 0)
        mask = pred / f"mask{number:03d}.tif"
        if not mask.is_file():
            raise SettingsError(f"{pred} has no {mask.name} for {file.name}")
        yield from _frame_pairs(mask, file)


def _pairs(pred: Path, truth: Path) -> list[tuple[Path, Path]]:
    if pred.is_file() != truth.is_file():
        raise SettingsError(f"{pred} and {truth}: give two files or two folders")
    if pred.is_file():
        return [(pred, truth)]
    found, true = _by_stem(pred, "_labels"), _by_stem(truth, "")
    missing = sorted(set(true) - set(found))
    if missing or not true:
        what = f"no result for {missing[0]} and {len(missing) - 1} more" if missing else "no truth"
        raise SettingsError(f"{pred} and {truth}: {what}; results are named STEM_labels.tif")
    return [(found[stem], true[stem]) for stem in sorted(true)]


def _by_stem(folder: Path, ending: str) -> dict[str, Path]:
    """Label images by the part of their name that the image has too."""
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in _IMAGES)
    marked = [
        file
        for file in files
        if re.search(r"_(labels?|lab|masks?|gt)$", file.stem) and file.stem.endswith(ending)
    ]
    out: dict[str, Path] = {}
    for file in marked or files:
        stem = file.stem
        while (shorter := _ENDING.sub("", stem)) != stem:
            stem = shorter
        if stem in out:
            raise SettingsError(f"{folder}: {out[stem].name} and {file.name} are of one image")
        out[stem] = file
    return out


def _labels(path: Path) -> Source:
    return list_frames(path, dtypes=LABEL_DTYPES)


def _frame_pairs(pred: Path, truth: Path) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    with _labels(pred) as found, _labels(truth) as true:
        if len(found) != len(true):
            raise SettingsError(f"{pred} has {len(found)} images, {truth} has {len(true)}")
        for index in range(len(true)):
            one, other = found.read(index), true.read(index)
            if one.shape != other.shape:
                raise SettingsError(
                    f"{pred} is {one.shape} and {truth} is {other.shape}; need one size"
                )
            yield np.asarray(one), np.asarray(other)
