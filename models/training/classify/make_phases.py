"""Makes the shipped network ``phases``: interphase, mitotic or dead.

``python -m models.training.classify.make_phases --data DIR --test DIR --out DIR`` trains on drawn
fields, scores on others, and writes weights with their card. Draw both with
``python -m drivers.simulated.fields --states``, the test ones with other seeds, and a folder for
each of several ``--photons``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from models.settings import ClassifySettings
from models.tasks.classify import Classifier
from models.training.classify.cards import PHASES_ABOUT
from models.training.classify.command import export_and_score
from models.training.classify.examples import read_examples
from models.training.classify.figures import ClassFigures
from models.training.classify.score import pooled, score
from models.training.classify.train import TrainClassifySettings, train

CLASSES = ("interphase", "mitotic", "dead")


def _levels(figures: dict[float, ClassFigures]) -> str:
    rows = [
        "| photons a pixel | objects | balanced accuracy | interphase | mitotic | dead | ECE |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    told = [(f"{level:g}", one) for level, one in figures.items()]
    told.append(("20 and more", pooled([one for at, one in figures.items() if at >= 20], CLASSES)))
    for name, one in told:
        recall = " | ".join(f"{value:.3f}" for value in one.recall)
        rows.append(
            f"| {name} | {one.objects} | **{one.balanced_accuracy:.3f}** | {recall} | "
            f"{one.calibration_error:.3f} |"
        )
    return "\n".join(rows)


def _main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="fields to train on")
    parser.add_argument("--test", type=Path, required=True, help="folders of fields to score on")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0)
    given = parser.parse_args()
    settings = TrainClassifySettings(
        data=given.data, out=given.out, name="phases", classes=CLASSES, anew=True,
        minutes=given.minutes,
    )  # fmt: skip
    examples = read_examples(settings.data, settings.classes)
    checkpoint = train(settings, examples)
    about = PHASES_ABOUT.replace("{levels}", "not scored yet")
    # the scorer reads the card, so there is one before there are figures
    path = export_and_score(settings, checkpoint, examples, about)
    with Classifier(ClassifySettings(model=str(path))) as classifier:
        figures, _ = score(sorted(given.test.rglob("*_cells.csv")), classifier, None)
    about = PHASES_ABOUT.replace("{levels}", _levels(figures))
    export_and_score(settings, checkpoint, examples, about)


if __name__ == "__main__":
    _main()
