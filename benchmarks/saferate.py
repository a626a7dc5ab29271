"""Are the frame rates that ``parfocal doctor`` prints held by real runs, and not trivially low?

For each pipeline and image size the doctor measures this machine with the simulated microscope as
its rig. Then that microscope is really run: all three processes, recording, labels, the policy
``newest``. At the safe rate no frame may be passed over once the first frames are through, in which
the size of objects is found; at ``BEYOND`` times that rate some must be.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from drivers.simulated import SimulatedSettings
from live.doctor.examine import Effort, Examination
from live.doctor.findings import PipelineRow
from live.doctor.machine import BUSY_CORES, LOOK_S
from live.doctor.table import rate_text
from live.recording.journal_reader import JournalReader
from live.recording.runfolder import RunFolder

CASES = (("nuclei", 512), ("threshold", 512), ("nuclei", 1024), ("nuclei", 2048))
QUICK_CASES = CASES[:1]
PRESET = "DAPI"
"""Of the simulated microscope: nuclei, which these pipelines find."""
SECONDS, QUICK_SECONDS = 60.0, 10.0
BEYOND = 1.5
"""Times the safe rate: beyond what the machine can do."""
SETTLE_S = 3.0
"""Beside the first frames' own time, what a run may take until it is in its stride."""
SURELY = 1.01
"""Frames taken over frames analysed, beyond the safe rate, at the least."""
EXAMINE_S = 4.0
"""Each measurement of the doctor; longer than its own, since one machine is judged by a few."""
START_S = 120.0
"""For a run to start and to end, beside its imaging."""


@dataclass(frozen=True, slots=True)
class Held:
    """What became of the frames of one run after its start."""

    taken: int
    analysed: int
    rate_hz: float
    """That the camera really had."""
    lost_at_start: int
    busy_cores: float
    """Used by other programs right before and after it, the mean."""


def run(
    *, quick: bool = False, cases: tuple[tuple[str, int], ...] | None = None
) -> list[dict[str, Any]]:
    """Examine, run, compare; two rows for each pipeline and size."""
    seconds = QUICK_SECONDS if quick else SECONDS
    rows: list[dict[str, Any]] = []
    for pipeline, side in cases or (QUICK_CASES if quick else CASES):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as work:
            rows += _case(pipeline, side, seconds, Path(work))
    return rows


def _case(pipeline: str, side: int, seconds: float, work: Path) -> list[dict[str, Any]]:
    case = f"{pipeline} {side}x{side}"
    found, about = _examined(pipeline, side, work)
    if found.failed:
        return [{"bench": "saferate", "case": case, "left_out": found.failed}]
    safe_hz = float(rate_text(found.rate_hz))
    rows = []
    for times in (1.0, BEYOND):
        held = _held(pipeline, side, times * safe_hz, seconds, found.first_ms, work)
        what = f"{case} at {times:g} x {safe_hz:g}/s ({held.rate_hz:.3g}/s, {found.bottleneck})"
        row: dict[str, Any] = {"bench": "saferate", "case": what, "unit": "frames"}
        row["machine"] = about
        if times == 1.0:
            row |= _row("analysed", held.analysed, "taken", held.taken) | {"bar": 1.0}
        else:
            row |= _row("taken", held.taken, "analysed", held.analysed) | {"bar": SURELY}
        if row["ratio"] < row["bar"] and held.busy_cores > BUSY_CORES:
            # the doctor measured another machine than the run had, so neither is to blame
            why = f"other programs used {held.busy_cores:.1f} cores; {row['ratio']:.2f} {what}"
            row = {"bench": "saferate", "case": case, "left_out": why}
        rows.append(row)
        sys.stdout.write(
            f"  {what}: {held.analysed} of {held.taken} frames analysed, "
            f"{held.lost_at_start} passed over at the start; others used "
            f"{held.busy_cores:.1f} cores\n"
        )
    return rows


def _row(ours: str, value: int, peer: str, other: int) -> dict[str, Any]:
    ratio = value / other if other else 0.0
    return {
        "ours": ours, "peer": peer, "value_ours": value, "value_peer": other, "ratio": ratio,
    }  # fmt: skip


def _rig(side: int) -> dict[str, Any]:
    world = max(3.0, side / 512 + 1)
    settings = SimulatedSettings(width=side, height=side, world_views=world)
    return settings.model_dump(mode="json")


def _examined(pipeline: str, side: int, work: Path) -> tuple[PipelineRow, str]:
    effort = Effort(
        budget_s=90.0, each_s=EXAMINE_S, measured=(side,), networks_s=0.0, sides=(side,)
    )
    report = Examination((pipeline,), work, effort, rig=_rig(side), preset=PRESET).run()
    here = report.machine
    about = f"{here.processor}, {here.cores} cores"
    return report.pipelines[0], f"{about}; {here.busy}" if here.busy else about


def _held(
    pipeline: str, side: int, rate_hz: float, seconds: float, first_ms: float, work: Path
) -> Held:
    """Run for so long at this rate, through the command line."""
    settle_s = SETTLE_S + 2 * first_ms / 1e3
    seconds = max(seconds, 8 / rate_hz) + settle_s
    plan = {
        "channels": [{"config": PRESET, "exposure": 20}],
        "time_plan": {"interval": 1 / rate_hz, "loops": max(2, round(seconds * rate_hz))},
    }
    experiment = {
        "name": "saferate", "rig": _rig(side), "pipeline": pipeline, "plan": plan,
        "inference": {"policy": "newest", "ring_mb": 512},
    }  # fmt: skip
    file, out = work / "experiment.yaml", work / f"run-{rate_hz:g}"
    file.write_text(yaml.safe_dump(experiment), encoding="utf-8")
    answer = work / "report.json"
    before = _busy_cores()
    done = subprocess.run(
        [
            sys.executable, "-m", "live.cli", "run", str(file), "--headless", "--out", str(out),
            "--json", str(answer),
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=seconds + START_S,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{pipeline} at {rate_hz:g}/s: the run ended with {done.stderr.strip()}")
    report = json.loads(answer.read_text(encoding="utf-8"))
    busy_cores = (before + _busy_cores()) / 2
    return _count(RunFolder.open(out), settle_s, float(report["rates_hz"]["camera"]), busy_cores)


def _busy_cores() -> float:
    return float(psutil.cpu_percent(LOOK_S)) / 100 * (psutil.cpu_count() or 1)


def _count(folder: RunFolder, settle_s: float, rate_hz: float, busy_cores: float) -> Held:
    query = (
        "SELECT frames.delta_s, COALESCE(results.analysed, 0) FROM frames "
        "LEFT JOIN results ON frames.seq = results.seq ORDER BY frames.seq"
    )
    with JournalReader(folder.journal) as journal:
        frames = [(float(str(s)), bool(done)) for s, done in journal.rows(query)]
    after = [done for delta_s, done in frames if delta_s >= settle_s]
    before = [done for delta_s, done in frames if delta_s < settle_s]
    return Held(len(after), sum(after), rate_hz, before.count(False), busy_cores)
