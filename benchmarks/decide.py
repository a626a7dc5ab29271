"""Deciding: rules with conditions over the object table, beside what else one could do with them.

The rules are those of ``live.rules.decisions``, history and guards included. The peers only work
the same conditions out over the same columns: DuckDB asked once for each rule, as a script would,
and ``polars.sql_expr`` where polars is installed, which the program itself does not need. Processor
time is compared, so that other programs on the machine do not count; wall time stands beside it.
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

from drivers import FrameMeta
from live.rules.decisions import RuleBook
from live.rules.settings import RuleSettings
from models.result import OBJECT_DTYPE

CASES: Final = ((1000, 20), (100, 20), (10_000, 20), (1000, 1), (1000, 100))
"""Objects and rules; the first one has the bar."""
LEAST_PER_S: Final = 100.0
SIDE_PX: Final = 2048
CONDITIONS: Final = (
    "area > 79{k} AND confidence > 0.5",
    "class = 'mitotic' AND p > 0.9{k}",
    "area_change > 9.{k}",
    "mean_change > 9 AND speed > {k}",
    "divided AND x BETWEEN {k} AND 900",
    "age > 3 AND eccentricity > 0.99{k}",
    "speed_um > 39{k} OR mean > 60000",
    "sqrt(x * x + y * y) < {k}",
)
FIELDS: Final = {
    "area": "area_px", "confidence": "confidence", "p": "class_probability", "speed": "speed_px",
    "divided": "divided", "x": "x_px", "y": "y_px", "age": "age_frames",
    "eccentricity": "eccentricity", "mean": "mean_intensity",
}  # fmt: skip
CLASSES: Final = ("interphase", "mitotic")

Row = dict[str, Any]


def run(*, quick: bool = False) -> list[Row]:
    """Measure and return one row for each case; ``quick`` only shows that it works."""
    head = {
        "bench": "decide",
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
    }
    frames = 5 if quick else 60
    rows: list[Row] = []
    for objects, count in CASES[: 1 if quick else None]:
        texts = [CONDITIONS[k % len(CONDITIONS)].format(k=k) for k in range(count)]
        cpu_ms, wall_ms = _rule_book(texts, objects, frames)
        case = {**head, "case": f"{objects} objects, {count} rules", "unit": "frames/s"}
        mine = {"ours": "RuleBook.judge", "value_ours": 1e3 / cpu_ms, "wall_ms": wall_ms}
        if (objects, count) == CASES[0]:
            ratio = 1e3 / cpu_ms / LEAST_PER_S
            asked = {"peer": "what is asked for", "value_peer": LEAST_PER_S, "ratio": ratio}
            rows.append({**case, **mine, **asked, "bar": 1.0})
        for peer, function in _peers(texts).items():
            theirs = _timed(function, objects, max(3, frames // 6))[0]
            rows.append(
                {**case, **mine, "peer": peer, "value_peer": 1e3 / theirs, "ratio": theirs / cpu_ms}
            )
    return rows


def _rule_book(texts: list[str], objects: int, frames: int) -> tuple[float, float]:
    rules = [
        RuleSettings.model_validate({"name": f"rule {k}", "when": text, "then": {"kind": "stop"}})
        for k, text in enumerate(texts)
    ]
    book = RuleBook(rules)

    def judge(seq: int, table: NDArray[np.void]) -> None:
        at_ns = seq * 100_000_000
        meta = FrameMeta(
            seq=seq, captured_ns=at_ns, popped_ns=at_ns, exposure_ms=20.0, pixel_size_um=0.5
        )
        book.judge(table, meta, (SIDE_PX, SIDE_PX), at_ns + 1_000_000, CLASSES)

    return _timed(judge, objects, frames)


def _timed(
    function: Callable[[int, NDArray[np.void]], object], objects: int, frames: int
) -> tuple[float, float]:
    """Median processor and wall time of a frame, ms; the first frames are not counted."""
    cpu, wall = [], []
    for seq in range(frames + 2):
        table = drawn_objects(objects, seq)
        clock, start = time.process_time(), time.perf_counter()
        function(seq, table)
        cpu.append(1e3 * (time.process_time() - clock))
        wall.append(1e3 * (time.perf_counter() - start))
    return statistics.median(cpu[2:]), statistics.median(wall[2:])


def drawn_objects(count: int, seq: int) -> NDArray[np.void]:
    """(``count``,) of ``OBJECT_DTYPE``: tracks that wander; the same for the same ``seq``."""
    random = np.random.default_rng(seq)
    table = np.zeros(count, OBJECT_DTYPE)
    table["track_id"] = table["label"] = np.arange(1, count + 1)
    for name, most in (("area_px", 800), ("mean_intensity", 800), ("x_px", SIDE_PX),
                       ("y_px", SIDE_PX), ("speed_px", 20), ("eccentricity", 0.99)):  # fmt: skip
        table[name] = random.uniform(most / 80, most, count)
    table["confidence"], table["uncertainty"] = 0.9, -1
    table["class_id"], table["class_probability"] = seq % 2, 0.8
    table["age_frames"] = seq + 1
    return table


# --- peers ---------------------------------------------------------------------------------------


def _peers(texts: list[str]) -> dict[str, Callable[[int, NDArray[np.void]], object]]:
    """Ways to work the conditions out that need no history; those of change ask for the area."""
    plain = [text.replace("area_change", "area").replace("mean_change", "mean")
             .replace("speed_um", "speed") for text in texts]  # fmt: skip
    peers = {"duckdb, a query for each rule": _duckdb(plain)}
    if find_spec("polars"):
        peers["polars.sql_expr"] = _polars(plain)
    return peers


def _columns(table: NDArray[np.void]) -> dict[str, Any]:
    columns: dict[str, Any] = {
        name: np.ascontiguousarray(table[field]) for name, field in FIELDS.items()
    }
    columns["class"] = np.array(CLASSES, object)[table["class_id"]]
    return columns


def _duckdb(texts: list[str]) -> Callable[[int, NDArray[np.void]], object]:
    import duckdb

    connection = duckdb.connect(":memory:", config={"threads": 1})

    def judge(seq: int, table: NDArray[np.void]) -> object:
        del seq
        connection.register("objects", _columns(table))
        return [
            connection.execute(f"SELECT {text} AS holds FROM objects").fetchnumpy()
            for text in texts
        ]

    return judge


def _polars(texts: list[str]) -> Callable[[int, NDArray[np.void]], object]:
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    polars: Any = import_module("polars")
    conditions = [polars.sql_expr(text).alias(f"r{k}") for k, text in enumerate(texts)]

    def judge(seq: int, table: NDArray[np.void]) -> object:
        del seq
        columns = _columns(table)
        columns["class"] = columns["class"].tolist()
        return polars.DataFrame(columns).select(conditions).to_dict()

    return judge
