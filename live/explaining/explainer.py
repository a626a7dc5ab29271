"""What ``parfocal infer --explain`` shows of an image: the analysis looked at from close by.

It holds the pipeline's networks once more for itself, so that what it asks of them changes nothing
in the analysis.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from live.errors import UsageError
from live.explaining.pictures import Explained, ObjectView, sheet
from models import PipelineSettings
from models.catalog import ModelCard, read_card, weights_path
from models.result import PipelineResult
from models.settings import NetworkSettings, TrustSettings
from models.tasks.classify import Classifier
from models.tasks.crops import Crops, cut_crops, typical_of
from models.tasks.explain import class_occlusion, object_occlusion
from models.tasks.light import STRIDE_PX, limits_of
from models.tasks.network import NetworkSegmenter
from models.tasks.resize import resize_labels
from models.tasks.second_look import look_again

MOST = 20
"""Images that are explained, at most: the first ones."""

CLASSED = 6
"""Objects whose class is explained, at most."""

REACH = 1.6
"""How far around an object its occlusion reaches, in its own diameters from the centre."""

PATCHES = 6
"""Patches side by side along what is covered in turn; each overlaps the next by half."""


def explainable(settings: PipelineSettings) -> PipelineSettings:
    """Settings with every image checked, so that objects have an uncertainty.

    Raises
    ------
    UsageError
        When no network segments.
    """
    if not isinstance(settings.segment, NetworkSettings):
        raise UsageError(
            f"--explain shows what a network saw, and pipeline {settings.name!r} segments without "
            "one; take a pipeline with `segment: {kind: network}`, such as nuclei"
        )
    return settings.model_copy(update={"trust": TrustSettings(every_frames=1)})


class Explainer:
    """Writes one sheet an image, for the first images. Hold it in a ``with`` block.

    Parameters
    ----------
    settings
        Of the pipeline, with a network that segments.
    folder
        Where sheets go; made when the first is written.
    most
        Sheets that are written, at most.
    """

    def __init__(self, settings: PipelineSettings, folder: Path, most: int = MOST) -> None:
        assert isinstance(settings.segment, NetworkSettings)
        self._folder, self._written, self._most = folder, 0, most
        self._stack = ExitStack()
        chosen = settings.segment
        self._raw = settings.segment_on == "raw" or settings.denoise is None
        self._card: ModelCard = read_card(weights_path(chosen.model))
        self._segmenter = NetworkSegmenter(
            chosen.model, chosen.engine, chosen.threads, chosen.precision
        )
        self._classifier = None if settings.classify is None else Classifier(settings.classify)

    def __enter__(self) -> Self:
        """Load the networks."""
        self._stack.enter_context(self._segmenter)
        if self._classifier is not None:
            self._stack.enter_context(self._classifier)
        return self

    def __exit__(self, *exc: object) -> None:
        """Let them go."""
        self._stack.close()

    def add(self, name: str, pixels: NDArray[Any], result: PipelineResult) -> None:
        """Write the sheet of one image; nothing once there are as many as asked for.

        Parameters
        ----------
        name
            Name of the image, and of the file.
        pixels
            (y, x) camera counts.
        result
            What the pipeline found in them.
        """
        if self._written >= self._most:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{name}.png"
        if path.exists():  # frames of a movie can come from folders with the same names
            path = self._folder / f"{name}_{result.seq:04d}.png"
        sheet(self.explained(name, pixels, result)).save(path)
        self._written += 1

    def explained(self, name: str, pixels: NDArray[Any], result: PipelineResult) -> Explained:
        """What the sheet of one image shows; runs the networks some hundred times on crops."""
        chosen = pixels
        if not self._raw and result.denoised is not None:
            chosen = result.denoised
        self._segmenter.reset()
        self._segmenter.segment(chosen)  # for the scale alone
        scale = self._segmenter.scale
        look = look_again(self._segmenter, chosen, scale, "none")
        info = self._segmenter.info
        engine = f"{info.model} on {info.name} {info.precision}, scale {scale:.2f}"
        return Explained(
            name,
            pixels,
            look.probability,
            result,
            engine,
            bool(self._card.calibration),
            self._doubtful(chosen, result, scale),
            self._classed(pixels, result),
        )

    def _doubtful(
        self, pixels: NDArray[Any], result: PipelineResult, scale: float
    ) -> ObjectView | None:
        """The least certain object, and what its outline rests on."""
        objects = result.objects
        if not len(objects) or not (objects["uncertainty"] >= 0).any():
            return None
        row = objects[int(np.argmax(objects["uncertainty"]))]
        part = _around(row, pixels.shape)
        crop, mask = pixels[part], result.labels[part] == row["label"]
        ground = crop[result.labels[part] == 0]
        fill = float(np.median(ground)) if ground.size else float(crop.min())
        shape = (crop.shape[0], crop.shape[1])
        limits = limits_of(pixels[::STRIDE_PX, ::STRIDE_PX])  # the light of the whole image

        def label(image: NDArray[np.float32]) -> NDArray[np.int32]:
            found = look_again(self._segmenter, image, scale, "none", limits).labels
            return resize_labels(found, shape)

        patch = max(math.ceil(max(shape) / PATCHES), 2)
        loss = object_occlusion(
            crop.astype(np.float32), label, mask, fill, patch, max(patch // 2, 1)
        )
        title = f"Least certain: object {row['label']}, uncertainty {row['uncertainty']:.2f}"
        return ObjectView(title, crop, mask, loss, "change when covered (1 - IoU)")

    def _classed(self, pixels: NDArray[Any], result: PipelineResult) -> list[ObjectView]:
        """The surest and the least sure object of each class."""
        if self._classifier is None or not len(result.objects):
            return []
        predict_all, typical = self._classifier, typical_of(result.objects)
        views = []
        for place in _chosen(result.objects):
            row = result.objects[place : place + 1]
            cut = cut_crops(pixels, result.labels, row, typical)
            context = cut.context

            def predict(
                windows: NDArray[np.float32], context: NDArray[np.float32] = context
            ) -> NDArray[np.float32]:
                each = np.repeat(context, len(windows), axis=0)
                return predict_all.probabilities(Crops(windows, each))

            kind = int(row["class_id"][0])
            # the image is covered with the dark around the object; the masks stay
            fill = np.array([0.0, np.nan, np.nan])
            loss = class_occlusion(cut.windows[0], predict, kind, fill)
            title = (
                f"Object {row['label'][0]}: {result.classes[kind]}, "
                f"probability {row['class_probability'][0]:.2f}"
            )
            views.append(
                ObjectView(
                    title, cut.windows[0, 0], cut.windows[0, 1] > 0.5, np.maximum(loss, 0),
                    "probability lost when covered",
                )
            )  # fmt: skip
        return views


def _chosen(objects: NDArray[np.void]) -> list[int]:
    """Rows to explain: the surest object of each class, then the least sure of each."""
    order = np.argsort(objects["class_probability"], kind="stable")
    order = order[objects["class_id"][order] >= 0]
    chosen: list[int] = []
    for side in (order[::-1], order):
        _, first = np.unique(objects["class_id"][side], return_index=True)
        chosen += [int(row) for row in side[first] if row not in chosen]
    return chosen[:CLASSED]


def _around(row: NDArray[np.void], shape: tuple[int, ...]) -> tuple[slice, slice]:
    reach = max(
        REACH * 2 * math.sqrt(float(row["area_px"]) / math.pi),
        0.6 * float(max(row["bbox_y1"] - row["bbox_y0"], row["bbox_x1"] - row["bbox_x0"])),
    )

    def span(middle: float, length: int) -> slice:
        return slice(max(int(middle - reach), 0), min(int(middle + reach) + 1, length))

    return span(float(row["y_px"]), shape[0]), span(float(row["x_px"]), shape[1])
