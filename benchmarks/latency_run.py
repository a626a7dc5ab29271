"""A run of the whole program for the latency benchmarks, and what its journal says of it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from live.ledger import HOPS
from live.recording.journal_reader import JournalReader
from live.recording.runfolder import RunFolder

START_S = 120.0
SKIPPED = 10
"""First frames, of a short run no more than a fifth: what starting costs is not compared."""

Times = dict[str, NDArray[np.int64]]


@dataclass(frozen=True, slots=True, eq=False)
class Ran:
    """A run that is over."""

    report: dict[str, Any]
    times_ns: Times
    """Station -> (n,) times of the analysed frames in order, ns; 0 where it was not passed."""
    frames: NDArray[np.int64]
    """(m, 2) sequence number and end of exposure, ns, of every frame on disk."""
    exposures_ms: NDArray[np.float64]
    """(m,) of every frame on disk."""

    def leg_ms(self, start: str, end: str) -> NDArray[np.float64]:
        """Durations between two stations, for frames that passed both."""
        first, last = self.times_ns[start], self.times_ns[end]
        both = (first > 0) & (last > 0)
        return (last[both] - first[both]) / 1e6


def demo_camera(size: int, *, sine: bool = False, exposure_in_sequence: bool = False) -> Any:
    """Rig of the DemoCamera; without ``sine`` it gives black frames at full speed."""
    startup = [
        ["Camera", "PixelType", "16bit"],
        ["Camera", "BitDepth", "16"],
        ["Camera", "OnCameraCCDXSize", str(size)],
        ["Camera", "OnCameraCCDYSize", str(size)],
        ["Camera", "FastImage", "0" if sine else "1"],
    ]
    return {
        "driver": "micromanager",
        "config": "demo",
        "adapters": "mm-test-adapters",
        "exposure_in_sequence": exposure_in_sequence,
        "startup": startup,
    }


def run_program(experiment: dict[str, Any], out: Path, seconds: float) -> Ran:
    """``parfocal run`` in a process of its own; ``RuntimeError`` when it fails.

    Parameters
    ----------
    experiment
        As people write it.
    out
        New folder of the run; the experiment lies beside it.
    seconds
        Imaging ends after this time.
    """
    written = out.with_name(f"{out.name}.yaml")
    written.write_text(yaml.safe_dump(experiment, sort_keys=False), encoding="utf-8")
    command = [
        sys.executable, "-m", "live.cli", "run", str(written), "--headless",
        "--seconds", f"{seconds:g}", "--out", str(out),
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + START_S, check=False,
        start_new_session=True,
    )  # fmt: skip
    report = out / "report.json"
    if done.returncode or not report.is_file():
        said = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise RuntimeError(f"parfocal run ended with {done.returncode}: {' '.join(said)}")
    columns = ", ".join(f"{hop}_ns" for hop in HOPS)
    with JournalReader(RunFolder.open(out).journal) as journal:
        hops = np.array(
            list(journal.rows(f"SELECT {columns} FROM ledger ORDER BY seq")), dtype=np.int64
        ).reshape(-1, len(HOPS))
        hops = hops[min(SKIPPED, len(hops) // 5) :]
        frames = list(journal.rows("SELECT seq, captured_ns, exposure_ms FROM frames ORDER BY seq"))
    return Ran(
        json.loads(report.read_text(encoding="utf-8")),
        {hop: hops[:, number] for number, hop in enumerate(HOPS)},
        np.array([row[:2] for row in frames], dtype=np.int64).reshape(-1, 2),
        np.array([row[2] for row in frames], dtype=np.float64),
    )


def percentiles(ms: NDArray[np.float64]) -> dict[str, float]:
    """``p50``, ``p95``, ``p99`` and how many there were; NaN of none."""
    if not ms.size:
        return {"p50": np.nan, "p95": np.nan, "p99": np.nan, "n": 0}
    p50, p95, p99 = np.percentile(ms, (50, 95, 99))
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99), "n": int(ms.size)}
