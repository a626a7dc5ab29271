"""How unlike the images that a network was trained for is this one? A few measures, each in words.

Each measure is one number of an image and of what was found in it, in units that neither gain,
exposure nor magnification change. Between which values it lies on the images that the network was
trained for is data, kept in the model's card. An image is as strange as its strangest measure, so
the flag always has a reason that a person can check by eye. (Detectors that learn one score from
inner features, such as Lee et al. 2018, arXiv 1807.03888, give no such reason.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.tasks.filters import middle, noise_variance
from models.tasks.second_look import Accord, SecondLook

Limits = Mapping[str, tuple[float, float, float]]
"""Name of a measure -> lowest, middle and highest value on images of the known kind."""

WORDS: dict[str, tuple[str, str]] = {
    "separation": (
        "objects do not stand out as they should: of another contrast, or inverted?",
        "objects and ground are too clear-cut for a photograph",
    ),
    "noise": ("objects hardly stand out from the noise", ""),
    "sharpness": ("outlines are blurred: out of focus?", ""),
    "size": ("objects are too small at any scale", "objects are too large at any scale"),
    "elongation": ("objects are too round", "objects are too long"),
    "saturated": ("", "many pixels are at the top of the range: saturated?"),
    "doubt": ("", "the network is unsure of many pixels"),
    "disagreement": ("", "the flipped image gives other objects"),
    "texture": ("objects are too even inside", "objects are too uneven inside"),
}
"""What a value below and above the known range says, for people; empty where it says nothing."""

NOTHING = 2.0
"""Strangeness of an image in which nothing was found."""

UNSURE = (0.2, 0.8)
"""Probabilities between these are in doubt."""


@dataclass(frozen=True, slots=True)
class Strangeness:
    """The judgement of one image."""

    value: float
    """0 in the middle of the known, 1 at its limit."""
    measure: str
    """The measure that is strangest; empty where nothing could be measured."""
    reason: str
    """In words; empty up to 1."""


def measures_of(
    pixels: NDArray[Any],
    look: SecondLook,
    objects: NDArray[np.void],
    agreed: Accord,
    trained_px: float,
) -> dict[str, float]:
    """Measures of one image by name; empty where no object was found.

    Parameters
    ----------
    pixels
        (y, x) camera counts.
    look
        Second look at them.
    objects
        (n,) of ``OBJECT_DTYPE``, of the first look.
    agreed
        How the two looks agree.
    trained_px
        Median diameter of the objects that the network was trained on.
    """
    inside = look.labels > 0
    if not len(objects) or not inside.any() or inside.all():
        return {}
    low, high = np.percentile(look.image[::4, ::4], (1.0, 99.8))
    span = max(float(high - low), 1e-6)
    x = np.clip((look.image - low) / span, 0.0, 1.0)
    bright, ground = x[inside], x[~inside]
    step = float(bright.mean() - ground.mean())
    size = max(abs(step), 1e-3)
    noise = math.sqrt(noise_variance(np.asarray(middle(pixels), np.float32))) / span
    doubtful = (look.probability > UNSURE[0]) & (look.probability < UNSURE[1])
    possible = max(int((look.probability > UNSURE[0]).sum()), 1)
    diameter = 2 * math.sqrt(float(np.median(objects["area_px"])) / math.pi) * look.scale
    slim = objects["minor_px"] / np.maximum(objects["major_px"], 1e-6)
    # in standard deviations (Cohen's d), so that neither gain nor how much is covered matters
    apart = size / max(math.sqrt((float(bright.var()) + float(ground.var())) / 2), 1e-3)
    top = pixels == pixels.max()
    return {
        "noise": math.log10(size / max(noise, 1e-4)),
        "separation": math.copysign(math.log2(1 + apart), step),
        "sharpness": math.log2(max(_edge(x, look.labels) * trained_px / size, 1e-3)),
        "size": math.log2(max(diameter, 1e-3) / trained_px) if trained_px > 0 else 0.0,
        "elongation": -math.log2(max(float(np.median(slim)), 1e-3)),
        "saturated": float(top.sum()) / max(float(objects["area_px"].sum()), 1.0),
        "doubt": float(doubtful.sum()) / possible,
        "disagreement": agreed.disagreement,
        "texture": _within(x, look.labels) / size,
    }


def judge(measures: Mapping[str, float], limits: Limits) -> Strangeness:
    """How strange an image is, and why; measures without limits do not count."""
    if not measures:
        return Strangeness(NOTHING, "", "no object was found")
    worst, name = 0.0, ""
    for key, (low, usual, high) in limits.items():
        value = measures.get(key)
        if value is None or not WORDS[key][int(value > usual)]:
            continue
        side = high - usual if value > usual else usual - low
        away = abs(value - usual) / max(side, 1e-9)
        if away > worst:
            worst, name = away, key
    reason = ""
    if worst > 1:
        low, usual, high = limits[name]
        value = measures[name]
        edge = high if value > usual else low
        reason = f"{WORDS[name][int(value > usual)]} ({name} {value:.2g}, known up to {edge:.2g})"
    return Strangeness(worst, name, reason)


def _edge(x: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
    """Mean step to the next pixel, right or down, across the outline of objects."""
    across = (labels[:, 1:] > 0) != (labels[:, :-1] > 0)
    down = (labels[1:] > 0) != (labels[:-1] > 0)
    steps = np.concatenate([np.abs(np.diff(x, axis=1))[across], np.abs(np.diff(x, axis=0))[down]])
    return float(steps.mean()) if steps.size else 0.0


def _within(x: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
    """Median over objects of the spread of brightness inside one."""
    flat, value = labels.ravel(), x.ravel()
    count = np.bincount(flat)
    keep = count > 0
    keep[0] = False
    mean = np.bincount(flat, value)[keep] / count[keep]
    square = np.bincount(flat, value * value)[keep] / count[keep]
    return float(np.median(np.sqrt(np.maximum(square - mean**2, 0))))
