"""The command ``parfocal models train segment``: train, export, score, write the card."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from models.errors import ModelError
from models.training.segment.calibrate import calibrate, describe, foreign_pairs
from models.training.segment.cards import TEXTS
from models.training.segment.checkpoint import load_checkpoint, load_net
from models.training.segment.evaluate import PartScore, evaluate, table, write_card
from models.training.segment.export import export_onnx
from models.training.segment.net import STRIDE, count_weights
from models.training.segment.tasks import task_named
from models.training.segment.train import TrainSegmentSettings


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
    path = export_onnx(net, settings.out / f"{settings.task}.onnx", task.grouping)
    diameter_px = task.diameter_px
    front: dict[str, str | float | int] = {
        "name": settings.task,
        "task": "segment",
        "summary": task.summary,
        "diameter_px": diameter_px,
        "pixel_multiple": STRIDE,
        "licence": "BSD-3-Clause",
    }
    if task.sure_centre:
        front["sure_centre"] = task.sure_centre
    text = TEXTS[settings.task].format(
        multiple=STRIDE,
        diameter=diameter_px,
        weights=count_weights(net),
        minutes=round(float(state["spent_s"]) / 60, 1),
    )
    # the scorer reads the card, so there is one before there are figures
    write_card(path.with_suffix(".md"), front, text, [])
    pairs = [p for p in task.pairs(settings.data) if p.split not in settings.also_train]
    scores = evaluate(str(path), pairs, task.polarity)
    write_card(path.with_suffix(".md"), front, text + _before(settings, scores), scores)
    Console().print(Markdown(table(scores)))
    if trust:
        others = foreign_pairs(task.name, settings.data)
        figures = calibrate(str(path), pairs, others, task.augment)
        Console().print(Markdown(describe(figures)))
    return path


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
