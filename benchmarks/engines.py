"""Every engine in every precision on every shipped network, beside torch eager, error beside time.

Rounds of all engines take turns in an order that is drawn anew each round, so that what else the
machine does hits all of them; medians are compared. On a machine with more cores the run keeps to
two. The error is against torch in float32, on other pictures than the one that is timed.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.engines_eager import EagerSegmenter
from benchmarks.engines_given import Given, against_truth, apart, given_for
from benchmarks.engines_int8 import LOST, Eight, eight_bit_files
from benchmarks.machine import TwoCores, processor
from models.catalog import ModelCard, models_available
from models.engines import Engine, engines_installed, open_engine
from models.errors import EngineError
from models.settings import NetworkSettings

CORES = 2
DEFAULT: str = NetworkSettings(model="nuclei").engine
"""What runs where nobody chooses."""
MAIN, MAIN_SIDE = "nuclei", 512
"""Network and size that the bars are for."""

EAGER = "torch eager fp32"
"""Not our engine of the name torch, which runs the network as it was laid out for export."""
OVER_TORCH = 2.5
OVER_TORCH_INT8 = 4.0
SAME = 0.98
WRAPPED = 1.03
"""Most that a call through our engine may take, as a multiple of the bare call."""

PRECISIONS = {"onnxruntime": ("fp32",), "openvino": ("fp32", "bf16"), "torch": ("fp32", "bf16")}
"""Of engines on the CPU. Those for GPUs are measured by ``benchmarks/gpu.py``."""

TIMED_SEED, SEEDS = 1, tuple(range(2, 8))
PATIENCE_S = 40.0
"""After this long no further round of a case begins; three there are at least."""
REST_S = 0.015
"""Between two calls: torch's threads spin for 10 ms after each, in the way of the next engine."""

Row = dict[str, Any]


def run(*, quick: bool = False) -> list[Row]:
    """Measure and return one row for each engine, precision, network and size.

    Parameters
    ----------
    quick
        One round of each at one size.
    """
    rows: list[Row] = []
    with TwoCores(CORES), TemporaryDirectory() as folder:
        for card in models_available():
            sides = (MAIN_SIDE,) if quick or card.task == "classify" else (MAIN_SIDE, 1024)
            for side in sides:
                rows += _compared(card, side, Path(folder), quick)
        card = next(card for card in models_available() if card.name == MAIN)
        rows += _wrapped(card, quick)
    machine = f"{processor()}, {CORES} cores used"
    return [{"bench": "engines", "machine": machine, **row} for row in rows]


def _compared(card: ModelCard, side: int, folder: Path, quick: bool) -> list[Row]:
    """Rows of one network at one size."""
    main = (card.name, side) == (MAIN, MAIN_SIDE)
    timed = given_for(card, side, (TIMED_SEED,))[0]
    others = given_for(card, side, SEEDS[: 1 if quick else 6 if side < 1000 else 2])
    case = f"{card.name} {side}x{side}" if card.task != "classify" else f"{card.name} 64 crops"
    if "torch" not in engines_installed() or find_spec("onnx") is None:
        needs = "torch or onnx not installed; `pip install 'parfocal[train]'`"
        return [{"case": f"{case}, beside torch eager", "left_out": needs}]
    eight: list[Eight] = []
    rows: list[Row] = []
    if main:
        eight, missing = eight_bit_files(card, folder)
        rows += [{"case": f"{case}, int8", "left_out": why} for why in missing]
    with ExitStack() as stack:
        opened = _open_all(card, eight, stack)
        runs = {name: _bound(engine, timed) for name, engine in opened.items()}
        took = take_turns(runs, 1 if quick else 15)
        answers = {
            name: [engine.run(one.inputs) for one in others] for name, engine in opened.items()
        }
    peer = EAGER if EAGER in took else "torch fp32"
    torch = took.pop(peer) if peer == EAGER else took[peer]
    best = min((took[f"{one.engine} int8"] for one in eight), default=0.0)
    for name, seconds in took.items():
        error = apart(card, others, answers[name], answers[peer])
        row: Row = {
            "case": case,
            "ours": f"{name}, {CORES} threads, {error.value:.4f} {error.what},",
            "value_ours": 1e3 * seconds, "peer": f"torch eager fp32, {CORES} threads",
            "value_peer": 1e3 * torch, "unit": "ms", "ratio": torch / seconds,
            "error": error.value, "error_is": error.what,
        }  # fmt: skip
        if main and name == f"{DEFAULT} fp32":
            row["bar"] = OVER_TORCH
        if main and name.endswith("int8") and seconds == best:
            row["bar"] = OVER_TORCH_INT8
        rows.append(row)
        if main and name == f"{DEFAULT} fp32":
            rows.append(_alike(case, name, error.value))
        if main and name.endswith("int8"):
            rows.append(_no_worse(case, name, others, answers))
    return rows


def _open_all(
    card: ModelCard, eight: list[Eight], stack: ExitStack
) -> dict[str, Engine | EagerSegmenter]:
    """Every engine in every precision that this machine has, by name; torch among them."""
    wanted = [
        (card.path, engine, precision)
        for engine in engines_installed()
        for precision in PRECISIONS.get(engine, ())
    ]
    wanted += [(one.path, one.engine, "int8") for one in eight]
    opened: dict[str, Engine | EagerSegmenter] = {}
    for path, engine, precision in wanted:
        try:
            held = stack.enter_context(open_engine(path, engine, precision, CORES))
        except EngineError as error:
            # said by an engine whose CPU has no such arithmetic; anything else is a fault
            if "it runs" not in str(error):
                raise
            print(f"engines: left out: {error}")
            continue
        opened[f"{engine} {precision}"] = held
    if card.task == "segment":
        opened[EAGER] = stack.enter_context(EagerSegmenter(card.path, CORES))
    return opened


def _alike(case: str, name: str, same: float) -> Row:
    return {
        "case": f"{case}, the same objects", "ours": name, "value_ours": same,
        "peer": "torch eager fp32", "value_peer": 1.0, "unit": "AP@0.9", "ratio": same, "bar": SAME,
    }  # fmt: skip


def _no_worse(case: str, name: str, given: list[Given], answers: Mapping[str, Any]) -> Row:
    """Against what was drawn, 8 bits may lose so much and no more."""
    ours = against_truth(given, answers[name], 0.5)
    full = against_truth(given, answers[f"{DEFAULT} fp32"], 0.5)
    return {
        "case": f"{case}, against the truth", "ours": name, "value_ours": ours,
        "peer": f"{DEFAULT} fp32", "value_peer": full, "unit": "AP@0.5",
        "ratio": ours / full, "bar": (full - LOST) / full,
    }  # fmt: skip


def _wrapped(card: ModelCard, quick: bool) -> list[Row]:
    """What our engine adds to the bare call of ONNX Runtime, made as its manual says."""
    import onnxruntime as ort

    timed = given_for(card, MAIN_SIDE, (TIMED_SEED,))[0].inputs
    options = ort.SessionOptions()
    # one thread: what the wrapper adds is the same, and two would wait for each other now and then
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    bare = ort.InferenceSession(str(card.path), options, providers=["CPUExecutionProvider"])
    feeds = {
        one.name: timed.get(one.name, np.zeros([k for k in one.shape if isinstance(k, int)], "f4"))
        for one in bare.get_inputs()
    }
    names = [one.name for one in bare.get_outputs()]
    with open_engine(card.path, "onnxruntime") as engine:
        runs: dict[str, Callable[[], object]] = {
            "ours": lambda: engine.run(timed), "bare": lambda: bare.run(names, feeds),
        }  # fmt: skip
        # the processor's time, not the clock's: the difference is small, a busy machine is not
        took = take_turns(runs, 1 if quick else 60, time.process_time)
    return [
        {
            "case": f"{card.name} {MAIN_SIDE}x{MAIN_SIDE}, our call beside the bare one",
            "ours": "Engine.run, 1 thread", "value_ours": 1e3 * took["ours"],
            "peer": "InferenceSession.run", "value_peer": 1e3 * took["bare"], "unit": "ms of CPU",
            "ratio": took["bare"] / took["ours"], "bar": round(1 / WRAPPED, 4),
        }
    ]  # fmt: skip


def take_turns(
    runs: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each; two rounds first that do not count."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    order, dice = list(runs), random.Random(0)
    deadline = time.perf_counter() + PATIENCE_S
    for turn in range(-2, rounds):
        if turn >= 3 and time.perf_counter() > deadline:
            break
        dice.shuffle(order)
        for name in order:
            time.sleep(REST_S)
            start = clock()
            runs[name]()
            if turn >= 0:
                times[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def _bound(engine: Engine | EagerSegmenter, given: Given) -> Callable[[], dict[str, NDArray[Any]]]:
    return lambda: engine.run(given.inputs)
