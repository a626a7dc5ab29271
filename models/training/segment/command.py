"""The command ``parfocal models train segment``: train, export, score, write the card."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from models.errors import ModelError
from models.training.cardfile import write_card_text
from models.training.segment.calibrate import calibrate, describe, foreign_pairs
from models.training.segment.cards import TEXTS
from models.training.segment.checkpoint import load_checkpoint, load_net
from models.training.segment.data import Pair
from models.training.segment.evaluate import PartScore, evaluate, table, write_card
from models.training.segment.export import export_onnx
from models.training.segment.net import STRIDE, count_weights
from models.training.segment.own import has_own
from models.training.segment.tasks import SegmentTask, task_named
from models.training.segment.train import TrainSegmentSettings
from models.training.segment.trustfit import FEWEST


def export_and_score(settings: TrainSegmentSettings, trust: bool = True) -> Path:
    """Write ``<task>.onnx`` and its card from the checkpoint in ``settings.out``; show the score.

    With ``trust`` confidence is calibrated and the limits of the known are fitted, which takes
    minutes.

    Returns
    -------
    Path
        The ONNX file.
    """
    task = task_named(settings.task)
    checkpoint = settings.out / "checkpoint.pt"
    net, state = load_net(checkpoint), load_checkpoint(checkpoint)
    name, own = settings.model_name, has_own(settings.data)
    path = export_onnx(net, settings.out / f"{name}.onnx", task.grouping)
    all_pairs, diameter_px = settings.pairs(), task.diameter_px
    front: dict[str, str | float | int] = {
        "name": name,
        "task": "segment",
        "summary": f"{task.summary}; trained on own images" if own else task.summary,
        "diameter_px": diameter_px,
        "pixel_multiple": STRIDE,
        "licence": "BSD-3-Clause",
    }
    for key in ("sure_centre", "least_confidence"):
        if value := getattr(task, key):
            front[key] = value
    text = TEXTS["own" if own else settings.task].format(
        multiple=STRIDE,
        diameter=diameter_px,
        weights=count_weights(net),
        minutes=round(float(state["spent_s"]) / 60, 1),
        start=settings.start or "nothing",
        task=settings.task,
        trained=sum(p.split == "train" for p in all_pairs),
        held=sum(p.split != "train" for p in all_pairs),
    )
    # the scorer reads the card, so there is one before there are figures
    write_card(path.with_suffix(".md"), front, text, [])
    pairs = [p for p in all_pairs if p.split not in settings.also_train]
    scores = evaluate(str(path), pairs, task.polarity)
    shown = scores
    if own and settings.start:
        before = evaluate(settings.start, pairs, task.polarity)
        shown = [*scores, *(replace(one, part=f"{one.part}, {settings.start}") for one in before)]
    write_card(path.with_suffix(".md"), front, text + _before(settings, scores), shown)
    Console().print(Markdown(table(shown)))
    if own and trust and (few := _too_few(pairs)):
        Console().print(f"Confidence is not calibrated: {few}.")
    elif trust:
        others = [] if own else foreign_pairs(task.name, settings.data)
        figures = calibrate(str(path), pairs, others, task.augment)
        Console().print(Markdown(describe(figures)))
        if task.least_confidence:
            _score_again(path, pairs, task, shown)
    return path


def _score_again(path: Path, pairs: list[Pair], task: SegmentTask, before: list[PartScore]) -> None:
    """Put the scores of the calibrated network into its card: it leaves out what is unlikely."""
    card = path.with_suffix(".md")
    after = table(evaluate(str(path), pairs, task.polarity))
    write_card_text(card, card.read_text(encoding="utf-8").replace(table(before), after))
    Console().print(Markdown(after))


def _too_few(pairs: list[Pair]) -> str:
    """Why trust cannot be fitted to these images; empty when it can."""
    trained = sum(p.split == "train" and bool(p.labels.any()) for p in pairs)
    held = sum(p.split != "train" and bool(p.labels.any()) for p in pairs)
    if trained >= FEWEST and held >= 2:
        return ""
    return (
        f"that needs {FEWEST} labelled images with objects to train on and 2 held out, got "
        f"{trained} and {held}"
    )


def _before(settings: TrainSegmentSettings, scores: list[PartScore]) -> str:
    """Keep the scores beside the weights; what was said of parts that are trained on since."""
    kept = settings.out / "scores.json"
    if not settings.also_train:
        kept.write_text(json.dumps([asdict(score) for score in scores], indent=1), encoding="utf-8")
        return ""
    if not kept.is_file():
        raise ModelError(
            f"{kept} is missing: there are no figures on {', '.join(settings.also_train)}; train "
            "without --also-train first"
        )
    earlier = [PartScore(**score) for score in json.loads(kept.read_text(encoding="utf-8"))]
    parts = [score for score in earlier if score.part in settings.also_train]
    return f"""

## Figures before the last minutes of training

In its last minutes the network was trained on these parts too, so that as many laboratories as
there are go into it. Until then they were held out, and it scored:

{table(parts)}"""
