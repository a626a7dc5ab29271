"""One row of measurements per object, in a fixed number of passes over the label image.

Values follow ``skimage.measure.regionprops``: axes and orientation are those of the ellipse with
the same second central moments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.result import MORE_COLUMNS, OBJECT_DTYPE, ImageContext


def compact(labels: NDArray[Any]) -> NDArray[np.int32]:
    """Label image whose objects count from 1 without gaps, in the order of their old labels.

    Returns the input itself when it is so already and of dtype int32.
    """
    top = int(labels.max()) if labels.size else 0
    if top == 0:
        return labels.astype(np.int32, copy=False)
    if top > 4 * labels.size + 1024:
        # values too sparse for a table; rare, so the cost of sorting is fine
        found, places = np.unique(labels, return_inverse=True)
        shift = 0 if found[0] == 0 else 1
        return (places.reshape(labels.shape) + shift).astype(np.int32)
    present = np.bincount(labels.ravel(), minlength=top + 1) > 0
    present[0] = False
    if present[1:].all():
        return labels.astype(np.int32, copy=False)
    table = np.cumsum(present, dtype=np.int32)
    table[~present] = 0
    return np.asarray(table[labels], dtype=np.int32)


def measure(
    labels: NDArray[np.int32],
    pixels: NDArray[Any],
    confidence: NDArray[np.float32],
    context: ImageContext,
) -> NDArray[np.void]:
    """Object table of a label image.

    Parameters
    ----------
    labels
        (y, x), 0 is background, objects count from 1 without gaps.
    pixels
        (y, x) raw camera counts.
    confidence
        (n,) 0 to 1, by label.
    context
        Where the image was taken.

    Returns
    -------
    (n,) of ``OBJECT_DTYPE`` in order of label; the track fields are zero, and what only other
    stages know says so (``class_id`` -1 with probability 0, ``uncertainty`` -1, those of
    `MORE_COLUMNS` NaN or -1). A new array.
    """
    runs = _runs(labels)
    n = int(runs.label.max()) if len(runs.label) else 0
    table = np.zeros(n, dtype=OBJECT_DTYPE)
    if n == 0:
        return table
    lab, length = runs.label, runs.length.astype(np.float64)

    def total(weights: NDArray[Any]) -> NDArray[np.float64]:
        sums = np.bincount(lab, weights=weights, minlength=n + 1)
        return np.asarray(sums[1:], dtype=np.float64)

    area = total(length)
    _extent(table, runs)
    # moments about the corner of each bounding box: small numbers, so the differences are exact
    dy = (runs.y - table["bbox_y0"][lab - 1]).astype(np.float64)
    first = (runs.x - table["bbox_x0"][lab - 1]).astype(np.float64)
    last = first + length - 1
    sum_x = (first + last) / 2 * length
    sum_xx = _square_pyramid(last) - _square_pyramid(first - 1)
    my, mx = total(dy * length) / area, total(sum_x) / area
    yy = total(dy * dy * length) / area - my * my
    xx = total(sum_xx) / area - mx * mx
    xy = total(dy * sum_x) / area - mx * my
    cy, cx = my + table["bbox_y0"], mx + table["bbox_x0"]
    _ellipse(table, yy, xx, xy)

    table["label"] = np.arange(1, n + 1)
    table["area_px"] = area
    table["y_px"], table["x_px"] = cy, cx
    sums, peaks = _intensities(pixels, runs)
    table["mean_intensity"] = total(sums) / area
    brightest = np.zeros(n + 1, dtype=pixels.dtype)
    np.maximum.at(brightest, lab, peaks)
    table["max_intensity"] = brightest[1:]
    table["mean_denoised"], table["max_denoised"] = table["mean_intensity"], table["max_intensity"]
    table["confidence"] = confidence
    table["class_id"] = -1
    table["uncertainty"] = -1.0
    for name in MORE_COLUMNS:
        table[name] = -1 if name == "neighbours" else np.nan
    table["y_um"], table["x_um"] = stage_positions(cy, cx, context)
    return table


def measure_denoised(
    objects: NDArray[np.void], labels: NDArray[np.int32], denoised: NDArray[Any]
) -> None:
    """Write the intensities of a denoised image (y, x) into the rows of its objects.

    ``objects`` (n,) are in order of label, which run from 1 to n without gaps.
    """
    runs, n = _runs(labels), len(objects)
    if n == 0:
        return
    sums, peaks = _intensities(denoised, runs)
    total = np.bincount(runs.label, weights=sums, minlength=n + 1)[1:]
    objects["mean_denoised"] = total / objects["area_px"]
    brightest = np.zeros(n + 1, dtype=denoised.dtype)
    np.maximum.at(brightest, runs.label, peaks)
    objects["max_denoised"] = brightest[1:]


def stage_positions(
    y_px: NDArray[np.float64], x_px: NDArray[np.float64], context: ImageContext
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(y_um, x_um) on the stage; NaN where the image is uncalibrated."""
    if context.px_to_um is None:
        unknown = np.full(y_px.shape, np.nan)
        return unknown, unknown
    a = context.px_to_um
    return a[1, 0] * x_px + a[1, 1] * y_px + a[1, 2], a[0, 0] * x_px + a[0, 1] * y_px + a[0, 2]


@dataclass(frozen=True, slots=True)
class _Runs:
    """The stretches of one label along x: some twenty times fewer than pixels."""

    label: NDArray[np.int32]
    y: NDArray[np.intp]
    x: NDArray[np.intp]
    length: NDArray[np.intp]
    starts: NDArray[np.intp]
    """Where every stretch starts in the flat image, background included."""
    keep: NDArray[np.intp]
    """Which of them are objects."""


def _runs(labels: NDArray[np.int32]) -> _Runs:
    flat = np.ascontiguousarray(labels).ravel()
    width = max(1, labels.shape[1])
    change = np.empty(flat.size, dtype=bool)
    np.not_equal(flat[1:], flat[:-1], out=change[1:])
    change[::width] = True
    starts = np.flatnonzero(change)
    lengths = np.diff(starts, append=flat.size)
    keep = np.flatnonzero(flat[starts])
    y, x = np.divmod(starts[keep], width)
    return _Runs(flat[starts[keep]], y, x, lengths[keep], starts, keep)


def _square_pyramid(k: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of the squares of 0..k."""
    return k * (k + 1) * (2 * k + 1) / 6


def _extent(table: NDArray[np.void], runs: _Runs) -> None:
    row = runs.label - 1
    largest = np.iinfo(np.int32).max
    for name, value in (("bbox_y0", runs.y), ("bbox_x0", runs.x)):
        low = np.full(len(table), largest, dtype=np.int32)
        np.minimum.at(low, row, value.astype(np.int32))
        table[name] = low
    for name, value in (("bbox_y1", runs.y + 1), ("bbox_x1", runs.x + runs.length)):
        high = np.zeros(len(table), dtype=np.int32)
        np.maximum.at(high, row, value.astype(np.int32))
        table[name] = high


def _intensities(pixels: NDArray[Any], runs: _Runs) -> tuple[NDArray[Any], NDArray[Any]]:
    flat = np.ascontiguousarray(pixels).ravel()
    sums = np.add.reduceat(flat, runs.starts, dtype=np.float64)[runs.keep]
    return sums, np.maximum.reduceat(flat, runs.starts)[runs.keep]


def _ellipse(
    table: NDArray[np.void],
    yy: NDArray[np.float64],
    xx: NDArray[np.float64],
    xy: NDArray[np.float64],
) -> None:
    middle = (yy + xx) / 2
    spread = np.sqrt(((yy - xx) / 2) ** 2 + xy**2)
    large = np.maximum(middle + spread, 0)
    small = np.maximum(middle - spread, 0)
    table["major_px"], table["minor_px"] = 4 * np.sqrt(large), 4 * np.sqrt(small)
    angle = 0.5 * np.arctan2(2 * xy, yy - xx)
    # a shape without a direction: the reference gives the diagonal, with the sign of the moment
    angle = np.where(yy == xx, np.where(xy < 0, -np.pi / 4, np.pi / 4), angle)
    table["orientation_rad"] = angle
    ratio = np.divide(small, large, out=np.ones_like(large), where=large > 0)
    table["eccentricity"] = np.sqrt(np.clip(1 - ratio, 0, 1))
