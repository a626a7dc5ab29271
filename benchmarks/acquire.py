"""From the camera into another process: the acquisition loop beside three other ways, in one run.

MMCore's DemoCamera runs at full speed (``FastImage``, no exposure; without ``FastImage`` its own
sine waves are what is measured). Every contestant delivers every frame to a second process, which
reads one pixel of each cache line and proves that none is missing or torn. Two cases:

*live*: frames/s while the camera runs. The camera alone takes about 1.1 ms a frame, at 512 x 512
that is the slowest part of every contestant, so nobody can be much faster than another there.

*backlog*: the camera has filled the core's buffer first, and what is measured is how fast the
frames leave it: what each way can carry, whatever the camera.

Rounds are interleaved and the median counts; the order changes from round to round. The core's
buffer holds the whole sequence, so that a slow contestant is slow and does not overflow.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from typing import Any

import msgspec

from benchmarks.acquire_hops import hop_rows
from benchmarks.acquire_read import Found

SIZES = (512, 2048)
LABELS = {
    "nothing": "raw popNextImage, nothing attached",
    "raw": "popNextImage + pyzmq copy=False",
    "runner": "pymmcore-plus MDARunner + pyzmq",
    "pycromanager": "pycro-manager hook + pyzmq",
}
FRAMES = {(512, False): 1500, (512, True): 800, (2048, False): 110, (2048, True): 100}
BEST_BAR = 1.3
NOTHING_BAR = 0.75
LIMIT_S = 180.0
CAMERA_BOUND = {(512, False)}
"""Cases in which the camera is slower than every contestant, so the best peer sets no bar."""


def run(*, quick: bool = False) -> list[dict[str, Any]]:
    """Measure and return one row for each size, case and peer, then one for each hop of ours."""
    rows: list[dict[str, Any]] = []
    for (size, backlog), frames in FRAMES.items():
        names = ["ours", *(name for name in LABELS if not (backlog and name == "nothing"))]
        rates: dict[str, list[float]] = {name: [] for name in names}
        problems: dict[str, str] = {}
        for number in range(1 if quick else 5):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                rate = _rate(name, size, frames, backlog)
                if isinstance(rate, str):
                    problems[name] = rate
                else:
                    rates[name].append(rate)
        rows += _rows(size, backlog, rates, problems)
    for size in SIZES:
        rows += hop_rows(size, quick=quick)
    return rows


def _rows(
    size: int, backlog: bool, rates: dict[str, list[float]], problems: dict[str, str]
) -> list[dict[str, Any]]:
    where = f"{size}x{size} uint16, {'backlog' if backlog else 'live'}"
    found = {name: statistics.median(some) for name, some in rates.items() if some}
    if "ours" not in found or "ours" in problems:
        return [_left_out(f"{where}, ours", problems["ours"])]
    peers = {name: rate for name, rate in found.items() if name not in ("ours", "nothing")}
    best = max(peers, key=lambda name: peers[name], default="")
    rows = []
    for name, label in LABELS.items():
        if name not in rates:
            continue
        if name not in found:
            rows.append(_left_out(f"{where}, {label}", problems[name]))
            continue
        row: dict[str, Any] = {
            "bench": "acquire",
            "case": f"{where}, {label}" + (" (best peer)" if name == best else ""),
            "ours": "rig + ring + wire",
            "peer": label,
            "value_ours": found["ours"],
            "value_peer": found[name],
            "unit": "frames/s",
            "ratio": found["ours"] / found[name],
            "rounds_ours": rates["ours"],
            "rounds_peer": rates[name],
        }
        if name in problems:
            row["lost_in_a_round"] = problems[name]
        if name == "nothing":
            row["bar"] = NOTHING_BAR
        elif name == best and (size, backlog) not in CAMERA_BOUND:
            row["bar"] = BEST_BAR
        rows.append(row)
    return rows


def _left_out(case: str, why: str) -> dict[str, Any]:
    return {"bench": "acquire", "case": case, "left_out": why}


def _rate(name: str, size: int, frames: int, backlog: bool) -> float | str:
    """Frames/s of one run in a process of its own; what went wrong as text."""
    command = [
        sys.executable, "-m", "benchmarks.acquire_send", "--kind", name, "--size", str(size),
        "--frames", str(frames), *(["--backlog"] if backlog else []),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"no end after {LIMIT_S:g} s"
    lines = done.stdout.strip().splitlines()
    try:
        found = msgspec.json.decode(lines[-1] if lines else "", type=Found)
    except (msgspec.DecodeError, msgspec.ValidationError):
        last = done.stderr.strip().splitlines()[-1:] or ["no output"]
        return f"exit code {done.returncode}: {last[0]}"
    return found.problem or found.timed / found.seconds
