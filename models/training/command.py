"""The command ``parfocal models train segment``: train, export, score, write the card."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import pydantic
from rich.console import Console
from rich.markdown import Markdown

from models.errors import ModelError, PipelineError
from models.training.calibrate import calibrate, describe, foreign_pairs
from models.training.cards import TEXTS
from models.training.checkpoint import load_checkpoint, load_net
from models.training.evaluate import PartScore, evaluate, table, write_card
from models.training.export import export_onnx
from models.training.net import STRIDE, count_weights
from models.training.tasks import TASKS, task_named
from models.training.train_segment import TrainSegmentSettings, train


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="parfocal models train segment",
        description="Train a segmentation network, export it, and score it on held-out images.",
    )
    defaults = TrainSegmentSettings(data=Path(), out=Path())
    parser.add_argument("--task", choices=list(TASKS), default=defaults.task)
    parser.add_argument("--data", type=Path, required=True, help="folder with seg/ and track/")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint, curve and weights")
    parser.add_argument("--minutes", type=float, default=defaults.minutes, help="in all")
    parser.add_argument("--threads", type=int, default=defaults.threads)
    parser.add_argument("--device", choices=("cpu", "cuda"), default=defaults.device)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument(
        "--also-train", action="append", default=[], metavar="PART", help="a held-out part"
    )
    parser.add_argument("--low-precision", action="store_true", help="bfloat16 while training")
    parser.add_argument(
        "--export-only", action="store_true", help="export and score the checkpoint as it is"
    )
    return parser


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


def run(argv: list[str]) -> int:
    """Run the command; returns the exit status, 2 for settings that cannot work."""
    given = vars(_parser().parse_args(argv))
    export_only = given.pop("export_only")
    try:
        settings = TrainSegmentSettings.model_validate(given)
        if not export_only:
            train(settings)
        path = export_and_score(settings)
    except pydantic.ValidationError as error:
        error_text = "; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors())
        print(f"settings: {error_text}", file=sys.stderr)  # noqa: T201
        return 2
    except (ModelError, PipelineError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    Console().print(f"weights: {path}")
    return 0
