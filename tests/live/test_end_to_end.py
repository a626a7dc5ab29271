"""Whole runs through the command line: real processes, real sockets, killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import psutil
import pytest
import yaml

from live.recording.journal_reader import JournalReader
from live.recording.reconcile import reconcile
from live.recording.runfolder import RunFolder

EXPERIMENT = {
    "name": "test",
    "rig": {"driver": "simulated", "seed": 5, "width": 256, "height": 256},
    "pipeline": "threshold",
    "plan": {
        "channels": [{"config": "DAPI", "exposure": 10}],
        "time_plan": {"interval": 0.1, "loops": 60},
    },
    "rules": [
        {"name": "new cell", "when": "divided", "then": {"frames": 4, "rate_factor": 2},
         "max_firings": 2, "cooldown_s": 1}
    ],
    "inference": {"policy": "every", "ring_mb": 32},
    "record": {"reserve_mb": 10},
}  # fmt: skip


class Run:
    """A run in a process of its own."""

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.out = folder / "out"
        self.report_file = folder / "R.json"
        self.process = process

    def frames(self) -> int:
        """Frames in the journal so far."""
        try:
            with JournalReader(RunFolder(self.out).journal) as journal:
                return journal.count("frames")
        except Exception:
            return 0

    def wait_frames(self, count: int) -> None:
        deadline = time.monotonic() + 60
        while self.frames() < count:
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < deadline, "no frames"
            time.sleep(0.05)

    def child(self, module: str) -> psutil.Process:
        for child in psutil.Process(self.process.pid).children():
            if module in " ".join(child.cmdline()):
                return child
        raise AssertionError(f"{module} does not run")

    def finish(self, timeout_s: float = 90) -> dict:
        self.text = self.process.communicate(timeout=timeout_s)[0]
        assert "Traceback" not in self.text, self.text
        return json.loads(self.report_file.read_text()) if self.report_file.exists() else {}

    def rows(self, sql: str) -> list[tuple]:
        with JournalReader(RunFolder(self.out).journal) as journal:
            return list(journal.rows(sql))


@contextmanager
def running(tmp_path: Path, *options: str, command: str = "run", **changes) -> Iterator[Run]:
    experiment = tmp_path / "experiment.yaml"
    experiment.write_text(yaml.safe_dump(EXPERIMENT | changes))
    what = [str(experiment), "--headless"] if command == "run" else []
    folder = tmp_path
    process = subprocess.Popen(
        [
            sys.executable, "-m", "live.cli", command, *what, *options,
            "--out", str(folder / "out"), "--json", str(folder / "R.json"),
        ],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "DISPLAY": "", "WAYLAND_DISPLAY": ""},
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        yield Run(folder, process)
    finally:
        for child in psutil.Process(process.pid).children() if process.poll() is None else []:
            child.kill()
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_a_whole_run_adds_up_and_reports(tmp_path):
    with running(tmp_path) as run:
        report = run.finish()
        assert run.process.returncode == 0, run.text
    frames = report["frames"]
    assert frames["captured"] == frames["recorded"] >= 60
    assert frames["analysed"] == frames["captured"]
    for hop in ("camera_to_ring", "ring_to_inference", "inference", "camera_to_decision"):
        assert report["latency_ms"][hop]["p50"] <= report["latency_ms"][hop]["p99"]
    assert report["engine"]["name"] == "classical"
    assert report["objects"]["tracks"] >= report["objects"]["mean_per_frame"] > 1
    assert {"rig", "inference"} <= report["memory_mb"].keys()
    assert report["restarts"] == {"inference": 0}
    assert "precision" in report["truth"]
    for firing in report["rules"]:
        assert {"rule", "seq", "object", "action", "because"} <= firing.keys()
    found = reconcile(run.out, frames["captured"])
    assert found.ok, found.mismatches
    assert found.labels == frames["captured"]
    assert "Device adapters:" in run.text
    # A decision never rests on a frame later than the last one captured before it was made.
    sql = "SELECT d.decided_ns, f.captured_ns FROM decisions d JOIN frames f ON d.seq = f.seq"
    assert all(decided >= captured for decided, captured in run.rows(sql))


def test_inference_killed_in_mid_run_comes_back_with_the_same_track_ids(tmp_path):
    with running(tmp_path, plan=EXPERIMENT["plan"] | {"time_plan": {"interval": 0.1, "loops": 95}},
                 rules=[]) as run:  # fmt: skip
        run.wait_frames(25)
        killed_at = run.frames()
        run.child("live.processes.inference").kill()
        report = run.finish()
        assert run.process.returncode == 0, run.text
    assert report["frames"]["captured"] == report["frames"]["recorded"] == 95
    assert report["restarts"]["inference"] == 1
    analysed = [seq for (seq,) in run.rows("SELECT seq FROM results ORDER BY seq")]
    before = max(seq for seq in analysed if seq < killed_at + 2)
    after = min(seq for seq in analysed if seq > before + 1)
    assert after - before < 60
    assert analysed[-1] == 94
    same, seen = _same_ids(run, before, after)
    assert seen >= 5
    assert same / seen >= 0.8, f"{same} of {seen} cells kept their id over the restart"
    ids = [track for (track,) in run.rows(f"SELECT track_id FROM objects WHERE seq = {after}")]
    assert len(ids) == len(set(ids))


@pytest.mark.slow
def test_cells_are_sorted_and_rules_can_ask_for_a_class(tmp_path):
    pipeline = {"name": "sorted", "segment": {"kind": "threshold"}, "track": {},
                "classify": {"model": "phases"}}  # fmt: skip
    rule = {"name": "at rest", "when": "became", "of_class": "interphase", "min_age_frames": 2,
            "then": {"frames": 3, "rate_factor": 2}, "max_firings": 1}  # fmt: skip
    plan = EXPERIMENT["plan"] | {"time_plan": {"interval": 0.1, "loops": 25}}
    with running(tmp_path, plan=plan, pipeline=pipeline, rules=[rule]) as run:
        report = run.finish()
        assert run.process.returncode == 0, run.text
    (fired,) = report["rules"]
    assert fired["because"].endswith("became interphase")
    assert fired["outcome"] == "done"
    assert report["truth"]["fired"] == 0  # says nothing of divisions
    assert report["classes"].keys() == {"interphase", "mitotic", "dead"}
    total = report["objects"]["mean_per_frame"] * report["frames"]["analysed"]
    assert sum(report["classes"].values()) == round(total) > 25
    with JournalReader(RunFolder(run.out).journal) as journal:
        names = journal.classes()
    track, seq = fired["object"], fired["seq"]
    kept = run.rows(f"SELECT seq, class_id FROM objects WHERE track_id = {track} AND seq <= {seq}")
    assert [names[number] for _, number in kept[-2:]] == ["interphase"] * 2
    sql = f"SELECT \"class\", count(*) FROM '{run.out / 'objects.parquet'}' GROUP BY 1"
    counted = dict(duckdb.sql(sql).fetchall())
    assert counted == {name: count for name, count in report["classes"].items() if count}


def _same_ids(run: Run, before: int, after: int) -> tuple[int, int]:
    """Cells near the same place on the stage in both frames, and how many keep their id."""

    def table(seq: int) -> np.ndarray:
        sql = f"SELECT track_id, x_um, y_um FROM objects WHERE seq = {seq}"
        return np.array(run.rows(sql), float).reshape(-1, 3)

    old, new = table(before), table(after)
    apart = np.hypot(*(old[:, None, 1:] - new[None, :, 1:]).transpose(2, 0, 1))
    nearest = apart.argmin(1)
    close = apart.min(1) < 4.0
    return int((old[close, 0] == new[nearest[close], 0]).sum()), int(close.sum())


def test_ctrl_c_ends_in_order(tmp_path):
    long = EXPERIMENT["plan"] | {"time_plan": {"interval": 0.1, "loops": 10_000}}
    with running(tmp_path, plan=long) as run:
        run.wait_frames(10)
        asked = time.monotonic()
        run.process.send_signal(signal.SIGINT)
        report = run.finish(20)
        assert time.monotonic() - asked < 10
        assert run.process.returncode == 0, run.text
    assert "Ctrl-C" in report["exit_reason"]
    assert report["frames"]["captured"] == report["frames"]["recorded"] >= 10
    assert reconcile(run.out, report["frames"]["captured"]).ok


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 and /dev/shm")
def test_kill_9_of_everything_leaves_no_pixel_without_its_row_and_no_memory(tmp_path):
    long = EXPERIMENT["plan"] | {"time_plan": {"interval": 0.05, "loops": 10_000}}
    with running(tmp_path, plan=long) as run:
        run.wait_frames(30)
        inference = run.child("live.processes.inference")
        run.process.kill()
        run.process.wait()
        gone, alive = psutil.wait_procs([inference], timeout=15)
        assert gone, f"the inference process outlived its rig: {alive}"
    rows = run.rows("SELECT store, t_index FROM frames")
    assert len(rows) >= 30
    for store, t_index in rows:
        assert (run.out / store / "0" / "c" / str(t_index) / "0" / "0").is_file()
    if Path("/dev/shm").is_dir():
        deadline = time.monotonic() + 5
        mine = f"parfocal-{run.process.pid}-*"
        while list(Path("/dev/shm").glob(mine)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not list(Path("/dev/shm").glob(mine))


def test_the_demo_on_a_bare_server_draws_its_window_and_survives_its_death(tmp_path):
    with running(tmp_path, "--seconds", "8", "--seed", "3", command="demo") as run:
        run.wait_frames(12)
        run.child("live.processes.window").kill()
        report = run.finish()
        assert run.process.returncode == 0, run.text
    assert "no display" in run.text
    assert report["frames"]["captured"] == report["frames"]["recorded"]
    assert report["restarts"]["display"] == 1
    picture = run.out / "window.png"
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert report["engine"]["name"] == "onnxruntime"
