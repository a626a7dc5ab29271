"""Probe: how much slower is one core's work while the others are at work as well?

Cores share caches, memory and, where two of them are halves of one, the units that multiply.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import Any

import numpy as np

from live.doctor.samples import read_sample
from models.catalog import weights_path
from models.engines import Engine, open_engine

ROUNDS = 3
SIDE = 512
"""A part of so many pixels along an edge is enough."""
START_S = 1.0
"""Until a companion is at work."""


def time_sharing(*, model: str, sample: str, cores: int, seconds: float) -> dict[str, Any]:
    """Slowdown of a network on one core while ``cores - 1`` others copy and add images."""
    if cores < 2:
        return {"slowdown": 1.0}
    image = read_sample(sample)[0, :SIDE, :SIDE].astype(np.float32)
    each_s = seconds / (2 * ROUNDS)
    alone: list[float] = []
    beside: list[float] = []
    with open_engine(weights_path(model), "onnxruntime") as engine:
        _run_for(engine, image, each_s)
        for _ in range(ROUNDS):
            alone.append(_run_for(engine, image, each_s))
            with ExitStack() as stack:
                for _companion in range(cores - 1):
                    stack.callback(_end, _spinning(seconds))
                time.sleep(START_S)
                beside.append(_run_for(engine, image, each_s))
    one, other = statistics.median(alone), statistics.median(beside)
    return {"slowdown": max(1.0, other / one), "alone_ms": one, "beside_ms": other}


def spin(*, seconds: float) -> dict[str, Any]:
    """What the rig's process does, without a pause: copies images, looks at them, adds them up."""
    image = np.arange(2048 * 2048, dtype=np.uint16).reshape(2048, 2048)
    until = time.monotonic() + seconds
    total = 0.0
    while time.monotonic() < until:
        copy = image.copy()
        total += float(copy[::8].astype(np.float32).sum())
    return {"total": total}


def _run_for(engine: Engine, image: Any, seconds: float) -> float:
    """Median milliseconds of a run, as time of the core: waiting for one does not count."""
    times: list[float] = []
    until = time.monotonic() + seconds
    while len(times) < 3 or time.monotonic() < until:
        start = time.process_time()
        engine.run({"image": image})
        times.append((time.process_time() - start) * 1e3)
    return statistics.median(times)


def _spinning(seconds: float) -> subprocess.Popen[bytes]:
    question = f'{{"seconds": {seconds + 5}}}'
    command = [sys.executable, "-m", "live.doctor.probe", "spin", question, os.devnull]
    return subprocess.Popen(command)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(5)
