"""A second look at an image: how sure is each object, is the image of a known kind?

One more run of the network, over the flipped image, answers both. An object that the flip loses or
cuts otherwise is uncertain; measures of the image and of what was found in it are held against the
limits in the model's card.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.result import Verdict
from models.settings import TrustSettings
from models.tasks.light import STRIDE_PX, limits_beneath, limits_of, without_hot_pixels
from models.tasks.network import Limits, NetworkSegmenter
from models.tasks.second_look import Accord, Flip, SecondLook, accord, look_again
from models.tasks.strangeness import judge, measures_of

MAX_PIXELS = 2048 * 2048
"""Most network pixels of one check. Of a larger image each check takes the next part."""


@dataclass(frozen=True, slots=True, eq=False)
class SecondOpinion:
    """What a second look says of an image."""

    agreed: Accord
    seen: NDArray[np.bool_]
    """(n,) which objects it was about: all, but for those outside the part looked at."""
    measures: dict[str, float]
    """By name, see ``models.tasks.strangeness``."""


class Doubter:
    """Checks one frame in so many, the first included. One thread uses it.

    Parameters
    ----------
    settings
        How often.
    segmenter
        Open while ``check`` runs; its network does the second run.
    """

    def __init__(self, settings: TrustSettings, segmenter: NetworkSegmenter) -> None:
        self._settings, self._segmenter = settings, segmenter
        self._turn = 0
        self._last: int | None = None
        self._verdict: Verdict | None = None

    def reset(self) -> None:
        """Forget earlier images: the next one is checked."""
        self._turn, self._last, self._verdict = 0, None, None

    def check(
        self, pixels: NDArray[Any], labels: NDArray[np.int32], objects: NDArray[np.void], seq: int
    ) -> Verdict | None:
        """Fill ``uncertainty`` of ``objects`` when it is this frame's turn; the newest verdict.

        Parameters
        ----------
        pixels
            (y, x) uint8 or uint16 camera counts, those that were segmented; not written to.
        labels
            (y, x) what was found in them, 1..n without gaps.
        objects
            (n,) of ``OBJECT_DTYPE`` in order of label. ``uncertainty`` becomes 1 less the product
            of the confidence and the overlap (IoU) with what is found in the flipped image; it
            stays -1 where a large image is looked at in parts and the object lies in another.
        seq
            Number of the image.

        Returns
        -------
        The verdict on this image or on the one that was last checked; None where the model's card
        has no limits to hold it against.
        """
        if self._last is not None and 0 <= seq - self._last < self._settings.every_frames:
            return self._verdict
        said = second_opinion(self._segmenter, pixels, labels, objects, self._turn)
        doubt = uncertainty_of(objects, said.agreed)
        objects["uncertainty"][said.seen] = doubt[said.seen]
        self._turn, self._last = self._turn + 1, seq
        limits = self._segmenter._card.limits
        if limits:
            judged = judge(said.measures, limits)
            self._verdict = Verdict(seq, judged.value, judged.reason)
        return self._verdict


def second_opinion(
    segmenter: NetworkSegmenter,
    pixels: NDArray[Any],
    labels: NDArray[np.int32],
    objects: NDArray[np.void],
    turn: int = 0,
) -> SecondOpinion:
    """Look at an image again, flipped, right after ``segmenter`` labelled it.

    ``turn`` is the number of the check: even ones flip left and right, odd ones up and down, and
    of an image beyond ``MAX_PIXELS`` each looks at the next part. The rest as for
    `Doubter.check`.
    """
    part = part_of(pixels.shape, segmenter.scale, turn)
    flip: Flip = "up-down" if turn % 2 else "left-right"
    look, agreed = _second(segmenter, pixels, labels, part, flip)
    seen = _whole(objects, part)
    trained_px = segmenter._card.diameter_px
    measures = measures_of(pixels[part], look, objects[seen], agreed, trained_px)
    return SecondOpinion(agreed, seen, measures)


def _second(
    segmenter: NetworkSegmenter,
    pixels: NDArray[Any],
    labels: NDArray[np.int32],
    part: tuple[slice, slice],
    flip: Flip,
) -> tuple[SecondLook, Accord]:
    """The second look, in the light of the first, which a bead may have made the segmenter change.

    Which light it took is not known here, so both are tried where there are two.
    """
    cut = pixels[part].shape != pixels.shape
    light: list[Limits | None] = [limits_of(pixels[::STRIDE_PX, ::STRIDE_PX]) if cut else None]
    beneath = limits_beneath(without_hot_pixels(pixels))
    if beneath is not None:
        light.append(beneath)
    both = []
    for limits in light:
        look = look_again(segmenter, pixels[part], segmenter.scale, flip, limits)
        both.append((look, accord(labels[part], look)))
    return min(both, key=lambda pair: pair[1].disagreement)


def uncertainty_of(objects: NDArray[np.void], agreed: Accord) -> NDArray[np.float32]:
    """(n,) uncertainty of each object; 1 for those that ``agreed`` says nothing of."""
    same = np.zeros(len(objects))
    same[agreed.labels - 1] = agreed.first
    return np.asarray(1.0 - same * objects["confidence"], np.float32)


def part_of(shape: tuple[int, ...], scale: float, turn: int) -> tuple[slice, slice]:
    """Rows and columns that a check looks at: all, or the next part of an image too large."""
    side = math.sqrt(MAX_PIXELS) / scale
    height, width = shape[0], shape[1]
    if height * width <= side * side:
        return slice(0, height), slice(0, width)
    rows, columns = math.ceil(height / side), math.ceil(width / side)
    row, column = divmod(turn % (rows * columns), columns)
    return (
        slice(row * height // rows, (row + 1) * height // rows),
        slice(column * width // columns, (column + 1) * width // columns),
    )


def _whole(objects: NDArray[np.void], part: tuple[slice, slice]) -> NDArray[np.bool_]:
    """Which objects lie in a part with all their pixels."""
    y, x = part
    inside: NDArray[np.bool_] = (objects["bbox_y0"] >= y.start) & (objects["bbox_y1"] <= y.stop)
    inside &= (objects["bbox_x0"] >= x.start) & (objects["bbox_x1"] <= x.stop)
    return inside
