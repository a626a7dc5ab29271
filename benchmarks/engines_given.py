"""What each shipped network is given to be measured on, and how far two answers are apart.

All pictures are drawn, the same each time, so that the truth is known and nothing beside the
program is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.fields import render_training_field
from models.catalog import ModelCard
from models.result import ImageContext
from models.scoring.instances import agreement
from models.tasks.crops import cut_crops, typical_of
from models.tasks.measure import measure

Inputs = Mapping[str, NDArray[Any]]
Labels = NDArray[np.int32]

CROPS = 64
"""Objects sorted at once: about as many as a field shows."""

GAIN, OFFSET, READ = 2.0, 100.0, 9.0
"""Noise that the denoiser is told of: counts a photon, counts, counts squared."""


@dataclass(frozen=True, slots=True)
class Given:
    """One input of a network."""

    inputs: Inputs
    truth: Labels | None = None
    """Of a picture to be segmented."""


def given_for(card: ModelCard, side: int, seeds: Sequence[int]) -> list[Given]:
    """An input for each seed: pictures of ``side`` pixels, or the crops of one."""
    make = {"segment": _picture, "denoise": _noisy, "classify": _crops}[card.task]
    return [make(card, side, seed) for seed in seeds]


def _picture(card: ModelCard, side: int, seed: int) -> Given:
    rng = np.random.default_rng([seed, 0xE6])
    if card.name == "bacteria":
        from models.training.segment.colony import draw_colony

        drawn, truth = draw_colony(side, card.diameter_px, rng)
        counts = np.asarray(drawn * 1000 + 200, np.float32)
    elif card.name == "cells":
        from models.training.phase.fields import draw_counts

        drawn, truth = draw_counts(side, card.diameter_px, rng)
        counts = np.asarray(drawn, np.float32)
    else:
        field, truth = render_training_field(seed, (side, side), diameter_px=card.diameter_px)
        counts = field.astype(np.float32)
    # no limits: the network takes its own percentiles
    inputs = {"image": counts - counts.min(), "limits": np.zeros(2, np.float32)}
    return Given(inputs, np.asarray(truth, np.int32))


def _noisy(_: ModelCard, side: int, seed: int) -> Given:
    field, _truth = render_training_field(seed, (side, side), diameter_px=24)
    rng = np.random.default_rng([seed, 0xE7])
    light = field.astype(np.float64) - field.min()
    photons = rng.poisson(light * (20 / max(light.mean(), 1e-6)), light.shape)
    counts = photons * GAIN + OFFSET + rng.normal(0, READ**0.5, light.shape)
    return Given(
        {
            "image": counts[None, None].astype(np.float32),
            "state": np.zeros((1, 3, side, side), np.float32),
            "noise": np.array([GAIN, OFFSET, READ], np.float32),
            "fresh": np.ones(1, np.float32),
        }
    )


def _crops(_: ModelCard, side: int, seed: int) -> Given:
    field, truth = render_training_field(seed, (max(side, 512),) * 2, diameter_px=24)
    known = np.ones(int(truth.max()), np.float32)
    objects = measure(truth, field, known, ImageContext(0, 0.0))
    crops = cut_crops(field, truth, objects[:CROPS], typical_of(objects))
    fill = (0, CROPS - len(crops))
    windows = np.pad(crops.windows, (fill, (0, 0), (0, 0), (0, 0)))
    return Given({"windows": windows, "context": np.pad(crops.context, (fill, (0, 0)))})


@dataclass(frozen=True, slots=True)
class Apart:
    """How far answers are from those of the reference."""

    what: str
    value: float


def apart(
    card: ModelCard, given: Sequence[Given], found: Sequence[Inputs], wanted: Sequence[Inputs]
) -> Apart:
    """Error of answers against those that the reference gave for the same inputs.

    Segmentation: agreement of objects, 1 is all. Denoising: root mean square of the difference as a
    part of the noise that was in the picture. Classification: part of the objects sorted alike.
    """
    if card.task == "segment":
        pairs = [(a["labels"], b["labels"]) for a, b in zip(found, wanted, strict=True)]
        return Apart("AP@0.9 to torch", float(agreement(pairs, (0.9,))[0].ap))
    if card.task == "denoise":
        off = [_off(one, a, b) for one, a, b in zip(given, found, wanted, strict=True)]
        return Apart("of the noise off", float(np.mean(off)))
    same = [
        float(np.mean(a["probability"].argmax(1) == b["probability"].argmax(1)))
        for a, b in zip(found, wanted, strict=True)
    ]
    return Apart("sorted alike", float(np.mean(same)))


def _off(given: Given, found: Inputs, wanted: Inputs) -> float:
    removed = given.inputs["image"] - wanted["denoised"]
    change = found["denoised"] - wanted["denoised"]
    return float(np.sqrt(np.mean(np.square(change)) / np.mean(np.square(removed))))


def against_truth(given: Sequence[Given], found: Sequence[Inputs], limit: float) -> float:
    """AP of label images at one limit of overlap, against what was drawn."""
    pairs = [
        (answer["labels"], one.truth)
        for one, answer in zip(given, found, strict=True)
        if one.truth is not None
    ]
    return float(agreement(pairs, (limit,))[0].ap)
