"""A disk that really fills, and a file system that refuses a file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from live.recording.journal import RunState
from live.recording.journal_reader import JournalReader
from live.recording.reconcile import reconcile
from live.recording.runfolder import RunFolder

HERE = Path(__file__).resolve()

PROGRAM = """
import sys, time
from dataclasses import replace
from pathlib import Path
from recording import SMALL, frame, recording
from live.errors import LiveError

out, side, file_limit = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
if file_limit:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
settings = replace(SMALL, chunk_timeout_s=2.0, drain_timeout_s=20.0)
try:
    with recording(out, settings) as (folder, journal, recorder):
        for seq in range(1000):
            recorder.submit(frame(seq, (side, side)))
            time.sleep(0.02)
except LiveError as error:
    print("SAID", error, flush=True)
    sys.exit(int(error.exit_code))
"""


def record(out: Path, side: int, file_limit: int = 0) -> tuple[int, str]:
    where = os.pathsep.join([str(HERE.parents[2]), str(HERE.parent)])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(out), str(side), str(file_limit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": where},
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def check_what_is_left(out: Path, said: str) -> None:
    folder = RunFolder.open(out)
    found = reconcile(folder.path)
    with JournalReader(folder.journal) as journal:
        run = journal.run()
    assert run["state"] == RunState.FAILED
    assert "SAID" in said
    # Each frame is either whole and in the journal, or named as captured and without pixels.
    assert found.recorded == found.chunks
    assert not found.ok
    assert any(re.search(r"captured frames have no pixels: seq \d", x) for x in found.mismatches)
    assert not any("not in the journal" in line for line in found.mismatches)


def test_a_disk_that_fills(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.name != "posix":
        pytest.skip("needs mount to make a small disk")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(small)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        code, said = record(small / "run", 512)
        assert code == 4
        assert "is full" in said
        # Seen coming: each frame that was taken is kept.
        found = reconcile(small / "run")
        assert found.ok, found.line()
        assert found.recorded >= 4
        assert f"the {found.recorded} frames before it are kept" in said
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_file_system_that_refuses_large_files(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    # The journal stays below 8 MiB, a frame of 2304 x 2304 does not.
    code, said = record(tmp_path / "run", 2304, file_limit=8 << 20)
    assert code == 4
    assert "frame 0" in said
    assert re.search("file too large|EFBIG", said, re.IGNORECASE), said
    check_what_is_left(tmp_path / "run", said)
