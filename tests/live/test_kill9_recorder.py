"""``kill -9`` of a process that records: nothing on disk is without its metadata, or lies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pytest
import yaozarrs
import zarr
from recording import end_zarr_threads, label_pattern, pattern

from live.recording.errors import RecorderError
from live.recording.journal import RunState
from live.recording.journal_reader import JournalReader
from live.recording.recovery import recover
from live.recording.runfolder import RunFolder, status
from live.recording.zarrstore import chunk_path, frames_on_disk

HERE = Path(__file__).resolve()


@pytest.fixture(autouse=True)
def _no_zarr_threads() -> Iterator[None]:
    yield
    end_zarr_threads()


def start_recording(out: Path, shape: tuple[int, int], rate_hz: float) -> subprocess.Popen[str]:
    where = os.pathsep.join([str(HERE.parents[2]), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [
            sys.executable,
            str(HERE.with_name("recording.py")),
            str(out),
            *map(str, shape),
            str(rate_hz),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": where},
    )


def kill_after(
    child: subprocess.Popen[str], frames: int, linger_s: float = 0.0
) -> tuple[int, float]:
    """Kill once ``frames`` were submitted; how many were, and when it died."""
    assert child.stdout is not None
    with child:
        submitted = 0
        for line in child.stdout:
            submitted = int(line) + 1
            if submitted >= frames:
                break
        time.sleep(linger_s)
        killed = time.time()
        child.kill()
        rest = [line for line in child.stdout.read().splitlines(keepends=True) if line[-1] == "\n"]
    return submitted + len(rest), killed


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
@pytest.mark.parametrize(
    ("shape", "rate_hz", "frames"),
    [
        pytest.param((64, 80), 1000.0, 450, id="small-and-fast"),
        pytest.param((64, 80), 40.0, 70, id="steady"),
        pytest.param((1024, 1024), 200.0, 160, id="heavy", marks=pytest.mark.slow),
    ],
)
def test_kill_9(tmp_path: Path, shape: tuple[int, int], rate_hz: float, frames: int) -> None:
    out = tmp_path / "run"
    child = start_recording(out, shape, rate_hz)
    submitted, killed_unix = kill_after(child, frames)
    folder = RunFolder.open(out)

    found = status(out, now_unix=time.time())
    assert found.state is RunState.RUNNING
    assert found.dead
    assert "killed" in found.line()

    on_disk = frames_on_disk(folder.raw(0))
    with JournalReader(folder.journal) as journal:
        rows = {t for (t,) in journal.rows("SELECT t_index FROM frames")}
        arriving = {t for (t,) in journal.rows("SELECT t_index FROM arriving")}
        labelled = {seq for (seq,) in journal.rows("SELECT seq FROM results")}
    assert len(rows) == found.frames > 0
    # Rows never lie, and no pixels are without their metadata, not even for an instant.
    assert rows <= on_disk
    assert on_disk <= rows | arriving
    assert max(rows | arriving) < submitted
    # And the journal is at most a second behind.
    settled = {
        t for t in on_disk if chunk_path(folder.raw(0), t).stat().st_mtime < killed_unix - 1.0
    }
    assert settled <= rows
    if rate_hz < 100:
        assert len(rows) >= submitted - rate_hz

    raw = zarr.open_array(str(folder.raw(0) / "0"), mode="r")
    for t in sorted(on_disk):
        np.testing.assert_array_equal(raw[t], pattern(t, shape))
    labels_on_disk = frames_on_disk(folder.labels(0))
    assert labelled <= labels_on_disk
    labels = zarr.open_array(str(folder.labels(0) / "0"), mode="r")
    for t in sorted(labels_on_disk)[-20:]:
        np.testing.assert_array_equal(labels[t], label_pattern(t, shape))

    before = {t: chunk_path(folder.raw(0), t).stat().st_mtime_ns for t in on_disk}
    recovered = recover(out)
    assert recovered.frames == len(on_disk)
    assert set(recovered.lost) == arriving - on_disk
    assert {t: chunk_path(folder.raw(0), t).stat().st_mtime_ns for t in on_disk} == before
    group = zarr.open_group(str(folder.raw(0)), mode="r")
    mark = group.attrs["parfocal"]
    assert mark["state"] == "recovered"
    assert mark["frames_written"] == len(on_disk)
    assert set(mark["missing"]) == set(range(group["0"].shape[0])) - on_disk
    assert len(group.attrs["ome_writers"]["frame_metadata"]) == len(on_disk)
    yaozarrs.validate_zarr_store(str(folder.raw(0)))
    written = duckdb.sql(f"SELECT count(*) FROM '{folder.frames_table}' WHERE written").fetchall()
    assert written == [(len(on_disk),)]
    after = status(out, now_unix=time.time())
    assert after.state is RunState.INTERRUPTED
    assert recover(out).frames == recovered.frames


@pytest.mark.parametrize("linger_ms", [4, 7, 10, 13, 16])
def test_pixels_never_come_before_their_row(tmp_path: Path, linger_ms: int) -> None:
    """Killed some milliseconds after a frame was handed in: its row may be there without pixels."""
    out = tmp_path / "run"
    kill_after(start_recording(out, (64, 80), 20.0), 3, linger_ms / 1000)
    folder = RunFolder.open(out)
    with JournalReader(folder.journal) as journal:
        rows = {t for (t,) in journal.rows("SELECT t_index FROM frames")}
        arriving = {t for (t,) in journal.rows("SELECT t_index FROM arriving")}
    assert rows <= frames_on_disk(folder.raw(0)) <= rows | arriving


def test_a_run_that_lives_is_not_recovered(tmp_path: Path) -> None:
    out = tmp_path / "run"
    child = start_recording(out, (32, 32), 50.0)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        found = status(out, now_unix=time.time())
        assert found.writer_alive
        assert not found.dead
        with pytest.raises(RecorderError, match="still being recorded"):
            recover(out)
    finally:
        kill_after(child, 0)
