"""Damage of every kind is found and named."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from recording import frame, label_pattern, objects, recording

from drivers.errors import SettingsError
from live.recording.reconcile import reconcile
from live.recording.runfolder import RunFolder
from live.recording.zarrstore import chunk_path


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    with recording(tmp_path / "run") as (folder, _, recorder):
        for seq in range(6):
            recorder.submit(frame(seq))
            recorder.submit_result(seq, labels=label_pattern(seq, (32, 48)), objects=objects(2))
    return folder


def sql(statement: str) -> Callable[[RunFolder], None]:
    def damage(folder: RunFolder) -> None:
        connection = sqlite3.connect(folder.journal)
        with connection:
            connection.execute(statement)
        connection.close()

    return damage


def lose_chunk(folder: RunFolder) -> None:
    chunk_path(folder.raw(0), 3).unlink()


def cut_chunk(folder: RunFolder) -> None:
    chunk = chunk_path(folder.raw(0), 2)
    chunk.write_bytes(chunk.read_bytes()[:-1])


def lose_label(folder: RunFolder) -> None:
    chunk_path(folder.labels(0), 4).unlink()


def add_chunk(folder: RunFolder) -> None:
    extra = chunk_path(folder.raw(0), 6)
    extra.parent.mkdir(parents=True)
    shutil.copy(chunk_path(folder.raw(0), 0), extra)


def claim_more(folder: RunFolder) -> None:
    array = folder.raw(0) / "0" / "zarr.json"
    document = json.loads(array.read_text())
    document["shape"][0] += 5
    array.write_text(json.dumps(document))


def lose_image(folder: RunFolder) -> None:
    shutil.rmtree(folder.raw(0))


def test_a_sound_run_adds_up(run: RunFolder) -> None:
    found = reconcile(run.path, captured=6)
    assert found.ok
    assert (found.captured, found.recorded, found.chunks, found.labels) == (6, 6, 6, 6)
    assert found.objects == 12
    assert "6 frames captured = 6 on disk = 6 in the journal" in found.line()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        pytest.param(lose_chunk, "1 frames have no pixels: t 3", id="lost chunk"),
        pytest.param(cut_chunk, "1 frames are cut short: t 2", id="short chunk"),
        pytest.param(add_chunk, "1 frames are not in the journal: t 6", id="extra chunk"),
        pytest.param(lose_label, "1 labels images are missing: t 4", id="lost label"),
        pytest.param(claim_more, "claims 11 frames, 6 are real", id="claims too much"),
        pytest.param(lose_image, "6 frames have no pixels", id="lost image"),
        pytest.param(sql("DELETE FROM frames WHERE seq = 5"), "not in the journal", id="lost row"),
        pytest.param(
            sql("DELETE FROM objects WHERE seq = 2 AND label = 1"),
            "1 results and their object rows differ: seq 2",
            id="lost object",
        ),
        pytest.param(
            sql("DELETE FROM results WHERE seq = 1"), "1 labels images have no result", id="result"
        ),
        pytest.param(
            sql("INSERT INTO arriving SELECT * FROM frames WHERE seq = 0"),
            "1 captured frames have no pixels: seq 0",
            id="arriving",
        ),
    ],
)
def test_damage_is_named(run: RunFolder, damage: Callable[[RunFolder], None], says: str) -> None:
    damage(run)
    found = reconcile(run.path)
    assert not found.ok
    assert says in found.line()


def test_a_frame_that_the_recorder_never_saw_is_missed(run: RunFolder) -> None:
    found = reconcile(run.path, captured=7)
    assert found.mismatches == ("7 frames captured but 6 in the journal",)


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not a recorded run"):
        reconcile(tmp_path)
