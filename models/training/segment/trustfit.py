"""What the second look makes of images with known truth, and the limits and numbers fitted to it.

``fit_limits`` and ``fit_calibration`` look at training images alone: plain, and changed within what
a microscope does from day to day. No picture of a foreign kind is needed, and none is used.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.result import ImageContext
from models.scoring.contingency import contingency
from models.tasks.calibration import evidence
from models.tasks.filters import smooth
from models.tasks.measure import measure
from models.tasks.network import NetworkSegmenter
from models.tasks.strangeness import WORDS
from models.tasks.trust import second_opinion
from models.training.segment.augment import Augment, make_crop
from models.training.segment.data import Pair

QUANTILE = 0.01
"""Part of the training images that may lie beyond either end before the ends are widened."""

HUNDRED = 100

CROP_PX = 320
"""Side of a crowded or drawn image: twice that of a training crop, to hold enough objects."""

FEWEST = 4
"""Images with objects, at least, to fit limits to."""

NARROWEST = {
    "sharpness": 0.7,
    "size": 0.5,
    "saturated": 0.2,
    "disagreement": 0.08,
    "doubt": 0.05,
}
"""What a side is wide at least; 0.1 for the others. One microscope on one day has one sharpness;
another that is as good may differ by a factor of 1.6, here in powers of two. Objects of 1.4 times
the trained size are labelled as they are. Many pictures of nuclei have some at the top of their
range; a fifth of their area does no harm yet."""

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """One image as the program saw it."""

    kind: str
    """Part of the data, or what was done to the image."""
    measures: dict[str, float]
    probability: F64
    """(n,) mean foreground probability of each object."""
    area: F64
    iou: F64
    """(n,) best overlap with the truth; meaningless where there is none."""
    flipped: F64
    """(n,) best overlap with what is found in the flipped image."""


def counts_of(image: NDArray[np.floating]) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Camera counts: whole numbers from 0, 8 bit where they fit."""
    whole = np.clip(np.rint(image), 0, 65_535)
    return whole.astype(np.uint8 if whole.max(initial=0) < 256 else np.uint16)


def observe(
    segmenter: NetworkSegmenter,
    kind: str,
    image: NDArray[np.floating],
    truth: NDArray[np.int32] | None = None,
) -> Observed:
    """Label an image by itself, look again, and hold both against the truth where there is one.

    The card of the segmenter must not calibrate yet, so that confidence is the mean probability.
    """
    counts = counts_of(image)
    segmenter.reset()
    labels, probability = segmenter.segment(counts)
    objects = measure(labels, counts, probability, ImageContext(seq=0, time_s=0.0))
    said = second_opinion(segmenter, counts, labels, objects)
    iou, flipped = np.zeros(len(objects)), np.zeros(len(objects))
    if truth is not None:
        common = contingency(labels, truth)
        np.maximum.at(iou, common.row, common.iou)
    flipped[said.agreed.labels - 1] = said.agreed.first
    area = objects["area_px"].astype(np.float64)
    return Observed(kind, said.measures, probability.astype(np.float64), area, iou, flipped)


def observe_pairs(segmenter: NetworkSegmenter, pairs: Iterable[Pair]) -> list[Observed]:
    """Observations of images that have objects; their kind is the part they belong to."""
    return [observe(segmenter, p.split, p.image, p.labels) for p in pairs if p.labels.any()]


def changed(
    image: NDArray[np.float32], diameter_px: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """An image as another day might give it: a part of it, other gain and offset, noise, focus.

    The blur is up to 6 % of the diameter of the objects, as slight defocus gives.
    """
    sides = [int(rng.integers(max(length // 2, 1), length + 1)) for length in image.shape]
    y, x = (int(rng.integers(a - b + 1)) for a, b in zip(image.shape, sides, strict=True))
    out = image[y : y + sides[0], x : x + sides[1]].astype(np.float32)
    if rng.random() < 0.5:
        out = smooth(out, float(rng.uniform(0.02, 0.06)) * diameter_px)
    low, high = np.percentile(out, (1.0, 99.8))
    out += (high - low) * rng.uniform(0.0, 0.06) * rng.standard_normal(out.shape, np.float32)
    gain, offset = rng.uniform(1.0, 12.0), rng.uniform(0.0, 300.0)
    return np.asarray((out - low) * gain + offset, np.float32)


def fit_limits(
    model: str, pairs: Sequence[Pair], augment: Augment | None = None, seed: int = 1
) -> dict[str, tuple[float, float, float]]:
    """Limits of the measures of strangeness for a model, for ``limits`` of its card.

    Parameters
    ----------
    model
        Name or path as `NetworkSegmenter` takes it.
    pairs
        Its data; those of the split ``train`` are used.
    augment
        How it was trained: where crowding or drawing was part of that, they are known kinds too.
    seed
        Of how images are changed.

    Raises
    ------
    ModelError
        When there are too few training images to fit to.
    """
    known = [pair for pair in pairs if pair.split == "train"]
    with NetworkSegmenter(model) as segmenter:
        seen = observe_pairs(segmenter, known)
        seen += observe_other_days(segmenter, known, augment, seed)
    return limits_from(seen, len(known))


def observe_other_days(
    segmenter: NetworkSegmenter,
    pairs: Sequence[Pair],
    augment: Augment | None = None,
    seed: int = 1,
) -> list[Observed]:
    """Observations of changed images (see `changed`), and of crowded and drawn ones; 100 each.

    Where there are more images than that, each is changed once. They come without truth.
    """
    rng = np.random.default_rng(seed)
    seen = []
    for k in range(max(HUNDRED, len(pairs))):
        pair = pairs[k % len(pairs)]
        seen.append(observe(segmenter, "other day", changed(pair.image, pair.diameter_px, rng)))
    if augment is not None and (augment.draw is not None or augment.crowd_share > 0):
        # what makes training hard on purpose, specks and strange sizes, is not what is usual
        gentle = replace(augment, far_share=0.0, noise=0.03, debris_share=0.0, dust_share=0.0)
        for k in range(HUNDRED):
            crop = make_crop(pairs[k % len(pairs)], CROP_PX, rng, gentle).image[0, 0].numpy()
            seen.append(observe(segmenter, "as trained", 1000 * (crop - crop.min()) + 200))
    return seen


def limits_from(seen: Sequence[Observed], images: int) -> dict[str, tuple[float, float, float]]:
    """Limits from observations of training images, of which ``images`` are independent.

    Each end is the 1 % quantile, widened by 1.2 and by more for fewer images, since extremes of
    few say little.
    """
    measures = [one.measures for one in seen if one.measures]
    if len(measures) < FEWEST:
        raise ModelError(
            f"limits of trust: {len(measures)} training images show objects, need {FEWEST}; "
            "train longer, or give more images"
        )
    wider = 1.2 + 2.5 / math.sqrt(max(images, 1))
    limits = {}
    for name in WORDS:
        value = np.array([one[name] for one in measures])
        low, usual, high = np.quantile(value, (QUANTILE, 0.5, 1 - QUANTILE))
        least = NARROWEST.get(name, 0.1)
        limits[name] = (
            float(usual - max(wider * (usual - low), least)),
            float(usual),
            float(usual + max(wider * (high - usual), least)),
        )
    return limits


def fit_calibration(seen: Sequence[Observed]) -> tuple[float, float, float]:
    """Numbers for `models.tasks.calibration.calibrated`, from observations with truth.

    Logistic regression of "matches a true object at IoU 0.5", drawn towards no change where there
    is little to learn from; the weight of the probability is never below 0, that of an odd size
    never above it.
    """
    rows = [evidence(one.probability, one.area) for one in seen]
    x = np.concatenate([np.zeros((0, 3)), *rows])
    y = np.concatenate([np.zeros(0), *[one.iou >= 0.5 for one in seen]]).astype(np.float64)
    start = np.array([0.0, 1.0, 0.0])
    free = np.array([True, True, True])
    for _ in range(3):
        weights = _logistic(x[:, free], y, x[:, ~free] @ start[~free], start[free])
        found = start.copy()
        found[free] = weights
        wrong = np.array([False, found[1] < 0, found[2] > 0])
        if not wrong.any():
            break
        free &= ~wrong
        start = np.where(wrong, 0.0, start)
    return float(found[0]), float(found[1]), float(found[2])


def _logistic(x: F64, y: F64, offset: F64, prior: F64, strength: float = 1.0) -> F64:
    """Newton's method for logistic regression with weights drawn to ``prior``.

    Steps are at most 1 long, so that a first one from far away does not overshoot.
    """
    weights = prior.copy()
    for _ in range(200):
        p = 1 / (1 + np.exp(-np.clip(x @ weights + offset, -50, 50)))
        slope = x.T @ (p - y) + strength * (weights - prior)
        bend = (x * (p * (1 - p))[:, None]).T @ x + strength * np.eye(len(weights))
        step = np.linalg.solve(bend, slope)
        weights -= step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:
            break
    return weights
