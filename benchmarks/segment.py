"""Segmentation: the pipeline beside StarDist's published network, grouping beside watershed.

Every row is one case measured in one run: rounds of ours and the peer's take turns, and medians are
compared, so that what else the machine does hits both. A row that needs what is not installed is
left out by name. On a machine with more cores the run keeps to two, where the system allows that.
"""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.grouping import (
    drawn_heads,
    grouping_in_onnxruntime,
    grouping_in_openvino,
    objects_in,
    watershed_of_scikit_image,
)
from benchmarks.stardist import stardist_network
from models.pipeline import load_pipeline
from models.result import ImageContext
from models.settings import NetworkSettings

CORES = 2
PIPELINE = "nuclei"
SIDE_PX = 512
NUCLEI = (115, 135)
"""The drawn picture has about as many nuclei as the field has come to measure speed on: 125."""
FRAMES_PER_S = 15.0
OVER_STARDIST = 6.0
GROUPING = ((512, 125, 4.0), (2048, 1000, 6.0), (2048, 2000, None))
"""Side, objects, and how many times as fast as watershed grouping must be."""
SAME_COUNT = 0.02
"""Either may miss the drawn count by this part; beyond, they do not do the same work."""

PATIENCE_S = 40.0
"""After this long no further round of a case begins; three there are at least."""

Counts = NDArray[np.integer[Any]]
Row = dict[str, Any]


class NotTheSame(Exception):
    """What was compared did not do the same work."""


def run(*, quick: bool = False, picture: Path | None = None) -> list[Row]:
    """Measure and return one row for each case; ``quick`` only shows that it works.

    Parameters
    ----------
    quick
        One round of each.
    picture
        TIFF or PNG of nuclei (y, x) to segment in place of the drawn one.
    """
    with _TwoCores():
        image, what = (drawn_nuclei(), "drawn") if picture is None else _read(picture)
        rows = [*_pipeline_rows(image, what, quick), *_grouping_rows(quick)]
    machine = f"{_processor()}, {CORES} of {os.cpu_count()} cores used"
    return [{"bench": "segment", "machine": machine, **row} for row in rows]


def drawn_nuclei() -> Counts:
    """Picture (512, 512) uint16 of about 125 nuclei; the same each time."""
    from drivers.simulated.fields import render_training_field

    for seed in range(1000):
        image, labels = render_training_field(seed, (SIDE_PX, SIDE_PX), diameter_px=24)
        if NUCLEI[0] <= labels.max() <= NUCLEI[1]:
            return image
    raise NotTheSame(f"no drawn picture has {NUCLEI[0]} to {NUCLEI[1]} nuclei")


def _read(picture: Path) -> tuple[Counts, str]:
    from PIL import Image

    return np.asarray(Image.open(picture)), picture.name


def _pipeline_rows(image: Counts, what: str, quick: bool) -> list[Row]:
    """Whole pipelines beside a camera's rate and beside StarDist's network alone."""
    from live.experiment.loading import load_pipeline_settings

    shipped = load_pipeline_settings(PIPELINE)
    network = shipped.segment
    assert isinstance(network, NetworkSettings)
    engines: list[str] = [network.engine]
    if find_spec("openvino") is not None:
        engines.append("openvino")
    kinds = [(engine, threads) for engine in dict.fromkeys(engines) for threads in (CORES, 1)]
    ways = {f"{engine} {threads}": (engine, threads) for engine, threads in kinds}
    runs: dict[str, Callable[[], object]] = {}
    names: dict[str, str] = {}
    found = 0
    with ExitStack() as stack:
        for way, (engine, threads) in ways.items():
            chosen = network.model_copy(update={"engine": engine, "threads": threads})
            settings = shipped.model_copy(update={"segment": chosen})
            pipeline = stack.enter_context(load_pipeline(settings))
            info = pipeline.warm_up(image.shape, image.dtype.name)
            names[way] = f"{info.name} {info.precision}, {info.device}"
            runs[way] = _frame_by_frame(pipeline, image)
            found = found or len(pipeline.run(image, ImageContext(0, 0.0)).objects)
        if find_spec("torch") is not None:
            predict = stardist_network(CORES)
            bright = float(np.percentile(image, 99.8)) or 1.0
            seen = _cropped((image / bright).astype(np.float32))
            runs["stardist"] = lambda: predict(seen)
        took = _take_turns(runs, 1 if quick else 15)
    rows: list[Row] = []
    case = f"{'x'.join(map(str, image.shape))} {image.dtype}, {what}, {found} nuclei"
    for way, name in names.items():
        rate = 1 / took[way]
        ours = {"ours": f"pipeline {PIPELINE}, {name}", "value_ours": rate, "unit": "frames/s"}
        bar = {"bar": 1.0} if way == f"{engines[0]} {CORES}" else {}
        camera = {"peer": "camera", "value_peer": FRAMES_PER_S, "ratio": rate / FRAMES_PER_S}
        rows.append({"case": case, **ours, **camera, **bar})
        label = f"StarDist network alone, torch eager fp32, {CORES} threads"
        if "stardist" not in took:
            rows.append(_left_out(f"{case}, beside {label}", "torch"))
            continue
        bar = {"bar": OVER_STARDIST} if way == f"{engines[0]} {CORES}" else {}
        peer = {"peer": label, "value_peer": 1 / took["stardist"]}
        rows.append({"case": case, **ours, **peer, "ratio": rate * took["stardist"], **bar})
    return rows


def _frame_by_frame(pipeline: Any, image: Counts) -> Callable[[], object]:
    """One frame after another of a movie that stands still, as time goes on."""
    seq = 0

    def next_frame() -> object:
        nonlocal seq
        seq += 1
        return pipeline.run(image, ImageContext(seq, seq / FRAMES_PER_S))

    return next_frame


def _grouping_rows(quick: bool) -> list[Row]:
    """Our grouping alone beside scikit-image's watershed."""
    rows: list[Row] = []
    label = "scikit-image distance watershed"
    missing = [name for name in ("torch", "onnxscript", "skimage") if find_spec(name) is None]
    if missing:
        return [_left_out(f"grouping, beside {label}", *missing)]
    from models.training.segment.gather import export_grouping
    from models.training.segment.net import OFFSET_UNIT_PX

    with tempfile.TemporaryDirectory() as folder:
        path = export_grouping(Path(folder) / "grouping.onnx")
        ours = {"onnxruntime fp32": grouping_in_onnxruntime(path, CORES)}
        if find_spec("openvino") is not None:
            ours["openvino fp32"] = grouping_in_openvino(path, CORES)
        peer = watershed_of_scikit_image()
        for side, count, bar in GROUPING[: 1 if quick else None]:
            raw = drawn_heads(side, count, OFFSET_UNIT_PX)
            found = {name: objects_in(group(raw)) for name, group in [*ours.items(), ("", peer)]}
            if max(abs(n - count) for n in found.values()) > SAME_COUNT * count:
                raise NotTheSame(f"{count} nuclei drawn; found {found} ('' is the watershed)")
            runs = {name: _bound(group, raw) for name, group in [*ours.items(), ("", peer)]}
            took = _take_turns(runs, 1 if quick else (15 if side < 1000 else 5))
            for name in ours:
                row: Row = {
                    "case": f"grouping {side}x{side}, {count} nuclei",
                    "ours": f"in the graph, {name}, {CORES} threads", "value_ours": 1 / took[name],
                    "peer": f"{label}, 1 thread", "value_peer": 1 / took[""],
                    "unit": "images/s", "ratio": took[""] / took[name],
                }  # fmt: skip
                if bar is not None and name.startswith("onnxruntime"):
                    row["bar"] = bar
                rows.append(row)
    return rows


def _bound(group: Callable[[Any], object], raw: NDArray[np.float32]) -> Callable[[], object]:
    return lambda: group(raw)


def _take_turns(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each; one round first that does not count."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    deadline = time.perf_counter() + PATIENCE_S
    for turn in range(rounds + 1):
        if turn > 3 and time.perf_counter() > deadline:
            break
        for name, once in runs.items():
            start = time.perf_counter()
            once()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def _left_out(case: str, *missing: str) -> Row:
    needs = ", ".join(missing)
    return {"case": case, "left_out": f"{needs} not installed; `pip install 'parfocal[train]'`"}


def _cropped(image: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = (length // 16 * 16 for length in image.shape)
    return np.ascontiguousarray(image[:height, :width])


class _TwoCores:
    """Keep this process to two cores meanwhile, where the system can do that."""

    def __enter__(self) -> None:
        self._all = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        if len(self._all) > CORES:
            os.sched_setaffinity(0, set(sorted(self._all)[:CORES]))

    def __exit__(self, *exc: object) -> None:
        if len(self._all) > CORES:
            os.sched_setaffinity(0, self._all)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
