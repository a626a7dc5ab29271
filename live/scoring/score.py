"""How good results are: label images against true ones, or a tracked movie against true tracks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from drivers import SettingsError, list_frames
from live.scoring.files import LABEL_DTYPES, Case, Pair, find_pairs, label_pairs, listed
from live.tracks.ctc import TABLE, table_of
from models.scoring import (
    FORMULA,
    Agreement,
    TrackComparison,
    TrackScores,
    compare_tracks,
    segmentation_accuracy,
)
from models.scoring.instances import TOUCHES, InstanceScores, compare, pooled

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

T = TypeVar("T")

WORST: Final = 5
"""Images that the screen lists."""
DEFINITIONS: Final = {
    "ap": "TP / (TP + FP + FN)",
    "precision": "TP / (TP + FP)",
    "recall": "TP / (TP + FN)",
    "f1": "2 TP / (2 TP + FP + FN)",
    "mean_iou": "mean intersection over union of the matched pairs (SQ)",
    "pq": "SQ x RQ, RQ = F1 (Kirillov et al., CVPR 2019)",
    "split": f"true objects with an IoU above {TOUCHES} with several predicted ones "
    "(Caicedo et al., Cytometry A 2019)",
    "merged": f"predicted objects with an IoU above {TOUCHES} with several true ones",
}


@dataclass(frozen=True, slots=True)
class CaseScore:
    """Scores of one image."""

    case: Case
    scores: InstanceScores


@dataclass(slots=True)
class ScoreReport:
    """Scores of one comparison."""

    pred: str
    truth: str
    images: int
    instances: list[Agreement] = field(default_factory=list)
    """Pooled over images, one for each limit of overlap."""
    split: int = 0
    merged: int = 0
    cases: list[CaseScore] = field(default_factory=list)
    """Each image by itself, in order of name."""
    notes: list[str] = field(default_factory=list)
    """What is good to know, one sentence each."""
    compared: TrackComparison | None = None
    """Of tracks: scores, and where the errors are."""
    seg: float = math.nan
    """SEG of the Cell Tracking Challenge; NaN where there is no truth for it."""

    @property
    def tracks(self) -> TrackScores | None:
        """Scores of tracks; None for label images."""
        return None if self.compared is None else self.compared.scores

    @property
    def pooled(self) -> InstanceScores:
        """Counts of all images together."""
        return InstanceScores(tuple(self.instances), self.split, self.merged)

    def worst(self, count: int) -> list[CaseScore]:
        """Images with the lowest AP at the first limit; of equals, those with more errors."""

        def merit(one: CaseScore) -> tuple[float, int]:
            first = one.scores.at[0]
            return first.ap, -(first.false + first.missed)

        return sorted(self.cases, key=merit)[:count]

    def to_json(self) -> dict[str, Any]:
        """Plain values; what could not be computed is null."""
        out: dict[str, Any] = {"pred": self.pred, "truth": self.truth, "images": self.images}
        if self.instances:
            out["formula"] = FORMULA
            out["definitions"] = dict(DEFINITIONS)
            out.update(_values(self.pooled))
            out["per_image"] = [{"image": c.case.name, **_values(c.scores)} for c in self.cases]
        if self.tracks is not None:
            for name in ("TRA", "DET", "LNK", "division_f1", "division_f1_within_1"):
                value = float(getattr(self.tracks, name.lower()))
                out[name] = None if math.isnan(value) else value
            out["divisions"] = {
                "tp": self.tracks.divisions_true,
                "fp": self.tracks.divisions_false,
                "fn": self.tracks.divisions_missed,
                "other_daughters": self.tracks.divisions_other,
            }
            out["links"] = {
                "tp": self.tracks.links_true,
                "fp": self.tracks.links_false,
                "fn": self.tracks.links_missed,
                "other_kind": self.tracks.links_other,
            }
            out["track_objects"] = {
                "fp": self.tracks.objects_false,
                "fn": self.tracks.objects_missed,
                "merged": self.tracks.objects_merged,
            }
            out["SEG"] = None if math.isnan(self.seg) else self.seg
        out["notes"] = list(self.notes)
        return out

    def table(self) -> Table:
        """The scores as a table for the screen."""
        from rich.table import Table

        if self.tracks is not None:
            table = Table("measure", "value", title=f"{self.pred} against {self.truth}")
            data = self.to_json()
            for name in ("TRA", "DET", "LNK", "SEG", "division_f1", "division_f1_within_1"):
                value = data[name]
                shown = name.replace("_within_1", ", a frame more or less")
                table.add_row(shown, "not defined here" if value is None else f"{value:.4f}")
            counts = self.tracks
            for what in ("divisions", "links"):
                numbers = (getattr(counts, f"{what}_{how}") for how in ("true", "false", "missed"))
                table.add_row(f"{what} true, false, missed", ", ".join(map(str, numbers)))
            table.add_row("divisions with other daughters", str(counts.divisions_other))
            table.add_row("links of another kind", str(counts.links_other))
            table.caption = f"{self.images} images"
            return table
        table = _table("IoU", "AP", "precision", "recall", "F1", "PQ", "mean IoU")
        for name in ("found", "false", "missed"):
            table.add_column(name, justify="right")
        table.title = f"{self.pred} against {self.truth}"
        table.caption = (
            f"{_images(self.images)}; {FORMULA}; {self.split} split, {self.merged} merged "
            f"(IoU above {TOUCHES} with several)"
        )
        for one in self.instances:
            rates = (one.precision, one.recall, one.f1, one.panoptic, one.mean_iou)
            table.add_row(
                f"{one.iou:g}", f"{one.ap:.4f}", *(_rate(value) for value in rates),
                *(str(count) for count in (one.true, one.false, one.missed)),
            )  # fmt: skip
        return table

    def worst_table(self) -> Table | None:
        """The images with the lowest AP; None where there are too few to choose from."""
        if len(self.cases) < 2:
            return None
        first = self.instances[0].iou
        table = _table("image", f"AP@{first:g}", "AP@0.75")
        for name in ("found", "false", "missed", "split", "merged"):
            table.add_column(name, justify="right")
        table.columns[0].justify = "left"
        shown = self.worst(WORST)
        table.title = f"the {len(shown)} worst of {_images(self.images)}"
        for one in shown:
            at = {a.iou: a for a in one.scores.at}
            lowest = at[first]
            table.add_row(
                one.case.name, f"{lowest.ap:.3f}", f"{at[0.75].ap:.3f}",
                *(str(n) for n in (lowest.true, lowest.false, lowest.missed)),
                str(one.scores.split), str(one.scores.merged),
            )  # fmt: skip
        return table


def score(pred: Path, truth: Path, *, console: Console | None = None) -> ScoreReport:
    """Compare results with the truth.

    Parameters
    ----------
    pred
        A label image, a stack of them, the OME-Zarr of labels, a folder of label images
        (``<stem>_labels.tif``), or a folder with ``res_track.txt``.
    truth
        The same kind: ``<stem>_lab.png`` and other endings are matched by their stem; for tracks a
        folder with ``man_track.txt``, such as ``01_GT`` or ``01_GT/TRA``.
    console
        Where a progress bar is drawn; None: nowhere.

    Raises
    ------
    SettingsError, ModelError
        One sentence, naming the file.
    """
    for path in (pred, truth):
        if not path.exists():
            raise SettingsError(f"{path} does not exist")
    if holds_tracks(pred):
        return _score_tracks(pred, truth)
    if truth.is_dir() and table_of(truth) is not None:
        raise SettingsError(f"{truth} holds tracks, but {pred} has no {TABLE} to compare")
    found = find_pairs(pred, truth)
    report = ScoreReport(str(pred), str(truth), images=0)
    single = 0
    for pair in with_progress(found.pairs, "Comparing", console):
        for case, one, other in label_pairs(pair):
            report.cases.append(CaseScore(case, compare(one, other)))
            single += _is_mask(one) or _is_mask(other)
    report.images = len(report.cases)
    total = pooled(one.scores for one in report.cases)
    report.instances = list(total.at)
    report.split, report.merged = total.split, total.merged
    if found.without_truth:
        report.notes.append(
            f"{len(found.without_truth)} results have no truth and were left out: "
            f"{listed(found.without_truth)}"
        )
    if single:
        report.notes.append(
            f"{_images(single)} with one number for several separate objects: a mask of "
            "foreground is counted as one object; give each its own number"
        )
    return report


def holds_tracks(pred: Path) -> bool:
    """Whether results at ``pred`` are scored as tracks, not as label images."""
    return (pred / TABLE).is_file()


def with_progress(items: Sequence[T], what: str, console: Console | None) -> Iterator[T]:
    """The items of a sequence, with a progress bar where someone watches."""
    if console is None or not console.is_terminal or len(items) < 2:
        yield from items
        return
    from rich.progress import track

    yield from track(items, description=what, console=console)


def _values(scores: InstanceScores) -> dict[str, Any]:
    """Scores as plain values, those of each limit under its number."""
    rates: dict[str, Any] = {
        name: {f"{one.iou:g}": _rounded(getattr(one, name)) for one in scores.at}
        for name in ("ap", "f1", "precision", "recall", "mean_iou")
    }
    first = scores.at[0]
    return rates | {
        "pq": _rounded(first.panoptic),
        "pq_at": {f"{one.iou:g}": _rounded(one.panoptic) for one in scores.at},
        "counts": {
            f"{one.iou:g}": {"tp": one.true, "fp": one.false, "fn": one.missed} for one in scores.at
        },
        "objects": {"true": first.true + first.missed, "predicted": first.true + first.false},
        "split": scores.split,
        "merged": scores.merged,
    }


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def _rate(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _images(count: int) -> str:
    return f"{count} image" if count == 1 else f"{count} images"


def _table(*names: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), title_justify="left")
    for name in names:
        table.add_column(name, justify="right")
    return table


def _is_mask(labels: NDArray[Any]) -> bool:
    """Whether the only number lies in several pieces of some size."""
    top = int(labels.max(initial=0))
    if top == 0 or not ((labels == 0) | (labels == top)).all():
        return False
    import mahotas

    pieces, _ = mahotas.label(labels > 0)
    # specks of a few pixels are loose ends of one object, not objects
    return int(np.count_nonzero(np.bincount(pieces.ravel())[1:] >= 16)) > 1


def _score_tracks(pred: Path, truth: Path) -> ScoreReport:
    table = table_of(truth) if truth.is_dir() else None
    if table is None:
        raise SettingsError(f"{truth} has no man_track.txt; give a folder such as 01_GT")
    folder = table.parent
    with list_frames(pred, dtypes=LABEL_DTYPES) as masks:
        report = ScoreReport(str(pred), str(truth), images=len(masks))
    report.compared = compare_tracks(pred, folder, table)
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
        for _, found, true in label_pairs(Pair(file.stem, mask, file)):
            yield found, true
