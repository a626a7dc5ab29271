"""Sorting of objects into classes by a small network on crops around them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.catalog import ModelCard, read_card, weights_path
from models.engines.base import Engine
from models.engines.guarded import CLASSIFIES, guarded
from models.engines.members import engine_for
from models.errors import EngineError, PipelineError
from models.result import EngineInfo
from models.settings import ClassifySettings
from models.tasks.crops import CROP_PX, Crops, cut_crops, typical_of

MOST_AT_ONCE = 256
"""Crops of one run of the network, so that memory is bounded however many objects there are."""
_MULTIPLE = 16
"""Runs are filled up to such a number: an engine prepares itself anew for each that it meets."""


def classifier_card(model: str) -> ModelCard:
    """Card of a network that sorts objects, by name or path of its ONNX file.

    Raises
    ------
    PipelineError
        When there is none, or it is not one that sorts objects as this program does.
    """
    card = read_card(weights_path(model))
    if card.task != "classify":
        raise PipelineError(
            f"classify: {card.name!r} is a network to {card.task}, need one to classify; "
            "`parfocal models list` shows them"
        )
    if len(card.classes) < 2 or card.crop_px != CROP_PX:
        raise PipelineError(
            f"classify: the card of {card.name!r} names {len(card.classes)} classes and crops of "
            f"{card.crop_px} px, need two classes or more and {CROP_PX} px; train it again with "
            "`parfocal models train classify`"
        )
    return card


class Classifier:
    """Sorts the objects of one image. Hold it in a ``with`` block; one thread uses it.

    Outside the block every call raises ``EngineError``.
    """

    def __init__(self, settings: ClassifySettings) -> None:
        self._settings = settings
        self._stack = ExitStack()
        self._card: ModelCard | None = None
        self._engine: Engine | None = None

    def __enter__(self) -> Self:
        """Load the network; raises ``PipelineError`` or ``EngineError`` when it cannot run."""
        chosen = self._settings
        self._card = classifier_card(chosen.model)
        choice = chosen.engine, chosen.precision, chosen.threads
        engine = engine_for(self._card.path, choice, chosen.share, stacked=True)
        self._engine = self._stack.enter_context(guarded(engine, CLASSIFIES))
        return self

    def __exit__(self, *exc: object) -> None:
        """Let the network go. Safe to call twice."""
        self._engine = None
        self._stack.close()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names that class numbers count into; empty before the network was first loaded."""
        return () if self._card is None else self._card.classes

    @property
    def info(self) -> EngineInfo:
        """Which engine runs it."""
        return self._opened().info

    def classify(
        self, pixels: NDArray[Any], labels: NDArray[np.int32], objects: NDArray[np.void]
    ) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
        """Most probable class of every object of one image, and how probable it is.

        Parameters
        ----------
        pixels
            (y, x) camera counts.
        labels
            (y, x), 0 is background.
        objects
            (n,) of ``OBJECT_DTYPE``: the measured objects of ``labels``, all of them, because how
            large and bright an object is among the others counts.

        Returns
        -------
        class_id
            (n,) int16, place in ``classes``.
        probability
            (n,) float32, 0 to 1.
        """
        self._opened()
        class_id = np.zeros(len(objects), np.int16)
        probability = np.zeros(len(objects), np.float32)
        typical = typical_of(objects)
        for start in range(0, len(objects), MOST_AT_ONCE):
            part = slice(start, start + MOST_AT_ONCE)
            found = self.probabilities(cut_crops(pixels, labels, objects[part], typical))
            class_id[part] = found.argmax(axis=1)
            probability[part] = found.max(axis=1)
        return class_id, probability

    def probabilities(self, crops: Crops) -> NDArray[np.float32]:
        """(n, classes) float32, each row adding up to 1, of crops from `cut_crops`."""
        engine, n = self._opened(), len(crops)
        found = np.zeros((n, len(self.classes)), np.float32)
        for start in range(0, n, MOST_AT_ONCE):
            windows = crops.windows[start : start + MOST_AT_ONCE]
            context = crops.context[start : start + MOST_AT_ONCE]
            used = len(windows)
            filling = -used % _MULTIPLE
            answer = engine.run(
                {
                    "windows": np.pad(windows, ((0, filling), (0, 0), (0, 0), (0, 0))),
                    "context": np.pad(context, ((0, filling), (0, 0))),
                }
            )["probability"]
            if answer.shape[1:] != (len(self.classes),):
                raise EngineError(
                    f"{engine.info.model} gives {answer.shape[1:]} probabilities an object, its "
                    f"card names {len(self.classes)} classes; put the card that belongs to it back"
                )
            found[start : start + used] = answer[:used]
        return found

    def _opened(self) -> Engine:
        if self._engine is None:
            raise EngineError("the classifier is not open; use it inside a `with` block")
        return self._engine
