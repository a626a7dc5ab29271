"""What a network is given on real frames, written down to calibrate on, and frames held back.

The frames go through the same stage as in a live run, hot pixels, sizes, tiles, noise and memory
included, so that the network is calibrated on what it will see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.building.quantise import Inputs
from models.catalog import ModelCard
from models.engines import Engine
from models.engines.base import Arrays
from models.engines.wrapper import Wrapper
from models.errors import ModelError
from models.result import ImageContext
from models.settings import ClassifySettings, ThresholdSettings
from models.tasks.classical import ThresholdSegmenter
from models.tasks.classify import Classifier
from models.tasks.crops import Crops, cut_crops, typical_of
from models.tasks.denoiser import NetworkDenoiser
from models.tasks.measure import measure
from models.tasks.network import NetworkSegmenter

Frames = Sequence[NDArray[Any]]
"""Camera counts (y, x) uint8 or uint16, of one place in the order in which they were taken."""

HELD_BACK = 3
"""One frame in so many is not calibrated on: what was built is scored on those."""

MOST_RUNS = 32
"""Runs of the network that are calibrated on; more change the ranges little."""

MOST_BYTES = 256 * 2**20
"""Of what is written down, so that large frames do not fill the memory."""


@dataclass(frozen=True, slots=True)
class Parted:
    """Frames to calibrate on, and frames to score on."""

    calibrate: tuple[NDArray[Any], ...]
    held_back: tuple[NDArray[Any], ...]


def parted(frames: Frames, *, in_order: bool = False) -> Parted:
    """Hold a part of the frames back.

    Parameters
    ----------
    frames
        Two at least.
    in_order
        Hold back the last ones in one piece, as a denoiser needs them; else every third.

    Raises
    ------
    ModelError
        When there are too few, or they are no camera counts.
    """
    for frame in frames:
        if frame.ndim != 2 or frame.dtype not in (np.uint8, np.uint16):
            raise ModelError(
                f"calibration frames are {frame.dtype} {frame.shape}, need (y, x) uint8 or uint16"
            )
    if len(frames) < 2:
        raise ModelError(
            f"got {len(frames)} calibration frame{'s' * (len(frames) != 1)}, need 2 or more: some "
            "are held back to check what was built; a dozen is good"
        )
    if in_order:
        first = len(frames) - max(1, len(frames) // HELD_BACK)
        return Parted(tuple(frames[:first]), tuple(frames[first:]))
    held = range(1, len(frames), HELD_BACK)
    rest = tuple(frame for index, frame in enumerate(frames) if index not in held)
    return Parted(rest, tuple(frames[index] for index in held))


def runs_on(card: ModelCard, frames: Frames) -> list[Inputs]:
    """What the network of a card is given while the frames go through its stage.

    Raises
    ------
    ModelError
        When it was given nothing, as where no object was found to classify.
    """
    seen: list[Inputs] = []
    through(card, frames, listen=seen)
    if not seen:
        raise ModelError(
            f"{card.name} was given nothing on {len(frames)} frames: no object was found on them; "
            "calibrate on frames with objects"
        )
    return seen


def through(
    card: ModelCard,
    frames: Frames,
    *,
    engine: str = "onnxruntime",
    precision: str = "fp32",
    listen: list[Inputs] | None = None,
) -> list[NDArray[Any]]:
    """Put frames through the stage of a card's network.

    Parameters
    ----------
    card
        Of the network; the file beside it runs.
    frames
        Camera counts.
    engine, precision
        See ``models.engines.open_engine``.
    listen
        Filled with what the network was given, up to `MOST_RUNS` runs or `MOST_BYTES`.

    Returns
    -------
    For each frame, of a network to segment the label image (y, x) int32; to denoise the counts
    (y, x) float32; to classify the probabilities (n, classes) float32 of the objects found.
    """
    path = str(card.path)
    found: list[NDArray[Any]] = []
    with ExitStack() as stack:
        if card.task == "segment":
            segmenter = stack.enter_context(NetworkSegmenter(path, engine, 1, precision))
            _listen_in(segmenter, listen)
            found += [segmenter.segment(frame)[0].copy() for frame in frames]
        elif card.task == "denoise":
            denoiser = stack.enter_context(NetworkDenoiser(path, engine, 1, precision))
            _listen_in(denoiser, listen)
            for seq, frame in enumerate(frames):
                exact = denoiser.denoise(frame, ImageContext(seq, float(seq))).exact
                assert exact is not None  # a network gives it always
                found.append(exact.copy())
        else:
            chosen = ClassifySettings.model_validate(
                {"model": path, "engine": engine, "precision": precision}
            )
            classifier = stack.enter_context(Classifier(chosen))
            _listen_in(classifier, listen)
            found += [classifier.probabilities(crops) for crops in map(_crops_of, frames)]
    return found


def _crops_of(pixels: NDArray[Any]) -> Crops:
    """Crops of the objects that stand out, found without a network."""
    labels, confidence = ThresholdSegmenter(ThresholdSettings()).segment(pixels)
    objects = measure(labels, pixels, confidence, ImageContext(0, 0.0))
    return cut_crops(pixels, labels, objects, typical_of(objects))


class _Listening(Wrapper):
    """An engine that writes down what it is given."""

    def __init__(self, engine: Engine, seen: list[Inputs]) -> None:
        self._engine, self._seen, self._bytes = engine, seen, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """The stage closes the engine beneath."""

    def _inner(self) -> Engine:
        return self._engine

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        size = sum(array.nbytes for array in inputs.values())
        if len(self._seen) < MOST_RUNS and self._bytes + size <= MOST_BYTES:
            # what is left out is zeros, see `Engine.run`
            left_out = {
                name: np.zeros([length or 1 for length in shape], np.float32)
                for name, shape in self.shapes.items()
                if name not in inputs
            }
            self._seen.append({k: v.copy() for k, v in {**inputs, **left_out}.items()})
            self._bytes += size
        return self._engine.run(inputs)


def _listen_in(stage: Any, seen: list[Inputs] | None) -> None:
    """Put a listener between an opened stage and its engine."""
    if seen is not None:
        stage._engine = _Listening(stage._engine, seen)
