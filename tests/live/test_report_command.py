"""``parfocal report``: the table, the tracks and the picture of a recorded run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from recording import end_zarr_threads, frame, label_pattern, objects, recording

from live.cli import main
from live.tracks.files import EDGES_NAME, GEFF_NAME, SPOTS_NAME
from live.tracks.lineage import napari_tracks
from live.tracks.run import LINEAGES_NAME, export_cheap, lineages_of_run

SHAPE = (32, 48)


def a_run(path: Path, *, tracked: bool = True) -> Path:
    """A recorded run of four frames, in which track 101 divides."""
    with recording(path) as (_, _, recorder):
        for seq in range(4):
            recorder.submit(frame(seq))
            table = objects(2)
            table["parent_id"], table["x_px"] = [0, 0 if seq < 2 else 101], seq
            table["track_id"][1] += 0 if seq < 2 else 10
            if not tracked:
                table["track_id"] = table["parent_id"] = 0
            recorder.submit_result(seq, labels=label_pattern(seq, SHAPE), objects=table)
    return path


def parfocal(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one call in this process."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_a_run_is_reported_with_its_tracks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = a_run(tmp_path / "run")
    said = {"frames": {"captured": 4}, "exit_reason": "the plan is done"}
    (run / "report.json").write_text(json.dumps(said), encoding="utf-8")
    told = tmp_path / "told.json"
    code, out, err = parfocal(capsys, "report", str(run), "--trackmate", "--json", str(told))
    assert (code, err) == (0, "")
    assert "4 captured" in out
    names = [GEFF_NAME, SPOTS_NAME, EDGES_NAME, LINEAGES_NAME]
    assert json.loads(told.read_text())["files"] == names
    assert all((run / name).exists() for name in names)
    with Image.open(run / LINEAGES_NAME) as picture:
        assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 3


def test_a_run_that_never_ended_in_order_is_told_from_its_journal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = a_run(tmp_path / "run")
    code, out, _ = parfocal(capsys, "report", str(run), "--no-tracks")
    assert code == 0
    assert "4 frames" in out
    assert not (run / GEFF_NAME).exists()


def test_what_is_no_run_and_what_is_damaged_take_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = parfocal(capsys, "report", str(tmp_path))
    assert code != 0
    assert "is not a recorded run" in err
    run = a_run(tmp_path / "run")
    (run / "report.json").write_text("{", encoding="utf-8")
    code, _, err = parfocal(capsys, "report", str(run))
    assert code != 0
    assert "cannot be read" in err
    assert err.count("\n") == 1


def test_nothing_is_written_of_a_run_without_tracks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = a_run(tmp_path / "run", tracked=False)
    code, out, _ = parfocal(capsys, "report", str(run))
    assert code == 0
    assert "nothing was tracked" in out
    assert not (run / LINEAGES_NAME).exists()


def test_many_objects_are_left_for_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from live.recording.runfolder import RunFolder

    run = RunFolder.open(a_run(tmp_path / "run"))
    monkeypatch.setattr("live.tracks.run.MOST_AT_END", 7)
    (note,) = export_cheap(run)
    assert "parfocal report" in note
    assert not (run.path / GEFF_NAME).exists()
    monkeypatch.setattr("live.tracks.run.MOST_AT_END", 8)
    assert export_cheap(run) == ()
    assert (run.path / GEFF_NAME).exists()


def test_traccuracy_reads_the_tracks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    geff = pytest.importorskip("geff", reason="needs the test extra")
    traccuracy = pytest.importorskip("traccuracy", reason="needs the score extra")
    run = a_run(tmp_path / "run")
    assert parfocal(capsys, "report", str(run))[0] == 0
    graph, _ = geff.read(str(run / GEFF_NAME))
    tracks = traccuracy.TrackingGraph(
        graph, frame_key="t", label_key="label", location_keys=("y", "x")
    )
    (mother,) = tracks.get_divisions()
    assert len(list(tracks.graph.successors(mother))) == 2
    end_zarr_threads()


def test_napari_takes_the_tracks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers = pytest.importorskip("napari.layers", reason="napari is not installed")
    run = a_run(tmp_path / "run")
    assert parfocal(capsys, "report", str(run))[0] == 0
    from live.recording.runfolder import RunFolder

    data, graph = napari_tracks(lineages_of_run(RunFolder.open(run)))
    layer = layers.Tracks(data, graph=graph)
    assert {int(k): list(map(int, v)) for k, v in layer.graph.items()} == graph
    assert len(layer.data) == 8
