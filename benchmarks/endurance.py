"""Does a long run stay as it began? Memory of every process, latency, drops and every frame kept.

The whole program images the simulated sample at 512 x 512 with the network ``nuclei``, recorder
and window included, at a rate that this machine holds: ``HEADROOM`` of what the analysis takes
for a frame in a short run, 95th percentile. When it is over, each frame is read back from the
OME-Zarr with tensorstore.

- *memory*: growth of each process after its warm-up, in MB per 10,000 frames; below 1. For the rig
  also what of its heaps is in use, and how many small objects of Python; below one a frame.
- *latency*: camera to decision, first beside last quarter of the time after the warm-up.
- *analysed*: frames that were decided on, of those that were taken after the warm-up.
- *frames kept*: of those captured, how many can be read back, with something in them.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from benchmarks.endurance_watch import MemoryWatch, Series, growth, read_in_use
from live.display.availability import missing_library
from live.recording.journal_reader import JournalReader
from live.recording.runfolder import RunFolder

SECONDS, QUICK_SECONDS = 1800.0, 60.0
PROBE_S, QUICK_PROBE_S = 30.0, 15.0
PROBE_HZ = 2.0
HEADROOM = 0.7
MOST_HZ = 30.0
SIDE = 512
PIPELINE = "nuclei"
WARM_PART, WARM_LEAST_S = 0.2, 20.0
WARM_FRAMES = 400
"""The window keeps up to 256 frames for clicks; its memory grows until it has them."""
ALLOWED_MB = 1.0
"""Growth per 10,000 frames."""
ALLOWED_OBJECTS = 1.0
"""The same of small objects, per frame."""
SPARE_BYTES = 2_000_000_000
START_S = 180.0
"""For a run to start and to end, beside its imaging."""

Row = dict[str, Any]
Floats = NDArray[np.float64]


class RunBroke(RuntimeError):
    """The run itself failed, so there is nothing to measure."""


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """One run that is over."""

    report: dict[str, Any]
    series: dict[str, Series]
    unix_s: Floats
    """Of each frame on disk, end of exposure by the wall clock."""
    decided: NDArray[np.bool_]
    latency_ms: Floats
    """Camera to decision; NaN where the frame was not decided on."""
    readable: int
    objects: tuple[Floats, Floats] | None = None
    """When, by the wall clock, and how many small objects the rig's process held."""


def run(
    *,
    quick: bool = False,
    seconds: float | None = None,
    folder: Path | None = None,
    pipeline: str = PIPELINE,
    rate_hz: float | None = None,
) -> list[Row]:
    """Measure; a row for each process, for latency, analysis and the frames kept.

    Parameters
    ----------
    quick
        A minute instead of half an hour.
    seconds
        Another time.
    folder
        Where the recording stays; None removes it afterwards.
    pipeline
        A quicker one sees more frames in the same time.
    rate_hz
        Of the camera; None asks a short run.
    """
    seconds = seconds or (QUICK_SECONDS if quick else SECONDS)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        work = folder or Path(temporary)
        if rate_hz is None:
            probe_s = QUICK_PROBE_S if quick else PROBE_S
            probe = watch_run(PROBE_HZ, probe_s, work / "probe", pipeline)
            rate_hz = _safe_hz(probe.report["latency_ms"])
            shutil.rmtree(work / "probe")
        if why := _no_room(work, seconds * rate_hz):
            return [{"bench": "endurance", "case": f"{seconds:g} s", "left_out": why}]
        sys.stdout.write(f"  {seconds:g} s at {rate_hz:.1f} frames/s ...\n")
        sys.stdout.flush()
        watched = watch_run(rate_hz, seconds, work / "run", pipeline)
    return rows_of(watched, rate_hz, pipeline)


def watch_run(rate_hz: float, seconds: float, out: Path, pipeline: str = PIPELINE) -> Watched:
    """Run the program at this rate for so long, and read back what it left."""
    experiment = out.with_name(f"{out.name}.yaml")
    experiment.write_text(yaml.safe_dump(_experiment(rate_hz, seconds, pipeline)), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.endurance_run", str(experiment), str(out)]
    if not missing_library(offscreen=True):
        command.append("--window")
    with out.with_name(f"{out.name}.txt").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            with MemoryWatch(process.pid) as watch:
                code = process.wait(seconds + START_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(10.0)
    if code != 0:
        text = out.with_name(f"{out.name}.txt").read_text(encoding="utf-8", errors="replace")
        raise RunBroke(f"the run ended with code {code}: {text[-2000:].strip()}")
    series = dict(watch.series)
    objects = None
    if (written := out.with_name(f"{out.name}-in-use.txt")).is_file():
        in_use, count = read_in_use(written)
        series["rig, in use"] = in_use
        objects = np.array(in_use.unix_s), count
    return replace(_read_back(RunFolder.open(out), series), objects=objects)


def rows_of(watched: Watched, rate_hz: float, pipeline: str = PIPELINE) -> list[Row]:
    """What the run came to, held against the bars."""
    start, end = float(watched.unix_s[0]), float(watched.unix_s[-1])
    warm_s = max(WARM_PART * (end - start), WARM_LEAST_S, WARM_FRAMES / rate_hz)
    warm = start + min(warm_s, (end - start) / 2)
    about = {
        "bench": "endurance",
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
    }
    what = f"{pipeline} {SIDE}x{SIDE}, {end - start:.0f} s at {rate_hz:.1f}/s"
    rows = [
        _memory_row(role, series, watched.unix_s, warm, end)
        for role, series in sorted(watched.series.items())
        if sum(warm <= at <= end for at in series.unix_s) > 2
    ]
    if watched.objects is not None:
        rows.append(_objects_row(*watched.objects, watched.unix_s, warm, end))
    rows += _latency_rows(watched, warm, end)
    after = watched.unix_s >= warm
    taken, decided = int(after.sum()), int(watched.decided[after].sum())
    lost = {stage: count for stage, count in watched.report["drops"].items() if count}
    rows.append(
        _row(
            f"analysed of those taken after the warm-up; all drops: {lost or 'none'}",
            "analysed", decided, "taken", taken, "frames", decided / max(taken, 1), 0.99,
        )
    )  # fmt: skip
    captured = int(watched.report["frames"]["captured"])
    recorded = int(watched.report["frames"]["recorded"])
    kept = min(recorded, watched.readable)
    rows.append(
        _row(
            f"kept: {recorded} recorded, {watched.readable} read back by tensorstore",
            "kept", kept, "captured", captured, "frames", kept / max(captured, 1), 1.0,
        )
    )  # fmt: skip
    return [about | row | {"case": f"{what}: {row['case']}"} for row in rows]


def _memory_row(role: str, series: Series, frames_s: Floats, warm: float, end: float) -> Row:
    at, memory = series.arrays()
    use = (at >= warm) & (at <= end)
    frames = np.searchsorted(frames_s, at[use]).astype(np.float64)
    slope, low, high = growth(frames, memory[use])
    case = (
        f"memory, {memory[use][0]:.0f} to {memory[use][-1]:.0f} MB in "
        f"{frames[-1] - frames[0]:.0f} frames (95 %: {low:.2f} to {high:.2f})"
    )
    unit = "MB in 10,000 frames"
    ratio = ALLOWED_MB / max(slope, 0.01)
    row = _row(case, role, slope, "allowed", ALLOWED_MB, unit, ratio, 1.0)
    seconds = [round(float(one), 1) for one in at - frames_s[0]]
    return row | {"series": {"s": seconds, "mb": [round(float(one), 2) for one in memory]}}


def _objects_row(at: Floats, count: Floats, frames_s: Floats, warm: float, end: float) -> Row:
    use = (at >= warm) & (at <= end)
    if use.sum() < 3:
        return {"case": "small objects", "left_out": "too short a run"}
    frames = np.searchsorted(frames_s, at[use]).astype(np.float64)
    slope, low, high = (found / 1e4 for found in growth(frames, count[use]))
    case = f"small objects (95 %: {low:.2f} to {high:.2f})"
    ratio = ALLOWED_OBJECTS / max(slope, 0.01)
    return _row(case, "rig", slope, "allowed", ALLOWED_OBJECTS, "more with each frame", ratio, 1.0)


def _latency_rows(watched: Watched, warm: float, end: float) -> list[Row]:
    at, ms = watched.unix_s, watched.latency_ms
    quarter = (end - warm) / 4
    first = ms[(at >= warm) & (at < warm + quarter) & np.isfinite(ms)]
    last = ms[(at > end - quarter) & np.isfinite(ms)]
    rows: list[Row] = []
    for name, bar in (("p50", 0.8), ("p95", 0.67)):
        if not (len(first) and len(last)):
            why = "no frame was decided on in the first or the last quarter"
            return [{"case": f"latency {name}", "left_out": why}]
        before, after = (float(np.percentile(part, float(name[1:]))) for part in (first, last))
        rows.append(
            _row(
                f"camera to decision, {name} of the last quarter beside the first",
                "last", after, "first", before, "ms", before / max(after, 1e-6), bar,
            )
        )  # fmt: skip
    return rows


def _row(
    case: str,
    ours: str,
    value: float,
    peer: str,
    other: float,
    unit: str,
    ratio: float,
    bar: float,
) -> Row:
    return {
        "case": case, "ours": ours, "peer": peer, "value_ours": value, "value_peer": other,
        "unit": unit, "ratio": ratio, "bar": bar,
    }  # fmt: skip


def _experiment(rate_hz: float, seconds: float, pipeline: str) -> dict[str, Any]:
    rig = {
        "driver": "simulated", "seed": 1, "width": SIDE, "height": SIDE,
        "cycle_s": 600, "bleach_frames": 1e6,
    }  # fmt: skip
    plan = {
        "channels": [{"config": "DAPI", "exposure": 5}],
        "time_plan": {"interval": 1 / rate_hz, "loops": max(2, round(seconds * rate_hz))},
    }
    rule = {
        "name": "a cell divides", "when": "divided", "max_firings": 100_000,
        "then": {"kind": "burst", "frames": 3, "interval_ms": 2000 / rate_hz},
        "cooldown_s": 10,
    }  # fmt: skip
    return {
        "name": "endurance", "rig": rig, "pipeline": pipeline, "plan": plan, "rules": [rule],
        "inference": {"policy": "newest", "ring_mb": 64},
    }  # fmt: skip


def _safe_hz(latency_ms: dict[str, dict[str, float]]) -> float:
    """Frames/s that leave some head-room beside what a frame takes the inference process."""
    took_ms = sum(latency_ms[leg]["p95"] for leg in ("inference", "tracking") if leg in latency_ms)
    if not took_ms:
        raise RunBroke("the probe analysed no frame; see what `parfocal doctor` says")
    return min(HEADROOM * 1e3 / took_ms, MOST_HZ)


def _no_room(work: Path, frames: float) -> str:
    """Why the recording does not fit, or an empty text."""
    need = int(frames * SIDE * SIDE * 2 * 1.2) + SPARE_BYTES
    free = shutil.disk_usage(work).free
    if free >= need:
        return ""
    return f"{need / 1e9:.0f} GB are needed at {work}, {free / 1e9:.0f} are free; make room"


def _read_back(folder: RunFolder, series: dict[str, Series]) -> Watched:
    query = (
        "SELECT f.unix_time, COALESCE(l.decided_ns, 0), f.captured_ns, f.store, f.t_index "
        "FROM frames f LEFT JOIN ledger l ON f.seq = l.seq ORDER BY f.unix_time"
    )
    with JournalReader(folder.journal) as journal:
        found: list[tuple[Any, ...]] = list(journal.rows(query))
    times = np.array([(row[1], row[2]) for row in found], np.int64).reshape(-1, 2)
    decided = times[:, 0] > 0
    latency = np.where(decided, (times[:, 0] - times[:, 1]) / 1e6, np.nan)
    return Watched(
        report=json.loads(folder.report.read_text(encoding="utf-8")),
        series=series,
        unix_s=np.array([float(row[0]) for row in found]),
        decided=decided,
        latency_ms=latency,
        readable=_readable(folder, [(str(row[3]), int(row[4])) for row in found]),
    )


def _readable(folder: RunFolder, where: list[tuple[str, int]]) -> int:
    """How many of the journal's frames come back from disk with something in them."""
    import tensorstore

    good = 0
    for name in sorted({store for store, _ in where}):
        spec = {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": str(folder.path / name / "0")},
        }
        array = tensorstore.open(spec, open=True, read=True).result()
        for store, t in where:
            if store == name:
                pixels = np.asarray(array[t].read().result())
                # A chunk that is missing reads as zeros; the camera's offset never does.
                good += bool(pixels.any())
    return good
