"""Measuring objects: our table beside ``skimage.measure.regionprops_table``, same properties.

Both get the same label image and the same pixels, and their values are compared before anything is
timed. Rounds of ours and the peer's take turns, on one thread, and medians are compared. Our table
has more in it than the peer is asked for: places on the stage, and room for tracks and classes.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.result import ImageContext
from models.tasks.measure import measure
from models.tasks.measure_more import measure_more

SIDE_PX: Final = 2048
CASES: Final = ((1000, 3.0), (4000, None))
"""Objects, and how many times as fast as the peer ours must be."""
SAME: Final = {
    "area_px": "area",
    "y_px": "centroid-0",
    "x_px": "centroid-1",
    "bbox_y0": "bbox-0",
    "bbox_x0": "bbox-1",
    "bbox_y1": "bbox-2",
    "bbox_x1": "bbox-3",
    "mean_intensity": "intensity_mean",
    "max_intensity": "intensity_max",
    "major_px": "axis_major_length",
    "minor_px": "axis_minor_length",
    "orientation_rad": "orientation",
    "eccentricity": "eccentricity",
}
"""Column of ours -> column of the peer."""
MORE: Final = {
    "perimeter_px": "perimeter",
    "min_intensity": "intensity_min",
    "std_intensity": "intensity_std",
}
"""The same for what `measure_more` adds."""
TOLERANCE: Final = 1e-3
"""Relative; ours are kept as float32."""

Row = dict[str, Any]


class NotTheSame(Exception):
    """What was compared gave other values."""


def run(*, quick: bool = False) -> list[Row]:
    """Measure and return one row for each case; ``quick`` only shows that it works."""
    peer = "skimage regionprops_table, 1 thread"
    head = {"bench": "measure", "machine": f"{_processor()}, {os.cpu_count()} cores"}
    if find_spec("skimage") is None:
        missing = "skimage not installed; `pip install 'parfocal[score]'`"
        return [{**head, "case": f"beside {peer}", "left_out": missing}]
    rows: list[Row] = []
    for count, bar in CASES[: 1 if quick else None]:
        labels, pixels = drawn_ellipses(SIDE_PX, count)
        ours, theirs = _ours(labels, pixels), _theirs(labels, pixels)
        _check(ours(), theirs())
        took = _take_turns(ours, theirs, 1 if quick else 9)
        row = {
            **head, "case": f"{SIDE_PX}x{SIDE_PX} uint16, {count} objects, {len(SAME)} columns",
            "ours": "measure, 1 thread", "value_ours": 1e3 * took[0],
            "peer": peer, "value_peer": 1e3 * took[1],
            "unit": "ms", "ratio": took[1] / took[0],
        }  # fmt: skip
        rows.append(row if bar is None else {**row, "bar": bar})
        rows.append(_more(head, peer, labels, pixels, count, bar, 1 if quick else 5))
    return rows


def _more(
    head: Row, peer: str, labels: NDArray[np.int32], pixels: NDArray[np.uint16], count: int,
    bar: float | None, rounds: int,
) -> Row:  # fmt: skip
    """Every column of both together; ours count roughness and neighbours as well."""
    plain = _ours(labels, pixels)
    names = (*dict.fromkeys(name.split("-")[0] for name in SAME.values()), *MORE.values())
    regionprops_table = import_module("skimage.measure").regionprops_table

    def ours() -> NDArray[np.void]:
        table: NDArray[np.void] = plain()
        measure_more(table, labels, pixels)
        return table

    def theirs() -> Any:
        return regionprops_table(labels, pixels, properties=names)

    mine, other = ours(), theirs()
    for name, peer_name in MORE.items():
        difference = np.abs(mine[name] - other[peer_name])
        if (difference > TOLERANCE * np.maximum(1, np.abs(other[peer_name]))).any():
            raise NotTheSame(f"{name} differs from {peer_name} by up to {difference.max():.3g}")
    took = _take_turns(ours, theirs, rounds)
    row = {
        **head, "case": f"{SIDE_PX}x{SIDE_PX} uint16, {count} objects, texture and neighbours too",
        "ours": "measure and measure_more, 1 thread", "value_ours": 1e3 * took[0],
        "peer": f"{peer}, without roughness and neighbours", "value_peer": 1e3 * took[1],
        "unit": "ms", "ratio": took[1] / took[0],
    }  # fmt: skip
    return row if bar is None else {**row, "bar": bar}


def drawn_ellipses(side: int, count: int) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
    """Label image and pixels (side, side) of ellipses of many forms; the same each time."""
    random = np.random.default_rng(0)
    per_side = int(np.ceil(np.sqrt(count)))
    cell = side // per_side
    y, x = np.mgrid[:cell, :cell] - (cell - 1) / 2
    labels = np.zeros((side, side), np.int32)
    for label, place in enumerate(random.permutation(per_side**2)[:count], 1):
        angle = random.uniform(0, np.pi)
        long, short = random.uniform(0.3, 0.48) * cell, random.uniform(0.12, 0.3) * cell
        along = y * np.cos(angle) + x * np.sin(angle)
        across = x * np.cos(angle) - y * np.sin(angle)
        top, left = (cell * n for n in divmod(int(place), per_side))
        spot = labels[top : top + cell, left : left + cell]
        spot[(along / long) ** 2 + (across / short) ** 2 < 1] = label
    pixels = random.integers(100, 4000, labels.shape, dtype=np.uint16)
    return labels, pixels


def _ours(labels: NDArray[np.int32], pixels: NDArray[np.uint16]) -> Callable[[], Any]:
    confidence = np.ones(int(labels.max()), np.float32)
    context = ImageContext(0, 0.0)
    return lambda: measure(labels, pixels, confidence, context)


def _theirs(labels: NDArray[np.int32], pixels: NDArray[np.uint16]) -> Callable[[], Any]:
    regionprops_table = import_module("skimage.measure").regionprops_table
    names = tuple(dict.fromkeys(name.split("-")[0] for name in SAME.values()))
    return lambda: regionprops_table(labels, pixels, properties=names)


def _check(ours: NDArray[np.void], theirs: dict[str, NDArray[Any]]) -> None:
    for mine, other in SAME.items():
        difference = np.abs(ours[mine] - theirs[other])
        if mine == "orientation_rad":  # a direction has no sign
            difference = np.abs(np.sin(difference))
        if (difference > TOLERANCE * np.maximum(1, np.abs(theirs[other]))).any():
            raise NotTheSame(f"{mine} differs from {other} by up to {difference.max():.3g}")


def _take_turns(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int
) -> tuple[float, float]:
    """Median seconds of each."""
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for times, once in zip(took, (ours, theirs), strict=True):
            start = time.perf_counter()
            once()
            times.append(time.perf_counter() - start)
    return statistics.median(took[0]), statistics.median(took[1])


def _processor() -> str:
    return platform.processor() or platform.machine()
