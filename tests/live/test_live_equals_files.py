"""The same movie live and from files: the same label images and the same track ids."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import tifffile

from live import load_experiment, run_experiment
from live.experiment.loading import load_pipeline_settings
from live.infer import infer
from live.recording.journal_reader import JournalReader
from live.recording.runfolder import RunFolder

EXPERIMENT = """
name: replayed
rig: {{driver: replay, path: "{movie}", timing: fast, pixel_size_um: 0.1}}
pipeline: {pipeline}
plan: {{time_plan: {{interval: 0, loops: 100000}}}}
inference: {{policy: wait}}
record: {{reserve_mb: 10}}
"""


def live_labels(folder: RunFolder) -> np.ndarray:
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(folder.labels(0) / "0")}}
    return np.asarray(tensorstore.open(spec, read=True).result().read().result())


def live_tracks(folder: RunFolder) -> list[tuple[int, ...]]:
    with JournalReader(folder.journal) as journal:
        sql = "SELECT seq, label, track_id, parent_id FROM objects ORDER BY seq, label"
        return [tuple(row) for row in journal.rows(sql)]


def file_tracks(table: Path) -> list[tuple[int, ...]]:
    with table.open(newline="") as file:
        names = ("frame", "label", "track_id", "parent_id")
        return sorted(tuple(int(row[name]) for name in names) for row in csv.DictReader(file))


@pytest.mark.parametrize("pipeline", ["threshold", pytest.param("nuclei", marks=pytest.mark.slow)])
def test_live_equals_files(tmp_path: Path, data: Path, pipeline: str) -> None:
    movie = data / "ecoli" / "01"
    written = tmp_path / "experiment.yaml"
    written.write_text(EXPERIMENT.format(movie=movie.as_posix(), pipeline=pipeline))
    report = run_experiment(load_experiment(written), out=tmp_path / "live")
    assert report.exit_code == 0, report.problems
    infer(
        [movie], load_pipeline_settings(pipeline), tmp_path / "files", movie=True,
        pixel_size_um=0.1,
    )  # fmt: skip
    folder = RunFolder(tmp_path / "live")
    tracks = live_tracks(folder)
    assert tracks == file_tracks(tmp_path / "files" / "objects.csv")
    assert len(tracks) > len(list(movie.glob("*.tif")))
    labels = live_labels(folder)
    assert len(labels) == len(list(movie.glob("*.tif"))) == report.frames["analysed"]
    for number, image in enumerate(labels):
        # The challenge format numbers tracks in its own way, so the outlines are compared.
        mask = tifffile.imread(tmp_path / "files" / f"mask{number:03d}.tif")
        pairs = np.unique(np.stack([image.ravel(), mask.ravel()]), axis=1)
        assert pairs.shape[1] == len(np.unique(image)) == len(np.unique(mask)), f"frame {number}"
