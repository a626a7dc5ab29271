"""Fit what a model's card says of trust, and show how far it holds on images not trained on.

``python -m models.training.segment.calibrate --model nuclei --data FOLDER [--picture FILE]`` writes
``calibration`` and ``limits`` into the card and a section of figures. Run it after each training.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markdown import Markdown

from models.catalog import weights_path
from models.errors import ModelError
from models.tasks.calibration import calibrated
from models.tasks.network import NetworkSegmenter
from models.tasks.strangeness import Limits, Strangeness, judge
from models.training.cardfile import with_front, with_section, write_card_text
from models.training.phase.pairs import c2c12_pairs
from models.training.reliability import Reliability, auroc, reliability, save_reliability
from models.training.segment.augment import Augment
from models.training.segment.data import Pair, nuclei_pairs
from models.training.segment.foreign import foreign_images
from models.training.segment.tasks import task_named
from models.training.segment.trustfit import (
    Observed,
    fit_calibration,
    limits_from,
    observe,
    observe_other_days,
    observe_pairs,
)

SECTION = "Trust"


@dataclass(frozen=True, slots=True)
class TrustFigures:
    """How far confidence, uncertainty and the flag can be relied on, on held-out images."""

    objects: int
    before: Reliability
    """Of the mean probability."""
    after: Reliability
    """Of the calibrated confidence."""
    brier: tuple[float, float]
    """Mean squared error of both, before and after."""
    auroc_half: float
    """Of uncertainty, for objects wrong at IoU 0.5."""
    auroc_strict: float
    """At IoU 0.75."""
    flagged: dict[str, tuple[int, int]]
    """Kind of image -> flagged, looked at."""
    reasons: dict[str, str]
    """Kind of image -> the measure that most often raised the flag."""


def calibrate(
    model: str,
    pairs: Sequence[Pair],
    others: Iterable[Pair] = (),
    augment: Augment | None = None,
) -> TrustFigures:
    """Fit calibration and limits of a model, write them into its card, and give the figures.

    Parameters
    ----------
    model
        Name of shipped weights or path of an ONNX file.
    pairs
        Images with truth: limits are fitted to ``train``, confidence to the other parts, in
        halves that score each other.
    others
        Images of kinds that the model was not made for.
    augment
        How it was trained, see `models.training.segment.trustfit.fit_limits`.

    Raises
    ------
    ModelError
        When the model cannot be run or there is too little to fit to.
    """
    path = weights_path(model)
    card = path.with_suffix(".md")
    with TemporaryDirectory() as folder:
        # a copy that is not calibrated yet, so that what is measured is the network's own
        bare = Path(folder) / path.name
        shutil.copyfile(path, bare)
        text = card.read_text(encoding="utf-8")
        plain = with_front(text, {"calibration": None, "limits": None})
        bare.with_suffix(".md").write_text(plain, encoding="utf-8")
        with NetworkSegmenter(str(bare)) as segmenter:
            known = [p for p in pairs if p.split == "train"]
            trained = observe_pairs(segmenter, known)
            other_days = observe_other_days(segmenter, known, augment)
            limits = limits_from([*trained, *other_days], len(known))
            held = [p for p in pairs if p.split != "train"]
            seen = observe_pairs(segmenter, held)
            strange = [observe(segmenter, k, im) for k, im in foreign_images(held[::3])]
            strange += [observe(segmenter, p.group, p.image) for p in others]
    figures = _figures(seen, strange, limits)
    numbers = fit_calibration(seen or trained)
    # read again: fitting takes minutes, in which somebody may have written in the card
    text = with_front(card.read_text(encoding="utf-8"), {"calibration": numbers, "limits": limits})
    write_card_text(card, with_section(text, SECTION, describe(figures)))
    return figures


def _figures(seen: list[Observed], strange: list[Observed], limits: Limits) -> TrustFigures:
    """Figures on held-out images; confidence by numbers that were fitted to the other half."""
    halves = [fit_calibration(seen[1::2]), fit_calibration(seen[::2])]
    stated = [calibrated(s.probability, s.area, halves[k % 2]) for k, s in enumerate(seen)]
    iou = _joined(one.iou for one in seen)
    mean, confidence = _joined(one.probability for one in seen), _joined(stated)
    doubt = 1 - confidence * _joined(one.flipped for one in seen)
    verdicts: dict[str, list[Strangeness]] = defaultdict(list)
    for one in [*seen, *strange]:
        verdicts[one.kind].append(judge(one.measures, limits))
    return TrustFigures(
        len(iou),
        reliability(mean, iou >= 0.5),
        reliability(confidence, iou >= 0.5),
        (_brier(mean, iou >= 0.5), _brier(confidence, iou >= 0.5)),
        auroc(doubt, iou < 0.5),
        auroc(doubt, iou < 0.75),
        {kind: (sum(v.value > 1 for v in vs), len(vs)) for kind, vs in verdicts.items()},
        {kind: _usual_reason(vs) for kind, vs in verdicts.items()},
    )


def _brier(stated: NDArray[np.floating], right: NDArray[np.bool_]) -> float:
    return float(np.mean((stated - right) ** 2)) if stated.size else 0.0


def _joined(parts: Iterable[NDArray[np.floating]]) -> NDArray[np.float64]:
    return np.concatenate([np.zeros(0), *parts]).astype(np.float64)


def _usual_reason(verdicts: list[Strangeness]) -> str:
    named = Counter(v.measure or "nothing found" for v in verdicts if v.value > 1)
    return named.most_common(1)[0][0] if named else ""


def _part(value: float) -> str:
    """A share in words; there is none of pairs where no object is wrong, or none right."""
    return "none" if math.isnan(value) else f"{value:.1%}"


def describe(figures: TrustFigures) -> str:
    """The section of the card: figures in Markdown."""
    flags = "\n".join(
        f"| {kind} | {n} | {flagged / n:.0%} | {figures.reasons[kind]} |"
        for kind, (flagged, n) in figures.flagged.items()
    )
    return f"""
Measured on {figures.objects} objects of the held-out images. The limits of what is known were
fitted to training images; confidence to the held-out ones, of which each half was measured with
what was fitted to the other half.

- Confidence is the probability that an object matches a true one at an overlap (IoU) of 0.5.
  Expected calibration error (ten equal bins): {figures.after.error:.3f};
  {figures.before.error:.3f} for the mean foreground probability as it is. Mean squared error
  {figures.brier[1]:.4f}; {figures.brier[0]:.4f} for the mean probability.
- Uncertainty (1 less confidence times overlap with the labels of the flipped image) ranks wrong
  objects above right ones in {_part(figures.auroc_half)} of pairs (AUROC) at IoU 0.5, and in
  {_part(figures.auroc_strict)} at 0.75.
- Images flagged as unlike those trained on, first the held-out parts, then foreign ones:

| kind | images | flagged | most often for |
| --- | --- | --- | --- |
{flags}
"""


def foreign_pairs(task: str, data: Path, most: int = 30) -> list[Pair]:
    """Real images of the other tasks, where their data are there, by what they show."""
    makers: dict[str, Callable[[Path], list[Pair]]] = {
        "nuclei": nuclei_pairs,
        "bacteria": task_named("bacteria").pairs,
        "cells": c2c12_pairs,
    }
    found = []
    for name, pairs_of in makers.items():
        if name != task:
            pairs = [p for p in pairs_of(data) if p.labels.any()]
            some = pairs[:: math.ceil(len(pairs) / most)]
            found += [Pair(p.name, name, p.image, p.labels, p.diameter_px) for p in some]
    return found


def main(argv: list[str]) -> int:
    """Run the command; returns the exit status, 2 for settings that cannot work."""
    parser = argparse.ArgumentParser(
        prog="python -m models.training.segment.calibrate",
        description="Fit confidence and limits of trust of a model, and write them into its card.",
        epilog="Example: python -m models.training.segment.calibrate --model nuclei --data FOLDER",
    )
    parser.add_argument("--model", required=True, help="name, or path of an ONNX file")
    parser.add_argument("--task", help="whose data; the model's name when left out")
    parser.add_argument("--data", type=Path, required=True, help="folder with seg/ and track/")
    parser.add_argument("--picture", type=Path, help="PNG for the reliability diagram")
    parser.add_argument(
        "--leave-out", action="append", default=[], metavar="PART", help="held out no longer"
    )
    given = parser.parse_args(argv)
    name = given.task or Path(given.model).stem
    try:
        task = task_named(name)
        pairs = [p for p in task.pairs(given.data) if p.split not in given.leave_out]
        others = foreign_pairs(name, given.data)
        figures = calibrate(given.model, pairs, others, task.augment)
    except ModelError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    Console().print(Markdown(describe(figures)))
    if given.picture is not None:
        curves = {"mean probability": figures.before, "calibrated": figures.after}
        title = f"{name}: is an object right at IoU 0.5? {figures.objects} held-out objects"
        save_reliability(curves, given.picture, title)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
