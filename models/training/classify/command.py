"""The work of ``parfocal models train classify``: read, train, calibrate, export, score, card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import yaml
from rich.console import Console
from rich.markdown import Markdown

from models.settings import ClassifySettings
from models.tasks.classify import Classifier
from models.tasks.crops import CHANNELS, CONTEXT, CROP_PX, REACH, Crops
from models.training.classify.augment import plain
from models.training.classify.cards import CARD, OWN_ABOUT
from models.training.classify.confusion import save_confusion, save_reliability
from models.training.classify.examples import Examples, read_examples
from models.training.classify.figures import (
    ECE_FORMULA,
    ClassFigures,
    class_figures,
    confusion_table,
    crossfitted,
    fit_temperature,
)
from models.training.classify.net import ClassNet, CropsToProbabilities, without_norm
from models.training.classify.train import (
    TrainClassifySettings,
    held_out_logits,
    load_classnet,
    train,
)
from models.training.onnxfile import write_onnx
from models.training.segment.net import count_weights


def train_and_export(settings: TrainClassifySettings, *, export_only: bool = False) -> Path:
    """Train, or go on, and write ``NAME.onnx``, its card and pictures; show the figures.

    Parameters
    ----------
    settings
        Of the training.
    export_only
        Take the checkpoint in ``settings.out`` as it is.

    Returns
    -------
    Path
        The ONNX file.
    """
    examples = read_examples(settings.data, settings.classes)
    console = Console()
    for name, used, held in examples.counts():
        console.print(f"{name}: {used} to train on, {held} held out", markup=False)
    checkpoint = settings.out / "checkpoint.pt" if export_only else train(settings, examples)
    return export_and_score(settings, checkpoint, examples)


def export_and_score(
    settings: TrainClassifySettings, checkpoint: Path, examples: Examples, about: str = OWN_ABOUT
) -> Path:
    """Write weights, card and pictures from a checkpoint; show the figures.

    ``about`` goes into the card between what it was trained on and the figures.
    """
    net, classes, minutes = load_classnet(checkpoint)
    logits, wanted = (each.numpy() for each in held_out_logits(net, examples))
    temperature = fit_temperature(logits, wanted)
    figures = class_figures(crossfitted(logits, wanted), wanted, classes)
    path = export_classifier(net, settings.out / f"{settings.name}.onnx", temperature)
    front = {
        "name": settings.name,
        "task": "classify",
        "summary": f"sorts objects into {', '.join(classes[:-1])} and {classes[-1]}",
        "classes": list(classes),
        "crop_px": CROP_PX,
        "licence": "BSD-3-Clause",
    }
    text = CARD.format(
        crop=CROP_PX, count=len(classes), reach=REACH, weights=count_weights(without_norm(net)),
        temperature=temperature, trained=_trained_on(examples), minutes=minutes, about=about,
        accuracy=figures.balanced_accuracy, error=figures.calibration_error,
        held=figures.objects, table=confusion_table(figures), formula=ECE_FORMULA,
    )  # fmt: skip
    head = yaml.safe_dump(front, sort_keys=False, width=95, allow_unicode=True)
    path.with_suffix(".md").write_text(f"---\n{head}---\n{text}", encoding="utf-8")
    check_export(path, net, temperature, examples)
    _show(settings, figures)
    return path


def export_classifier(net: ClassNet, path: Path, temperature: float) -> Path:
    """Write ``path``: inputs ``windows`` and ``context``, output ``probability``, any number."""
    graph = CropsToProbabilities(net, temperature).eval()
    example = torch.rand(4, len(CHANNELS), CROP_PX, CROP_PX), torch.rand(4, len(CONTEXT))
    many = torch.export.Dim("n", min=1, max=1 << 16)
    names = ("windows", "context"), ("probability",)
    return write_onnx(graph, path, example, ({0: many}, {0: many}), *names)


def check_export(path: Path, net: ClassNet, temperature: float, examples: Examples) -> None:
    """Run some held-out examples through the file as the pipeline does.

    Raises
    ------
    AssertionError
        When the file does not answer as the network does; a fault of the export.
    """
    some = np.flatnonzero(examples.held_out)[:64]
    windows, context, _ = plain(examples, some)
    with torch.no_grad():
        wanted = CropsToProbabilities(net, temperature)(windows, context).numpy()
    with Classifier(ClassifySettings(model=str(path))) as classifier:
        found = classifier.probabilities(Crops(windows.numpy(), context.numpy()))
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def _trained_on(examples: Examples) -> str:
    return "\n".join(
        f"- {name}: {used} examples, and {held} held out." for name, used, held in examples.counts()
    )


def _show(settings: TrainClassifySettings, figures: ClassFigures) -> None:
    save_confusion(figures, settings.out / "confusion.png", f"{settings.name}: held-out examples")
    save_reliability(
        figures, settings.out / "reliability.png", f"{settings.name}: held-out examples"
    )
    console = Console()
    console.print(Markdown(confusion_table(figures)))
    console.print(
        f"Balanced accuracy {figures.balanced_accuracy:.3f}, expected calibration error "
        f"{figures.calibration_error:.3f} on {figures.objects} held-out objects."
    )
