"""Nothing is overwritten, and a dead writer is told from a living one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from drivers.errors import SettingsError
from live.recording.errors import OutputExists
from live.recording.journal import Journal, RunState
from live.recording.runfolder import RunFolder, status


def test_a_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    assert RunFolder.create(tmp_path / "a" / "b").path.is_dir()


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    assert RunFolder.create(tmp_path).path == tmp_path.resolve()


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_exists_is_refused_or_numbered(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "run"
    if kind == "folder":
        out.mkdir()
        (out / "precious").write_text("data")
    else:
        out.write_text("data")
    with pytest.raises(OutputExists, match="nothing is overwritten"):
        RunFolder.create(out)
    for number in (1, 2):
        folder = RunFolder.create(out, numbered=True)
        assert folder.path.name == f"run_{number}"
        folder.log.write_text("used")
    assert ((out / "precious") if kind == "folder" else out).read_text() == "data"


def test_a_place_where_no_folder_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SettingsError, match="cannot make the output folder"):
        RunFolder.create(tmp_path / "file" / "run")


def test_status_of_a_living_and_an_ended_run(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    with Journal(folder.journal) as journal:
        found = status(folder.path, now_unix=time.time())
        assert (found.state, found.writer_alive, found.dead) == (RunState.RUNNING, True, False)
        journal.finish(RunState.INTERRUPTED, "Ctrl-C")
    found = status(folder.path, now_unix=time.time())
    assert (found.state, found.dead, found.reason) == (RunState.INTERRUPTED, False, "Ctrl-C")
    assert "Ctrl-C" in found.line()


def test_on_another_host_silence_counts_as_death(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    with Journal(folder.journal) as journal:
        journal.set_run(host="some other machine")
        journal.flush()
        now = time.time()
        assert not status(folder.path, now_unix=now).dead
        assert status(folder.path, now_unix=now + 120).dead
