"""Frames from one process to another: our ring beside raw pyzmq, a queue and one bare copy.

Every contestant runs a sending and a receiving process. The receiver gets each frame as a numpy
array, reads a sample of its pixels and confirms it; the sender keeps no more than ``IN_FLIGHT``
unconfirmed frames, so nothing is lost. The first frames are not timed. Rounds are interleaved and
the median is reported. The sum of the sampled pixels is compared at the end: a contestant that
loses or tears a frame is an error.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from typing import Any

from benchmarks import handover_word
from benchmarks.handover_read import Lost

SIZES = (512, 1024, 2048)
OURS = "ours"
PEERS = {
    "zmq": "pyzmq copy=False",
    "queue": "multiprocessing.Queue",
    "memcpy": "bare copy into shared memory",
}
BARS = {("zmq", 2048): 2.0, ("queue", 2048): 5.0, ("memcpy", 2048): 0.6}
LIMIT_S = 120.0


def run(*, quick: bool = False, sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Measure and return one row for each size and peer; ``quick`` only shows that it works."""
    rounds = 1 if quick else 5
    rows: list[dict[str, Any]] = []
    for size in sizes:
        frames = max(30, int((40 if quick else 300) * min(1.0, (1024 / size) ** 2)))
        found: dict[str, list[float]] = {name: [] for name in (OURS, *PEERS)}
        for _ in range(rounds):
            for name in found:
                # The queue takes about ten times as long a frame; fewer give the same figure.
                count = frames if name != "queue" else max(20, frames // 5)
                found[name].append(_rate(name, size, count))
        ours = statistics.median(found[OURS])
        for peer, label in PEERS.items():
            theirs = statistics.median(found[peer])
            row: dict[str, Any] = {
                "bench": "handover",
                "case": f"{size}x{size} uint16, {label}",
                "ours": "ring + descriptor",
                "peer": label,
                "value_ours": ours,
                "value_peer": theirs,
                "unit": "frames/s",
                "ratio": ours / theirs,
            }
            if (peer, size) in BARS:
                row["bar"] = BARS[peer, size]
            rows.append(row)
    rows.append(handover_word.row(20 if quick else 200))
    return rows


def _rate(name: str, size: int, frames: int) -> float:
    """Frames/s of one run in a process of its own."""
    command = [
        sys.executable, "-m", "benchmarks.handover_send", "--kind", name, "--size", str(size),
        "--frames", str(frames),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no output"]
        raise Lost(f"{name}: exit code {done.returncode}: {last[0]}")
    return float(done.stdout.split()[-1])
