"""A closed loop of the camera: each frame decides how long one that follows is exposed.

MMCore's DemoCamera with ``FastImage`` (without it 2048 x 2048 gives 8 frames/s whatever the
program), 10 ms of exposure, so 100 frames/s are the ceiling. Every contestant and every load is a
session of its own, as programs are that somebody starts. Ours is the whole program: analysis in its
process, the rule, the plan, the recorder. The sequence runs on while the analysis works, and a
decision shortens an exposure inside it, so it shows a frame or two later than that which caused it:
how much later is a row of its own. The peers wait for their decision before each exposure.

*dead time*: from one exposure's end to the next one's start. For ours from the camera's times: from
end to end, less the exposure. For the peers from the return of one snap to the call of the next,
which leaves out what the camera itself needs beside the exposure: the kinder measure.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.closedloop_load import busy
from benchmarks.closedloop_peers import LONG_MS, SHORT_MS, THRESHOLD_MS
from benchmarks.latency_run import SKIPPED, Ran, demo_camera, percentiles, run_program

PEERS = {"runner": "pymmcore-plus, queue iterator", "pycromanager": "pycro-manager, hook"}
CEILING_HZ = 1000.0 / LONG_MS
CEILING_BAR, MARK_BAR = 0.9, 0.5
SIZES = (512, 2048)
LIMIT_S = 120.0

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """What one contestant did."""

    rate_hz: float
    dead_ms: NDArray[np.float64]
    apart_ms: NDArray[np.float64]
    """From end to end less the exposure, measured alike for all."""


def run(*, quick: bool = False) -> list[Row]:
    """Measure idle and under load; rounds are interleaved and pooled."""
    rows: list[Row] = []
    for size in SIZES:
        for loaded in (False, True):
            rows += _case(size, loaded, rounds=1 if quick else 3, frames=200 if quick else 1000)
    return rows


def _case(size: int, loaded: bool, rounds: int, frames: int) -> list[Row]:
    where = f"{size}x{size}, {'under load' if loaded else 'idle'}"
    found: dict[str, list[Loop]] = {"ours": [], **{name: [] for name in PEERS}}
    shown: list[NDArray[np.float64]] = []
    problems: dict[str, str] = {}
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary,
        busy() if loaded else contextlib.nullcontext(),
    ):
        for number in range(rounds):
            for name in found:
                try:
                    if name == "ours":
                        ran = _ours(size, frames, Path(temporary) / f"run{number}")
                        found[name].append(_loop_of(ran))
                        shown.append(ran.leg_ms("captured", "event_started"))
                    else:
                        found[name].append(_peer(name, size, frames))
                except (RuntimeError, subprocess.TimeoutExpired, ValueError) as error:
                    problems[name] = str(error)
    if not found["ours"]:
        return [{"bench": "closedloop", "case": f"{where}, ours", "left_out": problems["ours"]}]
    return _rows(where, size, loaded, found, shown, problems)


def _rows(
    where: str,
    size: int,
    loaded: bool,
    found: dict[str, list[Loop]],
    shown: list[NDArray[np.float64]],
    problems: dict[str, str],
) -> list[Row]:
    rate, dead = _pooled(found["ours"])
    takes = percentiles(np.concatenate(shown))
    rows = [_row(f"{where}: frames/s", "exposure ceiling", rate, CEILING_HZ, "frames/s")]
    rows[0]["ratio"] = rate / CEILING_HZ
    if size == 512 and not loaded:
        rows[0]["bar"] = CEILING_BAR
    rows.append(
        _row(
            f"{where}: exposure end to the camera set anew, p50 (p95 {takes['p95']:.1f} ms)",
            "two exposures",
            takes["p50"],
            2 * LONG_MS,
            "ms",
        )
    )
    for name, label in PEERS.items():
        if not found[name]:
            rows.append(
                {"bench": "closedloop", "case": f"{where}, {label}", "left_out": problems[name]}
            )
            continue
        their_rate, theirs = _pooled(found[name])
        row = _row(f"{where}: frames/s", label, rate, their_rate, "frames/s")
        row["ratio"] = rate / their_rate
        rows.append(row)
        for q in ("p50", "p95"):
            row = _row(f"{where}: dead time, {q}", label, dead[q], theirs[q], "ms")
            if q == "p50" and name == "runner" and not loaded:
                row["bar"] = MARK_BAR
            elif q == "p95" and loaded:
                row["bar"] = 1.0
            rows.append(row)
        pairs = [np.concatenate([loop.apart_ms for loop in found[n]]) for n in ("ours", name)]
        own, other = (percentiles(ms)["p95"] for ms in pairs)
        case = f"{where}: end to end less the exposure, measured alike, p95"
        rows.append(_row(case, label, own, other, "ms"))
    return rows


def _row(case: str, peer: str, ours: float, theirs: float, unit: str) -> Row:
    return {
        "bench": "closedloop",
        "case": case,
        "ours": "parfocal run, rule with then: exposure",
        "peer": peer,
        "value_ours": ours,
        "value_peer": theirs,
        "unit": unit,
        "ratio": theirs / max(ours, 0.05),
    }


def _pooled(loops: list[Loop]) -> tuple[float, dict[str, float]]:
    rate = float(np.median([loop.rate_hz for loop in loops]))
    return rate, percentiles(np.concatenate([loop.dead_ms for loop in loops]))


def _ours(size: int, frames: int, out: Path) -> Ran:
    """The whole program; how it ended is checked by `run_program`."""
    rules = [
        {
            "name": name,
            "per": "frame",
            "when": f"exposure_ms {sign} {THRESHOLD_MS}",
            "while_true": True,
            "max_firings": 1_000_000,
            "then": {"kind": "exposure", "exposure_ms": exposure_ms},
        }
        for name, sign, exposure_ms in (("shorter", ">", SHORT_MS), ("longer", "<", LONG_MS))
    ]
    experiment = {
        "name": "closedloop",
        "rig": demo_camera(size, exposure_in_sequence=True),
        "pipeline": "threshold",
        "plan": {
            "channels": [{"config": "DAPI", "exposure": LONG_MS}],
            "time_plan": {"interval": 0, "loops": frames},
        },
        "rules": rules,
        "record": {"labels": False},
        "inference": {"policy": "newest", "ring_mb": 512},
    }
    return run_program(experiment, out, LIMIT_S)


def _loop_of(ran: Ran) -> Loop:
    ends, exposures = ran.frames[SKIPPED:, 1] / 1e6, ran.exposures_ms[SKIPPED:]
    dead = np.maximum(np.diff(ends) - exposures[1:], 0.0)
    return Loop(1000.0 * (len(ends) - 1) / (ends[-1] - ends[0]), dead, dead)


def _peer(name: str, size: int, frames: int) -> Loop:
    command = [
        sys.executable, "-m", "benchmarks.closedloop_peers", name, str(size), str(frames)
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT_S, check=False,
        start_new_session=True,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise RuntimeError(f"ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    found = json.loads(lines[-1])
    if len(found["ends"]) < frames:
        raise RuntimeError(f"gave {len(found['ends'])} of {frames} frames")
    ends = np.array(found["ends"][SKIPPED:frames]) / 1e6
    starts = np.array(found["starts"][SKIPPED:frames]) / 1e6
    apart = np.diff(ends) - np.array(found["exposures"][SKIPPED + 1 : frames])
    rate = 1000.0 * (len(ends) - 1) / (ends[-1] - ends[0])
    return Loop(rate, starts[1:] - ends[:-1], apart)
