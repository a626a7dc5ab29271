"""What the recorder writes, read back with zarr, yaozarrs and DuckDB."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest
import yaozarrs
import zarr
from recording import SMALL, end_zarr_threads, frame, label_pattern, objects, pattern, recording

from drivers.errors import SettingsError
from live.recording.errors import RecorderError
from live.recording.journal_reader import JournalReader
from live.recording.reconcile import reconcile
from live.recording.recorder import Recorder
from live.recording.runfolder import RunFolder
from live.recording.zarrstore import chunk_path, frames_on_disk
from models.result import EngineInfo

SHAPE = (32, 48)
ENGINE = EngineInfo(name="onnxruntime", precision="fp32", device="cpu", model="nuclei")


@pytest.fixture(autouse=True)
def _no_zarr_threads() -> Iterator[None]:
    yield
    end_zarr_threads()


def test_raw_frames_read_back_with_their_scale_and_times(tmp_path: Path) -> None:
    with recording(tmp_path / "run") as (folder, _, recorder):
        for seq in range(12):
            recorder.submit(frame(seq))
    assert recorder.stats().recorded == 12
    yaozarrs.validate_zarr_store(str(folder.raw(0)))
    group = zarr.open_group(str(folder.raw(0)), mode="r")
    assert group["0"].shape == (12, *SHAPE)
    for seq in range(12):
        np.testing.assert_array_equal(group["0"][seq], pattern(seq, SHAPE))
    multiscale = group.attrs["ome"]["multiscales"][0]
    scale = multiscale["datasets"][0]["coordinateTransformations"][0]["scale"]
    assert scale == pytest.approx([0.1, 0.65, 0.65])
    assert [axis["unit"] for axis in multiscale["axes"]] == ["second", "micrometer", "micrometer"]
    times = group.attrs["ome_writers"]["frame_metadata"]
    assert [entry["delta_t"] for entry in times] == pytest.approx([s * 0.1 for s in range(12)])
    assert times[3]["exposure_time"] == pytest.approx(0.02)
    assert times[3]["position_x"] == pytest.approx(4.5)
    assert group.attrs["parfocal"] == {"state": "complete", "frames_written": 12}
    assert reconcile(folder.path, captured=12).ok


def test_an_unknown_position_does_not_break_the_metadata(tmp_path: Path) -> None:
    with recording(tmp_path / "run") as (folder, _, recorder):
        recorder.submit(frame(0, x_um=float("nan")))
    (entry,) = zarr.open_group(str(folder.raw(0)), mode="r").attrs["ome_writers"]["frame_metadata"]
    assert "position_x" not in entry
    assert entry["position_z"] == 3.0
    assert "NaN" not in (folder.raw(0) / "zarr.json").read_text()
    assert reconcile(folder.path, captured=1).ok


def test_without_a_nominal_interval_the_mean_is_measured(tmp_path: Path) -> None:
    with recording(tmp_path / "run", replace(SMALL, interval_s=None)) as (folder, _, recorder):
        for seq in range(4):
            recorder.submit(frame(seq, captured_ns=10**9 + seq * 250_000_000))
            recorder.submit_result(seq, labels=label_pattern(seq, SHAPE), objects=objects(1))
    for image in (folder.raw(0), folder.labels(0)):
        ome = zarr.open_group(str(image), mode="r").attrs["ome"]["multiscales"][0]
        assert ome["datasets"][0]["coordinateTransformations"][0]["scale"][0] == 0.25


def test_a_black_frame_is_not_a_missing_frame(tmp_path: Path) -> None:
    with recording(tmp_path / "run") as (folder, _, recorder):
        for seq in range(3):
            black = frame(seq)
            black.pixels[:] = 0
            recorder.submit(black)
            recorder.submit_result(seq, labels=np.zeros(SHAPE, np.int32))
    found = reconcile(folder.path, captured=3)
    assert found.ok, found.line()
    assert (found.chunks, found.labels) == (3, 3)
    assert chunk_path(folder.raw(0), 1).stat().st_size == 2 * SHAPE[0] * SHAPE[1]
    assert not zarr.open_array(str(folder.raw(0) / "0"), mode="r")[:].any()
    assert not zarr.open_array(str(folder.labels(0) / "0"), mode="r")[:].any()


def test_labels_keep_the_time_axis_of_their_frames(tmp_path: Path) -> None:
    analysed = {1, 4, 5, 8}
    with recording(tmp_path / "run", replace(SMALL, denoised=True)) as (folder, _, recorder):
        for seq in range(11):
            recorder.submit(frame(seq))
            if seq in analysed:
                recorder.submit_result(
                    seq,
                    labels=label_pattern(seq, SHAPE),
                    objects=objects(3),
                    denoised=pattern(seq, SHAPE) // 2,
                    engine=ENGINE,
                    stage_ms={"segment": 4.0},
                )
    yaozarrs.validate_zarr_store(str(folder.raw(0)))
    yaozarrs.validate_zarr_store(str(folder.raw(0) / "labels"))
    yaozarrs.validate_zarr_store(str(folder.labels(0)))
    yaozarrs.validate_zarr_store(str(folder.denoised(0)))
    raw = zarr.open_group(str(folder.raw(0)), mode="r")
    assert raw["labels"].attrs["ome"]["labels"] == ["cells"]
    assert raw["labels/cells"].attrs["ome"]["image-label"] == {"source": {"image": "../../"}}
    labels = raw["labels/cells/0"]
    denoised = zarr.open_array(str(folder.denoised(0) / "0"), mode="r")
    assert labels.dtype == np.int32
    assert labels.shape == denoised.shape == raw["0"].shape == (11, *SHAPE)
    for seq in range(11):
        want = label_pattern(seq, SHAPE) if seq in analysed else np.zeros(SHAPE)
        np.testing.assert_array_equal(labels[seq], want)
        np.testing.assert_array_equal(raw["0"][seq], pattern(seq, SHAPE))
        if seq in analysed:
            np.testing.assert_array_equal(denoised[seq], pattern(seq, SHAPE) // 2)
    with JournalReader(folder.journal) as journal:
        rows = list(journal.rows("SELECT seq, analysed, n_objects, engine FROM results"))
    assert rows == [(seq, 1, 3, "onnxruntime") for seq in sorted(analysed)]
    found = reconcile(folder.path, captured=11)
    assert found.ok, found.line()
    assert (found.results, found.labels, found.objects) == (4, 4, 12)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"shape": (24, 40)}, id="roi"),
        pytest.param({"dtype": "uint8"}, id="depth"),
        pytest.param({"pixel_size_um": 0.325}, id="objective"),
    ],
)
def test_a_change_of_format_begins_a_new_image(tmp_path: Path, change: dict[str, object]) -> None:
    with recording(tmp_path / "run") as (folder, _, recorder):
        for seq in range(9):
            new = 3 <= seq < 6
            taken = frame(seq, epoch=1, **change) if new else frame(seq)
            recorder.submit(taken)
            labels = label_pattern(seq, taken.pixels.shape)
            recorder.submit_result(seq, labels=labels, objects=objects(2))
    assert folder.stores() == [0, 1, 2]
    for number in folder.stores():
        group = zarr.open_group(str(folder.raw(number)), mode="r")
        assert group["0"].shape[0] == group["labels/cells/0"].shape[0] == 3
        for t in range(3):
            seq = number * 3 + t
            want = frame(seq, **change) if number == 1 else frame(seq)
            np.testing.assert_array_equal(group["0"][t], want.pixels)
            np.testing.assert_array_equal(
                group["labels/cells/0"][t], label_pattern(seq, want.pixels.shape)
            )
    ome = zarr.open_group(str(folder.raw(2)), mode="r").attrs["ome"]["multiscales"][0]
    moved = ome["datasets"][0]["coordinateTransformations"][1]["translation"]
    assert moved == pytest.approx([0.6, 0, 0])
    assert reconcile(folder.path, captured=9).ok


def test_an_image_is_ended_before_its_metadata_grows_without_bound(tmp_path: Path) -> None:
    with recording(tmp_path / "run", replace(SMALL, frames_per_store=4)) as (folder, _, recorder):
        for seq in range(10):
            recorder.submit(frame(seq))
    shapes = [zarr.open_array(str(folder.raw(n) / "0"), mode="r").shape[0] for n in range(3)]
    assert shapes == [4, 4, 2]
    assert reconcile(folder.path, captured=10).ok


def test_concurrent_results_never_lose_a_label_or_delay_a_frame(tmp_path: Path) -> None:
    count, shape = 120, (256, 256)
    with recording(tmp_path / "run") as (folder, _, recorder):
        ready = threading.Semaphore(0)
        answers: list[bool] = []

        def analyse() -> None:
            for seq in range(count):
                ready.acquire(timeout=10)
                answers.append(
                    recorder.submit_result(
                        seq, labels=label_pattern(seq, shape), objects=objects(5)
                    )
                )

        worker = threading.Thread(target=analyse)
        worker.start()
        for seq in range(count):
            recorder.submit(frame(seq, shape))
            ready.release()
        worker.join(20)
    assert len(answers) == count
    left_out = answers.count(False)
    assert recorder.stats().drops.get("labels_queue", 0) == left_out
    found = reconcile(folder.path, captured=count)
    assert found.ok, found.line()
    assert found.labels == count - left_out
    assert found.objects == 5 * count
    labels = zarr.open_array(str(folder.labels(0) / "0"), mode="r")
    raw = zarr.open_array(str(folder.raw(0) / "0"), mode="r")
    for seq in range(count):
        np.testing.assert_array_equal(raw[seq], pattern(seq, shape))
        if answers[seq]:
            np.testing.assert_array_equal(labels[seq], label_pattern(seq, shape))


def test_results_that_cannot_be_kept_are_counted_and_raw_frames_go_on(tmp_path: Path) -> None:
    with recording(tmp_path / "run") as (folder, _, recorder):
        for seq in range(40):
            recorder.submit(frame(seq))
        for _ in range(3):
            recorder.submit_result(999, labels=label_pattern(0, SHAPE))
        recorder.submit_result(7, labels=label_pattern(7, (8, 8)), objects=objects(1))
        recorder.submit_result(9, labels=label_pattern(9, SHAPE), objects=objects(4))
        recorder.submit_result(8, labels=label_pattern(8, SHAPE), objects=objects(4))
    assert recorder.stats().drops == {"labels_late": 4, "labels_shape": 1}
    found = reconcile(folder.path, captured=40)
    assert found.ok, found.line()
    assert (found.labels, found.objects) == (1, 9)
    assert "1 left out: labels_shape" in found.notes
    with JournalReader(folder.journal) as journal:
        assert journal.drops() == recorder.stats().drops


def test_a_result_that_outran_its_frame_is_kept(tmp_path: Path) -> None:
    with recording(tmp_path / "run") as (folder, _, recorder):
        recorder.submit(frame(0))
        recorder.submit_result(1, labels=label_pattern(1, SHAPE), objects=objects(2))
        time.sleep(0.1)
        recorder.submit(frame(1))
    assert recorder.stats().drops == {}
    assert reconcile(folder.path, captured=2).labels == 1


def test_a_full_queue_of_results_drops_images_and_keeps_objects(tmp_path: Path) -> None:
    tight = replace(SMALL, result_queue_items=2)
    with recording(tmp_path / "run", tight) as (folder, _, recorder):
        for seq in range(60):
            recorder.submit(frame(seq))
        kept = [
            recorder.submit_result(seq, labels=label_pattern(seq, SHAPE), objects=objects(2))
            for seq in range(60)
        ]
    assert recorder.stats().drops == {"labels_queue": kept.count(False)}
    found = reconcile(folder.path, captured=60)
    assert found.ok, found.line()
    assert (found.labels, found.objects) == (kept.count(True), 120)


def test_a_full_queue_makes_the_camera_wait_and_loses_nothing(tmp_path: Path) -> None:
    tight = replace(SMALL, queue_bytes=3 * 256 * 256 * 2)
    with recording(tmp_path / "run", tight) as (folder, _, recorder):
        for seq in range(60):
            recorder.submit(frame(seq, (256, 256)))
            assert recorder.stats().waiting_bytes <= tight.queue_bytes
    assert recorder.stats().waits > 0
    assert reconcile(folder.path, captured=60).ok


def test_each_row_is_committed_within_a_second_of_its_pixels(tmp_path: Path) -> None:
    with recording(tmp_path / "run") as (folder, _, recorder):
        for seq in range(5):
            recorder.submit(frame(seq))
        deadline = time.monotonic() + 30
        while len(frames_on_disk(folder.raw(0))) < 5:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        there = time.monotonic()
        recorded = 0
        while recorded < 5:
            assert time.monotonic() - there < 1.0
            with JournalReader(folder.journal) as journal:
                recorded = journal.count("frames")


def test_frames_out_of_order_are_refused(tmp_path: Path) -> None:
    with recording(tmp_path / "run") as (folder, _, recorder):
        recorder.submit(frame(5))
        with pytest.raises(RecorderError, match="frame 5 came after frame 5"):
            recorder.submit(frame(5))
    assert reconcile(folder.path, captured=1).ok


def test_outside_its_block_it_says_so(tmp_path: Path) -> None:
    with recording(tmp_path / "run") as (_, _, recorder):
        pass
    recorder.close()
    with pytest.raises(RecorderError, match="with block"):
        recorder.submit(frame(0))
    with pytest.raises(RecorderError, match="with block"):
        recorder.submit_result(0)


def test_an_empty_run_adds_up(tmp_path: Path) -> None:
    with recording(tmp_path / "run") as (folder, _, _):
        pass
    assert folder.stores() == []
    assert reconcile(folder.path, captured=0).ok


def test_too_little_room_is_told_before_anything_is_written(tmp_path: Path) -> None:
    greedy = replace(SMALL, reserve_bytes=1 << 60)
    with (
        pytest.raises(SettingsError, match=r"MB free, of which .* MB are kept in reserve"),
        recording(tmp_path / "run", greedy),
    ):
        pass
    assert RunFolder.open(tmp_path / "run").stores() == []


def test_reaching_the_reserve_stops_the_run_with_everything_kept(tmp_path: Path) -> None:
    with (  # noqa: PT012
        pytest.raises(RecorderError, match="the 4 frames before it are kept"),
        recording(tmp_path / "run") as (folder, _, recorder),
    ):
        for seq in range(4):
            recorder.submit(frame(seq))
        starve(recorder)
        recorder.submit(frame(4))
    found = reconcile(folder.path, captured=4)
    assert found.ok, found.line()


def starve(recorder: Recorder) -> None:
    """Ask for more room than any disk has, as if others had filled it meanwhile."""
    recorder._settings = replace(recorder._settings, reserve_bytes=1 << 60)


def test_tables_are_complete(tmp_path: Path) -> None:
    from live.recording.export import export_tables

    with recording(tmp_path / "run") as (folder, journal, recorder):
        for seq in range(4):
            recorder.submit(frame(seq, decision=7 if seq == 2 else -1))
            journal.add_times(seq, {"captured": 10 + seq, "decided": 30})
        recorder.submit_result(1, labels=label_pattern(1, SHAPE), objects=objects(2), engine=ENGINE)
    exported = export_tables(folder)
    assert (exported.frames, exported.objects, exported.decisions) == (4, 2, 0)
    table = duckdb.sql(
        f"SELECT seq, t_index, decision, written, analysed, at_decided_ns, channel, x_um, store "
        f"FROM '{folder.frames_table}' ORDER BY seq"
    ).fetchall()
    assert table[2] == (2, 2, 7, True, False, 30, "DAPI", 3.0, "raw-000.ome.zarr")
    assert [row[4] for row in table] == [False, True, False, False]
    rows = duckdb.sql(
        f"SELECT seq, label, track_id, divided, y_px, y_um, t_index FROM '{folder.objects_table}'"
    ).fetchall()
    assert rows == [(1, 1, 101, False, 7.5, None, 1), (1, 2, 102, True, 7.5, None, 1)]
    assert not list(folder.path.glob(".export-*"))


def test_tables_of_many_objects_are_told_of_piece_by_piece(tmp_path: Path) -> None:
    from live.recording import export

    many = 2 * export._ROWS_AT_ONCE + 5
    with recording(tmp_path / "run") as (folder, _, recorder):
        recorder.submit(frame(0))
        recorder.submit_result(
            0, labels=label_pattern(0, SHAPE), objects=objects(many), engine=ENGINE
        )
    told: list[tuple[str, int]] = []
    assert (
        export.export_tables(folder, lambda table, rows: told.append((table, rows))).objects == many
    )
    pieces = [rows for table, rows in told if table == "objects"]
    assert pieces == [export._ROWS_AT_ONCE, 2 * export._ROWS_AT_ONCE, many]
    labels = duckdb.sql(f"SELECT label FROM '{folder.objects_table}'").fetchnumpy()["label"]
    assert labels.tolist() == list(range(1, many + 1))


def test_tables_are_made_within_the_memory_that_they_get(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from live.recording import export

    with recording(tmp_path / "run") as (folder, _, recorder):
        recorder.submit(frame(0))
    monkeypatch.setattr(export, "_MEMORY", "1KB")
    with pytest.raises(RecorderError, match="cannot write the tables"):
        export.export_tables(folder)
    assert not list(folder.path.glob(".export-*"))
