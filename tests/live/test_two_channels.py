"""Two channels of one place, both analysed live: each is tracked as it would be alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorstore

from live import load_experiment, run_experiment
from live.experiment.loading import load_pipeline_settings
from live.recording.journal_reader import JournalReader
from live.recording.runfolder import RunFolder
from models import ImageContext, load_pipeline

EXPERIMENT = """
name: two channels
rig: {driver: simulated, width: 256, height: 256, cells_per_view: 20, clock: frames}
pipeline: threshold
plan:
  channels: [{config: DAPI, exposure: 20}, {config: FITC, exposure: 20}]
  time_plan: {interval: 0.2, loops: 10}
inference: {policy: every, channel: ""}
record: {reserve_mb: 10}
"""
SQL = (
    "SELECT channel, seq, label, track_id FROM objects JOIN frames USING (seq) ORDER BY seq, label"
)
Tracks = dict[str, list[tuple[int, ...]]]


def numbered_afresh(tracks: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """(seq, label, place of the track among all of this channel)."""
    ids = sorted({track for *_, track in tracks})
    return [(seq, label, ids.index(track)) for seq, label, track in tracks]


def tracks_alone(folder: RunFolder, channel: str) -> list[tuple[int, ...]]:
    """Those of the recorded frames of one channel, as if there were no other."""
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(folder.raw(0) / "0")}}
    raw = np.asarray(tensorstore.open(spec, read=True).result().read().result())
    with JournalReader(folder.journal) as journal:
        sql = (
            "SELECT seq, t_index, delta_s, pixel_size_um, x_um, y_um FROM frames "
            "WHERE channel = ? ORDER BY seq"
        )
        frames = list(journal.rows(sql, (channel,)))
    found = []
    with load_pipeline(load_pipeline_settings("threshold")) as pipeline:
        for number, (seq, index, time_s, size, x_um, y_um) in enumerate(frames):
            centre = size * (256 - 1) / 2
            stage = np.array([[size, 0, x_um - centre], [0, size, y_um - centre]])
            result = pipeline.run(raw[index], ImageContext(number, time_s, size, stage))
            found += [(seq, int(o["label"]), int(o["track_id"])) for o in result.objects]
    return found


@pytest.mark.slow
def test_two_channels_of_a_run_do_not_share_tracks(tmp_path: Path) -> None:
    written = tmp_path / "experiment.yaml"
    written.write_text(EXPERIMENT)
    report = run_experiment(load_experiment(written), out=tmp_path / "run")
    assert report.exit_code == 0, report.problems
    assert report.frames["analysed"] == 20
    folder = RunFolder(tmp_path / "run")
    tracks: Tracks = {"DAPI": [], "FITC": []}
    with JournalReader(folder.journal) as journal:
        for channel, *row in journal.rows(SQL):
            tracks[channel].append(tuple(row))
    ids = {channel: {track for *_, track in rows} for channel, rows in tracks.items()}
    assert min(map(len, ids.values())) >= 3
    assert not ids["DAPI"] & ids["FITC"]
    for channel, rows in tracks.items():
        assert numbered_afresh(rows) == numbered_afresh(tracks_alone(folder, channel))
