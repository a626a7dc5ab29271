"""Scores a classifier on fields whose cells are known, for each level of light.

``python -m models.training.classify.score --model phases --data DIR`` reads every ``*_cells.csv``
below ``DIR``, as `drivers.simulated.fields` writes them with ``--states``. ``--segmenter nuclei``
takes the labels of that network instead of the true ones: a cell then is what it found at an
overlap (intersection over union) of a half or more, and what it did not find is counted.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markdown import Markdown

from models.result import ImageContext
from models.settings import ClassifySettings
from models.tasks.classify import Classifier
from models.tasks.crops import cut_crops, typical_of
from models.tasks.measure import compact, measure
from models.tasks.network import NetworkSegmenter
from models.training.classify.examples import read_table
from models.training.classify.figures import (
    ECE_FORMULA,
    ClassFigures,
    class_figures,
    confusion_table,
)
from models.training.segment.data import read_image

LEAST_SEEN = 0.6
"""Part of a cell that the field must show for its answer to count: of a sliver nobody can tell."""
_OVERLAP = 0.5


def score(
    tables: Iterable[Path], classifier: Classifier, segmenter: NetworkSegmenter | None
) -> tuple[dict[float, ClassFigures], Counter[str]]:
    """Figures for each level of light (photons), and how many cells of each class went unfound."""
    answers: dict[float, list[NDArray[np.float32]]] = defaultdict(list)
    wanted: dict[float, list[int]] = defaultdict(list)
    unfound: Counter[str] = Counter()
    for path in tables:
        stem = path.name.removesuffix("_cells.csv")
        pixels = read_image(path.parent / f"{stem}_img.tif")
        truth = read_image(path.parent / f"{stem}_lab.tif").astype(np.int32)
        names, photons = _whole_cells(path)
        if segmenter is None:
            labels, confidence = compact(truth), np.ones(int(truth.max(initial=0)), np.float32)
        else:
            segmenter.reset()
            labels, confidence = segmenter.segment(pixels)
        objects = measure(labels, pixels, confidence, ImageContext(seq=0, time_s=0.0))
        crops = cut_crops(pixels, labels, objects, typical_of(objects))
        probability = classifier.probabilities(crops)
        for label, name in names.items():
            row = found_as(label, truth, labels)
            if row is None:
                unfound[name] += 1
                continue
            answers[photons].append(probability[row])
            wanted[photons].append(classifier.classes.index(name))
    figures = {
        level: class_figures(np.stack(answers[level]), np.array(wanted[level]), classifier.classes)
        for level in sorted(answers)
    }
    return figures, unfound


def found_as(label: int, truth: NDArray[np.int32], labels: NDArray[np.int32]) -> int | None:
    """Row of the object that covers a true one, None where none overlaps by a half."""
    mask = truth == label
    over = np.bincount(labels[mask], minlength=1)
    over[0] = 0
    best = int(over.argmax())
    if not over[best]:
        return None
    union = mask.sum() + (labels == best).sum() - over[best]
    return best - 1 if over[best] >= _OVERLAP * union else None


def pooled(figures: Sequence[ClassFigures], classes: tuple[str, ...]) -> ClassFigures:
    """Figures of several levels together, each level with the same weight in the bins."""
    confusion = np.sum([one.confusion for one in figures], axis=0)
    bins = np.stack([one.bins for one in figures])
    share = bins[:, :, 0].mean(axis=0)
    rest = (bins[:, :, 1:] * bins[:, :, :1]).mean(axis=0) / np.maximum(share, 1e-12)[:, None]
    return ClassFigures(classes, confusion, np.c_[share, rest])


def _whole_cells(path: Path) -> tuple[dict[int, str], float]:
    """Class of each cell that is not cut short by the border, and the photons of the field."""
    with path.open(encoding="utf-8", newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    cut = {int(row["label"]) for row in rows if float(row.get("seen", 1)) < LEAST_SEEN}
    names = {label: name for label, name in read_table(path).items() if label not in cut}
    return names, float(rows[0].get("photons", "nan")) if rows else float("nan")


def _main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="phases", help="name or ONNX file")
    parser.add_argument("--data", type=Path, required=True, help="folder of fields")
    parser.add_argument("--segmenter", help="take its labels instead of the true ones")
    parser.add_argument("--from-photons", type=float, default=20.0, help="for the last table")
    given = parser.parse_args()
    console = Console()
    tables = sorted(given.data.rglob("*_cells.csv"))
    with ExitStack() as stack:
        classifier = stack.enter_context(Classifier(ClassifySettings(model=given.model)))
        segmenter = None
        if given.segmenter:
            segmenter = stack.enter_context(NetworkSegmenter(given.segmenter))
        figures, unfound = score(tables, classifier, segmenter)
        classes = classifier.classes
    bright = [one for level, one in figures.items() if level >= given.from_photons]
    told = [(f"{level:g} photons a pixel", one) for level, one in figures.items()]
    if bright:
        told.append((f"{given.from_photons:g} photons and more", pooled(bright, classes)))
    for title, one in told:
        console.print(f"\n{title}: balanced accuracy {one.balanced_accuracy:.3f}, expected "
                      f"calibration error {one.calibration_error:.3f}")  # fmt: skip
        console.print(Markdown(confusion_table(one)))
    if given.segmenter:
        told_unfound = ", ".join(f"{name} {count}" for name, count in unfound.items()) or "none"
        console.print(f"\nnot found by {given.segmenter} at half overlap: {told_unfound}")
    console.print(f"\n{ECE_FORMULA}.")


if __name__ == "__main__":
    _main()
