"""Segmentation by a trained network that goes from camera counts to a label image by itself.

Beside the network there is one thing to do: bring objects to the size that it was trained on. The
size is found from the image: label once, measure, and label again where it is off by more than 30
per cent. It is remembered from image to image, so in a live movie it is paid for once.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.catalog import ModelCard, read_card, weights_path
from models.engines import Engine, open_engine
from models.errors import EngineError, ImageError, PipelineError
from models.result import EngineInfo
from models.tasks.resize import pad_to_multiple, resize_image, resize_labels

Segmented = tuple[NDArray[np.int32], NDArray[np.float32]]

SIZE_TOLERANCE = 1.3
"""Objects within this factor of the trained diameter are labelled as they are."""

SCALE_LIMITS = (0.2, 4.0)

MAX_PIXELS = 4096 * 4096
"""Most pixels the network takes at once: the graph numbers them in float32, exact up to 2**24."""

MAX_TRIES = 3
"""Runs on one image, at most, to find the scale."""

SMALLEST = 0.1
"""Objects below this fraction of the median area are left out as debris."""

SMALLEST_PX = 12
"""Nor is anything an object, at the network's scale, that has fewer pixels than this."""

FRAGMENT = 0.15
"""Objects below this fraction of the bulk's area say nothing about size."""

ENOUGH_OBJECTS = 3
"""Fewer objects than this are no measure of size."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What the network found at one scale."""

    scale: float
    labels: NDArray[np.int32]
    """At the network's scale, with gaps in the numbers."""
    area: NDArray[np.int64]
    """Pixels of each label, [0] the background."""
    confidence: NDArray[np.float64]
    """Mean probability in each label."""

    def misfit(self, trained_px: float) -> float:
        """Factor by which objects must grow to be as large as those trained on; 1 if unknown.

        Size is the median area, as in training; specks and fragments, of which there can be many,
        are left out of it by the area of the object which half the labelled pixels lie below.
        """
        area = np.sort(self.area[1:][self.area[1:] >= SMALLEST_PX])
        if trained_px <= 0 or len(area) < ENOUGH_OBJECTS:
            return 1.0
        total = np.cumsum(area)
        bulk = area[np.searchsorted(total, total[-1] / 2)]
        middle = float(np.median(area[area >= FRAGMENT * bulk]))
        return trained_px / (2 * math.sqrt(middle / math.pi))


class NetworkSegmenter:
    """Finds objects with a trained network. Hold it in a ``with`` block; one thread uses it.

    Parameters
    ----------
    model
        Name of shipped weights, or path of an ONNX file with a model card beside it.
    engine
        ``onnxruntime``, ``openvino``, or ``auto`` (see ``models.engines.open_engine``).
    threads
        Threads of one run.
    precision
        ``fp32``, or what else the engine knows.

    Raises
    ------
    PipelineError
        When there is no such model, or it is not one for segmentation.
    """

    def __init__(
        self,
        model: str,
        engine: str = "onnxruntime",
        threads: int = 1,
        precision: str = "fp32",
    ) -> None:
        self._card: ModelCard = read_card(weights_path(model))
        if self._card.task != "segment":
            raise PipelineError(
                f"model {model!r} is for {self._card.task}; need one for segmentation"
            )
        self._choice = (engine, precision, threads)
        self._engine: Engine | None = None
        self._stack = ExitStack()
        self._scale = 1.0

    def __enter__(self) -> Self:
        """Load the network; raises ``EngineError`` when it would not run as asked."""
        self._engine = self._stack.enter_context(open_engine(self._card.path, *self._choice))
        self.reset()
        return self

    def __exit__(self, *exc: object) -> None:
        """Let the network go. Safe to call twice."""
        self._engine = None
        self._stack.close()

    @property
    def info(self) -> EngineInfo:
        """What really runs."""
        return self._opened().info

    @property
    def scale(self) -> float:
        """Scale at which the next image will first be looked at; 1 is as the camera gave it."""
        return self._scale

    def reset(self) -> None:
        """Forget the size of objects: the next image is not of the same sample."""
        self._scale = 1.0

    def warm_up(self, shape: tuple[int, int], dtype: str) -> EngineInfo:
        """Run once on an empty image of this shape, remember nothing, say what really ran."""
        self._look(_checked(np.zeros(shape, dtype=dtype)), 1.0)
        return self.info

    def segment(self, pixels: NDArray[Any]) -> Segmented:
        """Label an image; blocks until done.

        Parameters
        ----------
        pixels
            (y, x) uint8 or uint16 camera counts; not written to.

        Returns
        -------
        labels
            (y, x) int32, 0 is background, objects 1..n without gaps; the caller's own.
        confidence
            (n,) float32, mean foreground probability inside each object.

        Raises
        ------
        ImageError
            When the image is not (y, x) uint8 or uint16.
        EngineError
            Outside the ``with`` block, or when the engine fails.
        """
        best = self._fitted(_checked(pixels))
        self._scale = best.scale
        return _finished(best, (pixels.shape[0], pixels.shape[1]))

    def _fitted(self, pixels: NDArray[Any]) -> _Look:
        """Look at the remembered scale, then, while objects are of another size, at theirs."""
        trained = self._card.diameter_px
        looks: list[_Look] = []
        scale = _within(self._scale, pixels.shape)
        for _ in range(MAX_TRIES):
            looks.append(self._look(pixels, scale))
            misfit = looks[-1].misfit(trained)
            wanted = _within(scale * misfit, pixels.shape)
            if max(wanted / scale, scale / wanted) <= SIZE_TOLERANCE:
                break
            scale = wanted
        # where no scale fits, the nearest is taken, so that the next image starts from there too
        return min(looks, key=lambda look: abs(math.log(look.misfit(trained))))

    def _look(self, pixels: NDArray[Any], scale: float) -> _Look:
        height, width = (max(round(length * scale), 1) for length in pixels.shape)
        image = resize_image(pixels, (height, width))
        found = self._opened().run({"image": pad_to_multiple(image, self._card.pixel_multiple)})
        labels = np.ascontiguousarray(found["labels"][:height, :width])
        flat = labels.ravel()
        area = np.bincount(flat, minlength=1)
        total = np.bincount(flat, found["probability"][:height, :width].ravel(), minlength=1)
        return _Look(scale, labels, area, total / np.maximum(area, 1))

    def _opened(self) -> Engine:
        if self._engine is None:
            raise EngineError(
                f"network {self._card.name!r} is not open; use it inside a `with` block"
            )
        return self._engine


def _within(scale: float, shape: tuple[int, ...]) -> float:
    """The scale nearest to the one wanted that keeps the image in what the network takes."""
    low, high = SCALE_LIMITS
    return min(max(scale, low), high, math.sqrt(MAX_PIXELS / math.prod(shape)))


def _finished(look: _Look, shape: tuple[int, int]) -> Segmented:
    """Drop specks, come back to the camera's pixels, number without gaps."""
    present = look.area > 0
    present[0] = False
    if not present.any():
        return np.zeros(shape, np.int32), np.zeros(0, np.float32)
    keep = present & (look.area >= max(SMALLEST_PX, SMALLEST * np.median(look.area[present])))
    labels = resize_labels(look.labels, shape)
    if labels is not look.labels:
        # coming back to fewer pixels can leave an object none
        keep &= np.bincount(labels.ravel(), minlength=len(keep)) > 0
    number = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    return number[labels], look.confidence[keep].astype(np.float32)


def _checked(pixels: NDArray[Any]) -> NDArray[Any]:
    if pixels.ndim != 2 or pixels.dtype not in (np.uint8, np.uint16) or pixels.size == 0:
        raise ImageError(
            f"got an image of {pixels.dtype} {pixels.shape}, need (y, x) uint8 or uint16 with at "
            "least one pixel; convert it first"
        )
    return pixels
