"""From camera to decision, hop by hop, in runs of the whole program.

``threshold`` at 512 x 512 on MMCore's DemoCamera is the price of the way itself: what passes
between the end of exposure and the decision, less the time of the model, beside a bare ping-pong
of the same frame between two processes by pyzmq, before and after in the same run and as often.
``nuclei`` at three sizes on the simulated rig shows where the time goes; it is held to no bar.

The times are those of the journal, so they are what any user's run has too.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.latency_echo import ping
from benchmarks.latency_picture import stacked
from benchmarks.latency_run import Ran, demo_camera, percentiles, run_program

SECONDS, QUICK_SECONDS = 60.0, 8.0
SIZE = 512
INTERVAL_S = 0.05
BARS = {"p50": 2.0, "p99": 3.0}
PICTURE = Path("latency.png")
NUCLEI_S = {512: 0.4, 1024: 1.2, 2048: 4.0}
"""Side -> seconds between frames: slow enough for the network to keep up on two cores."""
STEPS = {
    "read-out": ("captured", "popped"),
    "into the ring": ("popped", "in_ring"),
    "to inference": ("in_ring", "received"),
    "checked, copied": ("received", "inference_start"),
    "inference": ("inference_start", "inference_end"),
    "tracking": ("inference_end", "tracked"),
    "result back": ("tracked", "result_received"),
    "decision": ("result_received", "decided"),
}
"""Hops that follow each other without a gap, from camera to decision."""

Row = dict[str, Any]


def run(*, quick: bool = False) -> list[Row]:
    """Measure; writes ``latency.png`` into the folder where it is called, a bar for each run."""
    seconds = QUICK_SECONDS if quick else SECONDS
    rows: list[Row] = []
    bars: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        work = Path(temporary)
        ours, peer = _threshold(work, seconds)
        rows += _held(ours, peer) + _hops("threshold", SIZE, ours)
        bars[f"threshold {SIZE}"] = _medians(ours)
        for size, interval_s in NUCLEI_S.items():
            sys.stdout.write(f"  nuclei at {size} x {size}, {seconds:g} s ...\n")
            sys.stdout.flush()
            rig = {"driver": "simulated", "width": size, "height": size}
            ran = run_program(
                _experiment("nuclei", rig, interval_s, seconds, 20.0),
                work / f"n{size}",
                seconds,
            )
            rows += _hops("nuclei", size, ran)
            bars[f"nuclei {size}"] = _medians(ran)
    stacked(bars, PICTURE)
    return rows


def _threshold(work: Path, seconds: float) -> tuple[Ran, NDArray[np.float64]]:
    """The program between two halves of the ping-pong."""
    count = max(20, int(seconds / INTERVAL_S / 2))
    before = ping(SIZE, count, INTERVAL_S)
    rig = demo_camera(SIZE)
    ran = run_program(_experiment("threshold", rig, INTERVAL_S, seconds, 10.0), work / "t", seconds)
    return ran, np.concatenate([before, ping(SIZE, count, INTERVAL_S)])


def _experiment(
    pipeline: str, rig: Row, interval_s: float, seconds: float, exposure_ms: float
) -> Row:
    channel = {"config": "DAPI", "exposure": exposure_ms}
    if rig["driver"] == "simulated":
        channel["config"] = "nuclei"
    return {
        "name": "latency",
        "rig": rig,
        "pipeline": pipeline,
        "plan": {
            "channels": [channel] if rig["driver"] != "simulated" else [],
            "time_plan": {"interval": interval_s, "loops": int(seconds / interval_s) + 1},
        },
        "rules": [
            {
                "name": "none",
                "per": "frame",
                "when": "n > 100000",
                "then": {"frames": 1},
                "mode": "observe",
            }
        ],
        "inference": {"policy": "newest"},
    }


def _less_model_ms(ran: Ran) -> NDArray[np.float64]:
    """Camera to decision less inference and tracking, for frames that were decided on."""
    t = ran.times_ns
    whole = (t["captured"] > 0) & (t["decided"] > 0) & (t["tracked"] > 0)
    model = t["tracked"] - t["inference_start"]
    return np.asarray((t["decided"] - t["captured"] - model)[whole] / 1e6)


def _held(ran: Ran, peer_ms: NDArray[np.float64]) -> list[Row]:
    ours, peer = percentiles(_less_model_ms(ran)), percentiles(peer_ms)
    return [
        {
            "bench": "latency",
            "case": f"threshold {SIZE}x{SIZE}: camera to decision less the model, {name} of "
            f"{ours['n']:.0f}",
            "ours": "parfocal run",
            "peer": f"{times:g} x pyzmq ping-pong of the frame (p95 {peer['p95']:.2f} ms)",
            "value_ours": ours[name],
            "value_peer": times * peer[name],
            "unit": "ms",
            "ratio": times * peer[name] / max(ours[name], 1e-3),
            "bar": 1.0,
        }
        for name, times in BARS.items()
    ]


def _hops(pipeline: str, size: int, ran: Ran) -> list[Row]:
    """A row for each hop: its percentiles, and its part of the way from camera to decision."""
    whole = percentiles(ran.leg_ms("captured", "decided"))
    if not whole["n"]:
        case = f"{pipeline} {size}x{size}"
        return [{"bench": "latency", "case": case, "left_out": "no frame was decided on"}]
    rows = []
    for step, (start, end) in {**STEPS, "camera to decision": ("captured", "decided")}.items():
        found = percentiles(ran.leg_ms(start, end))
        rows.append(
            {
                "bench": "latency",
                "case": f"{pipeline} {size}x{size}, {step}: p95 {found['p95']:.2f}, "
                f"p99 {found['p99']:.2f} ms of {found['n']:.0f}",
                "ours": step,
                "peer": "camera to decision",
                "value_ours": found["p50"],
                "value_peer": whole["p50"],
                "unit": "ms",
                "ratio": found["p50"] / max(whole["p50"], 1e-6),
                **found,
            }
        )
    return rows


def _medians(ran: Ran) -> dict[str, float]:
    return {step: percentiles(ran.leg_ms(*ends))["p50"] for step, ends in STEPS.items()}
