"""How the time of a frame grows with pixels, with objects, and with the frames before it.

Each stage is timed over sizes that go up in steps, and a line is laid through the points on
log-log axes: its slope is the exponent, 1 where twice as much takes twice as long. Allowed are
``ALLOWED``. Fixed costs make an exponent smaller, so it is the line through the upper half of the
points that counts.

- *pixels*: hand-over through the ring, and the stages of the pipelines, on a drawn picture whose
  objects grow in number with its area.
- *objects*: measuring, tracking, rules and journal, objects in an image of fixed size.
- *frames*: tracker, rules and journal through a long movie; the time of all frames so far, so that
  1 means that a frame late in the movie takes no longer than an early one.

Times are of the processor, so that a busy machine changes them little; of the pipelines' stages,
which are timed by the wall clock, the least counts.
"""

from __future__ import annotations

import itertools
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.decide import CLASSES, CONDITIONS, SIDE_PX, drawn_objects
from benchmarks.measure import drawn_ellipses
from benchmarks.track import wandering_cells
from drivers import FrameMeta, FrameRing, RingReader
from live.experiment.loading import load_pipeline_settings
from live.recording.journal import Journal
from live.rules.decisions import RuleBook
from live.rules.settings import RuleSettings
from models import load_pipeline
from models.result import EngineInfo, ImageContext
from models.settings import TrackSettings
from models.tasks.measure import measure
from models.tracking import Tracker

ALLOWED: Final = 1.15
SIDES: Final = (256, 512, 1024, 2048, 4096)
QUICK_SIDES: Final = (256, 512, 1024)
NETWORK_MOST: Final = 2048
"""A network's time for more is known to be that of its tiles."""
OBJECTS: Final = (10, 30, 100, 300, 1000, 2000, 5000)
QUICK_OBJECTS: Final = (10, 100, 300)
FRAMES: Final = (1, 10, 100, 1000, 3000, 10_000)
QUICK_FRAMES: Final = (1, 10, 100, 300)
IN_MOVIE: Final = 50
"""Objects in each frame of the long movie."""
PX_AN_OBJECT: Final = 2000

Row = dict[str, Any]
Points = list[tuple[float, float]]


def run(*, quick: bool = False) -> list[Row]:
    """Measure; one row for each stage and each thing that grows."""
    about = {
        "bench": "growth",
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
    }
    sides = QUICK_SIDES if quick else SIDES
    objects, frames = (QUICK_OBJECTS, QUICK_FRAMES) if quick else (OBJECTS, FRAMES)
    found = itertools.chain(
        (("pixels", name, points) for name, points in over_pixels(sides, 3 if quick else 7)),
        (("objects", name, points) for name, points in over_objects(objects, 5 if quick else 15)),
        (("frames", name, points) for name, points in over_frames(frames)),
    )
    return [about | row_of(what, stage, points) for what, stage, points in found]


def row_of(what: str, stage: str, points: Points) -> Row:
    """A stage beside what is allowed; ``points`` are (size, ms)."""
    slope = exponent(points)
    (first, first_ms), (last, last_ms) = points[0], points[-1]
    sizes = f"{math.sqrt(first):.0f}² to {math.sqrt(last):.0f}²"
    if what != "pixels":
        sizes = f"{first:g} to {last:g}"
    case = (
        f"{what} {sizes}: {stage}, {first_ms:.3g} to {last_ms:.3g} ms"
        f"{' in all' if what == 'frames' else ''}"
    )
    return {
        "case": case, "ours": "exponent", "peer": "allowed", "value_ours": slope,
        "value_peer": ALLOWED, "unit": f"ms by {what}",
        "ratio": ALLOWED / max(slope, 0.01), "bar": 1.0, "points": points,
        "along": what,
    }  # fmt: skip


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Slope on log-log axes of the upper half of the points, three at the least."""
    upper = sorted(points)[-max(3, (len(points) + 1) // 2) :]
    x, y = np.log(np.array(upper, float)).T
    slope, _ = np.polyfit(x, y, 1)
    return float(slope)


# --- pixels ---------------------------------------------------------------------------------------


def over_pixels(sides: Sequence[int], rounds: int) -> Iterator[tuple[str, Points]]:
    """Stage -> (pixels, ms)."""
    found: dict[str, Points] = {}
    for side in sides:
        labels, pixels = drawn_ellipses(side, side * side // PX_AN_OBJECT)
        pixels = np.where(labels > 0, pixels, 100).astype(np.uint16)
        found.setdefault("ring, there and back", []).append((side**2, _ring(pixels, rounds)))
        for name in ("threshold", "nuclei"):
            if name == "nuclei" and side > NETWORK_MOST:
                continue
            for stage, ms in _pipeline(name, pixels, rounds if name == "threshold" else 2).items():
                found.setdefault(f"{name}, {stage}", []).append((side**2, ms))
    yield from ((name, points) for name, points in found.items() if len(points) > 2)


def _ring(pixels: NDArray[np.uint16], rounds: int) -> float:
    ring, reader = FrameRing(max(16, 8 * pixels.nbytes / 2**20)), RingReader()
    try:

        def once() -> None:
            reader.copy(ring.write({"raw": pixels}))

        once()
        return _median_ms(once, rounds * 3)
    finally:
        reader.close()
        ring.close()


def _pipeline(name: str, pixels: NDArray[np.uint16], rounds: int) -> dict[str, float]:
    """Stage -> least ms; the first frame, in which sizes are found, is not counted."""
    times: dict[str, list[float]] = {}
    with load_pipeline(load_pipeline_settings(name)) as pipeline:
        pipeline.warm_up(pixels.shape, pixels.dtype.name)
        for seq in range(rounds + 1):
            result = pipeline.run(pixels, ImageContext(seq, seq * 1.0))
            for stage, ms in result.stage_ms.items() if seq else ():
                times.setdefault(stage, []).append(ms)
    return {
        stage: min(ms) for stage, ms in times.items() if stage in ("segment", "measure", "track")
    }


# --- objects --------------------------------------------------------------------------------------


def over_objects(counts: Sequence[int], rounds: int) -> Iterator[tuple[str, Points]]:
    """Stage -> (objects, ms)."""
    yield "measure", [(count, _measure(count, rounds)) for count in counts]
    yield "track", [(count, _track(count)) for count in counts]
    yield "rules, 8", [(count, _decide(count, rounds)) for count in counts]
    yield "journal", [(count, _journal(count, rounds)) for count in counts]


def _measure(count: int, rounds: int) -> float:
    labels, pixels = drawn_ellipses(SIDE_PX, count)
    sure = np.ones(count, np.float32)
    return _median_ms(lambda: measure(labels, pixels, sure, ImageContext(0, 0.0)), rounds)


def _track(count: int) -> float:
    tracker, times = Tracker(TrackSettings()), []
    for frame, (table, labels) in enumerate(wandering_cells(count)):
        start = time.process_time()
        tracker.update(table, labels, ImageContext(frame, float(frame)))
        times.append(1e3 * (time.process_time() - start))
    return statistics.median(times[3:])


def _decide(count: int, rounds: int) -> float:
    book = _book()
    seqs = itertools.count()
    return _median_ms(lambda: _judge(book, next(seqs), drawn_objects(count, 0)), rounds)


def _journal(count: int, rounds: int) -> float:
    seqs = itertools.count()
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder, "j.sqlite")) as journal:
        table = drawn_objects(count, 0)
        return _median_ms(lambda: _write(journal, next(seqs), table), rounds)


# --- frames ---------------------------------------------------------------------------------------


def over_frames(marks: Sequence[int]) -> Iterator[tuple[str, Points]]:
    """Stage -> (frames, ms of all of them)."""
    there = wandering_cells(IN_MOVIE)
    # To and fro without an end, so that the same cells go on for as long as it takes.
    movie = [*there, *there[-2:0:-1]]
    tracker = Tracker(TrackSettings())

    def track(seq: int) -> None:
        table, labels = movie[seq % len(movie)]
        tracker.update(table, labels, ImageContext(seq, float(seq)))

    yield "track", _in_all(track, marks)
    book = _book()
    tables = [drawn_objects(IN_MOVIE, seq) for seq in range(20)]
    yield "rules, 8", _in_all(lambda seq: _judge(book, seq, tables[seq % len(tables)]), marks)
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder, "j.sqlite")) as journal:

        def write(seq: int) -> None:
            _write(journal, seq, tables[seq % len(tables)], flush=seq % 100 == 0)

        yield "journal", _in_all(write, marks)


def _in_all(step: Callable[[int], None], marks: Sequence[int]) -> Points:
    points: Points = []
    start = time.process_time()
    for seq in range(max(marks)):
        step(seq)
        if seq + 1 in marks:
            points.append((seq + 1, max(1e3 * (time.process_time() - start), 1e-3)))
    return points


# --- parts ----------------------------------------------------------------------------------------


def _book() -> RuleBook:
    texts = [text.format(k=k) for k, text in enumerate(CONDITIONS)]
    return RuleBook(
        [
            RuleSettings.model_validate(
                {"name": f"rule {k}", "when": text, "then": {"kind": "stop"}}
            )
            for k, text in enumerate(texts)
        ]
    )


def _judge(book: RuleBook, seq: int, table: NDArray[np.void]) -> None:
    at_ns = seq * 100_000_000
    meta = FrameMeta(
        seq=seq, captured_ns=at_ns, popped_ns=at_ns, exposure_ms=20.0, pixel_size_um=0.5
    )
    book.judge(table, meta, (SIDE_PX, SIDE_PX), at_ns + 1_000_000, CLASSES)


def _write(journal: Journal, seq: int, table: NDArray[np.void], *, flush: bool = True) -> None:
    engine = EngineInfo(name="none", precision="", device="")
    journal.add_result(seq, table, engine=engine, stage_ms={}, labels_written=False)
    if flush:
        journal.flush()


def _median_ms(step: Callable[[], object], rounds: int) -> float:
    """Processor time, which other programs on the machine change little."""
    step()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        step()
        times.append(1e3 * (time.process_time() - start))
    return max(statistics.median(times), 1e-3)
