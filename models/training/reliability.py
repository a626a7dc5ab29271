"""How far stated probabilities are from what happens: expected calibration error, and its picture.

The expected calibration error is that of Naeini et al. (AAAI 2015): objects fall into ten equal
bins of stated probability; the differences between the mean stated and the share that is right are
averaged, weighted by the number of objects in the bin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

BINS = 10
SIDE, MARGIN, STRIP = 380, 70, 70
INK, PALE = (40, 44, 50), (225, 228, 232)
COLOURS = ((200, 120, 40), (40, 110, 190))

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Bins that hold at least one object."""

    stated: F64
    """Mean probability stated."""
    right: F64
    """Share that is right."""
    count: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error, 0 to 1; 0 for no objects."""
        total = max(int(self.count.sum()), 1)
        return float((np.abs(self.stated - self.right) * self.count).sum() / total)


def reliability(stated: NDArray[np.floating], right: NDArray[np.bool_]) -> Reliability:
    """Bins of stated probabilities (n,) and whether each object (n,) was right."""
    place = np.minimum((stated * BINS).astype(np.int64), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    some = count > 0
    mean = np.bincount(place, stated, BINS)[some] / count[some]
    share = np.bincount(place, right, BINS)[some] / count[some]
    return Reliability(mean, share, count[some])


def auroc(score: NDArray[np.floating], wrong: NDArray[np.bool_]) -> float:
    """Chance that a wrong object has a higher score than a right one; NaN without both kinds.

    The area under the receiver operating characteristic, by ranks; ties count half.
    """
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    n, m = int(wrong.sum()), int((~wrong).sum())
    if not n or not m:
        return float("nan")
    return float((rank[wrong].sum() - n * (n + 1) / 2) / (n * m))


def save_reliability(curves: Mapping[str, Reliability], path: Path, title: str) -> None:
    """Draw the share that is right against the probability stated, and how many objects say so."""
    font, small = ImageFont.load_default(14), ImageFont.load_default(12)
    width, height = MARGIN * 2 + SIDE, MARGIN * 2 + SIDE + STRIP
    picture = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(picture)
    pen.text((MARGIN, 18), title, fill=INK, font=font)

    def place(x: float, y: float) -> tuple[float, float]:
        return MARGIN + SIDE * x, MARGIN + SIDE * (1 - y)

    for tick in np.arange(0, 1.01, 0.2):
        pen.line((*place(0, tick), *place(1, tick)), fill=PALE)
        pen.line((*place(tick, 0), *place(tick, 1)), fill=PALE)
        pen.text(place(-0.02, tick), f"{tick:.1f}", fill=INK, font=small, anchor="rm")
    pen.line((*place(0, 0), *place(1, 1)), fill=(150, 155, 160), width=1)
    words = "share of objects that are right"
    pen.text(place(0, 1.02), words, fill=INK, font=small, anchor="lb")
    floor = MARGIN + SIDE + STRIP
    top = max(int(curve.count.max(initial=1)) for curve in curves.values())
    half = SIDE / BINS / 2 - 3
    for k, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[k % len(COLOURS)]
        points = [place(x, y) for x, y in zip(curve.stated, curve.right, strict=True)]
        if len(points) > 1:
            pen.line(points, fill=colour, width=3)
        for x, y in points:
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=colour)
        words = f"{name}: expected calibration error {curve.error:.3f}"
        pen.text(place(0.04, 0.95 - 0.05 * k), words, fill=colour, font=small, anchor="lm")
        for stated, count in zip(curve.stated, curve.count, strict=True):
            left = MARGIN + SIDE / BINS * min(int(stated * BINS), BINS - 1) + 2 + k * (half + 2)
            tall = (STRIP - 24) * int(count) / top
            pen.rectangle((left, floor - tall, left + half, floor), fill=colour)
    pen.rectangle((*place(0, 1), *place(1, 0)), outline=(120, 125, 130))
    pen.text((MARGIN, floor - STRIP + 4), f"objects, up to {top:,}", fill=INK, font=small)
    for tick in np.arange(0, 1.01, 0.2):
        pen.text((place(tick, 0)[0], floor + 12), f"{tick:.1f}", fill=INK, font=small, anchor="mm")
    words = "probability stated for an object"
    pen.text((MARGIN + SIDE / 2, floor + 32), words, fill=INK, font=small, anchor="mm")
    picture.save(path)
