"""Recorded frames: every kind of file, every way that they can be wrong, and their timing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import useq
from ome_writers import AcquisitionSettings, Dimension, create_stream
from PIL import Image

from drivers import EndOfData, RigError, SettingsError, list_frames, open_rig
from drivers.replay import ReplayRig
from drivers.replay_sources import natural
from drivers.settings import ReplaySettings

MOVIE = np.random.default_rng(1).integers(0, 60_000, (6, 20, 30)).astype(np.uint16)


def rig(path: Path, **settings: Any) -> ReplayRig:
    made = open_rig(ReplaySettings(path=str(path), **({"timing": "fast"} | settings)))
    assert isinstance(made, ReplayRig)
    return made


def write_stack(path: Path) -> Path:
    tifffile.imwrite(path, MOVIE, photometric="minisblack")
    return path


def write_imagej(path: Path) -> Path:
    meta = {"axes": "TYX", "unit": "um", "finterval": 2.5}
    tifffile.imwrite(path, MOVIE, imagej=True, resolution=(4, 4), metadata=meta)
    return path


def write_ome(path: Path) -> Path:
    meta = {
        "axes": "TYX",
        "PhysicalSizeX": 250,
        "PhysicalSizeXUnit": "nm",
        "TimeIncrement": 2500,
        "TimeIncrementUnit": "ms",
    }
    tifffile.imwrite(path, MOVIE, ome=True, metadata=meta, compression="zlib")
    return path


def write_zarr(path: Path, movie: np.ndarray = MOVIE) -> Path:
    space = {"type": "space", "unit": "micrometer", "scale": 0.25}
    settings = AcquisitionSettings(
        root_path=str(path),
        dimensions=[
            Dimension(name="t", count=None, chunk_size=1, type="time", unit="second", scale=2.5),
            Dimension(name="y", count=movie.shape[1], **space),
            Dimension(name="x", count=movie.shape[2], **space),
        ],
        dtype=str(movie.dtype),
        format={"name": "ome-zarr", "backend": "tensorstore"},
    )
    with create_stream(settings) as stream:
        for frame in movie:
            stream.append(frame)
    return path


def write_folder(path: Path, suffix: str = ".tif") -> Path:
    path.mkdir()
    for number, frame in enumerate(MOVIE):
        file = path / f"frame{number + 7}{suffix}"  # 7, 8, 9, 10: text would sort these wrongly
        tifffile.imwrite(file, frame) if suffix == ".tif" else Image.fromarray(frame).save(file)
    (path / "notes.txt").write_text("not an image")
    return path


@pytest.mark.parametrize(
    ("write", "name", "scaled", "first"),
    [
        (write_stack, "stack.tif", False, "stack_0000"),
        (write_imagej, "imagej.tif", True, "imagej_0000"),
        (write_ome, "movie.ome.tif", True, "movie_0000"),
        (write_zarr, "movie.ome.zarr", True, "movie_0000"),
        (write_folder, "folder", False, "frame7"),
        (lambda path: write_folder(path, ".png"), "pngs", False, "frame7"),
    ],
    ids=["stack", "imagej", "ome-tiff", "ome-zarr", "tiff folder", "png folder"],
)
def test_every_kind_gives_the_same_frames(
    tmp_path: Path, write: Any, name: str, scaled: bool, first: str
) -> None:
    with list_frames(write(tmp_path / name)) as source:
        assert len(source) == 6
        for index in (5, 0, 3, 4, 1, 2):
            assert np.array_equal(source.read(index), MOVIE[index])
            assert source.read(index).dtype == np.uint16
        assert source.pixel_size_um == pytest.approx(0.25 if scaled else 0)
        assert source.interval_ms == pytest.approx(2500 if scaled else 0)
        assert source.name(0) == first
        with pytest.raises(IndexError):
            source.read(6)


@pytest.mark.parametrize("writer", ["imagej", "ome", "plain"])
def test_one_channel_of_several(tmp_path: Path, writer: str) -> None:
    movie = np.stack([MOVIE, MOVIE[::-1]], axis=1)
    path = tmp_path / ("x.ome.tif" if writer == "ome" else "x.tif")
    if writer == "plain":
        tifffile.imwrite(path, movie[0], photometric="minisblack", planarconfig="separate")
        movie = movie[:1]
    else:
        tifffile.imwrite(path, movie, imagej=writer == "imagej", metadata={"axes": "TCYX"})
    for channel in (0, 1):
        with list_frames(path, channel=channel) as source:
            assert len(source) == len(movie)
            assert all(
                np.array_equal(source.read(i), movie[i, channel]) for i in range(len(source))
            )
    with pytest.raises(SettingsError, match="2 channels, counted from 0; no 2"):
        list_frames(path, channel=2)


def test_a_challenge_sequence(data: Path) -> None:
    with rig(data / "ecoli" / "01", interval_ms=10) as opened:
        count = opened.info.frame_count
        assert count is not None
        assert count >= 8
        frames = [opened.snap() for _ in range(count)]
        assert [frame.meta.seq for frame in frames] == list(range(count))
        assert frames[0].pixels.dtype == np.uint8
        assert frames[0].meta.bit_depth == 8


def test_nuclei_have_images_beside_labels(data: Path) -> None:
    with list_frames(data / "nuclei") as source:
        assert len(source) >= 2
        assert all(source.name(i).endswith("_img") for i in range(len(source)))


def test_a_folder_of_more_files_than_may_be_open(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    folder = write_folder(tmp_path / "many")
    for number in range(200):
        tifffile.imwrite(folder / f"more{number}.tif", MOVIE[:2], photometric="minisblack")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(150, hard), hard))
    try:
        with list_frames(folder) as source:
            assert sum(1 for i in range(len(source)) if source.read(i).any()) == 406
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _float(folder: Path) -> Path:
    tifffile.imwrite(folder / "a.tif", MOVIE[0].astype(np.float32))
    return folder / "a.tif"


def _mixed(folder: Path) -> Path:
    tifffile.imwrite(folder / "a.tif", MOVIE[0])
    tifffile.imwrite(folder / "b.tif", MOVIE[0, :10])
    return folder


def _depths(folder: Path) -> Path:
    tifffile.imwrite(folder / "a.tif", MOVIE[0])
    tifffile.imwrite(folder / "b.tif", MOVIE[0].astype(np.uint8))
    return folder


def _garbage(folder: Path) -> Path:
    (folder / "a.tif").write_bytes(b"II*\0 this is no TIFF")
    return folder / "a.tif"


def _png_garbage(folder: Path) -> Path:
    (folder / "a.png").write_bytes(b"\x89PNG\r\n this is no PNG")
    return folder


def _text(folder: Path) -> Path:
    (folder / "a.txt").write_text("hello")
    return folder / "a.txt"


def _outer(folder: Path) -> Path:
    write_folder(folder / "01")
    return folder


def _old_zarr(folder: Path) -> Path:
    (folder / ".zattrs").write_text("{}")
    return folder


def _no_zarr(folder: Path) -> Path:
    (folder / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    return folder


def _colour(folder: Path) -> Path:
    Image.fromarray(MOVIE[:3].astype(np.uint8).transpose(1, 2, 0).copy()).save(folder / "a.png")
    return folder


def _cut_short(folder: Path) -> Path:
    path = write_stack(folder / "a.tif")
    path.write_bytes(path.read_bytes()[: MOVIE.nbytes // 2])
    return path


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (lambda folder: folder / "nowhere", "nowhere does not exist"),
        (lambda folder: folder, "has no TIFF, PNG or OME-Zarr"),
        (_outer, "did you mean one of its folders 01"),
        (_float, r"a\.tif is float32, need uint8 or uint16; scale it .*tifffile\.imwrite"),
        (_mixed, r"b\.tif is 30 x 10 uint16, but a\.tif is 30 x 20 uint16"),
        (_depths, r"b\.tif is 30 x 20 uint8"),
        (_garbage, r"a\.tif is not a readable TIFF"),
        (_png_garbage, r"a\.png is not a readable PNG"),
        (_text, r"a\.txt is no TIFF or PNG"),
        (_old_zarr, "zarr version 2, need OME-Zarr 0.5"),
        (_no_zarr, "no OME-Zarr 0.5 image"),
        (_colour, r"a\.png is a colour picture"),
        (_cut_short, r"a\.tif"),
    ],
)
def test_what_cannot_be_replayed_is_one_sentence(
    tmp_path: Path, prepare: Any, sentence: str
) -> None:
    def play() -> None:
        with rig(prepare(tmp_path)) as opened:
            for _ in range(6):
                opened.snap()

    with pytest.raises(SettingsError, match=sentence) as caught:
        play()
    assert "\n" not in str(caught.value)


def test_label_images_only_where_they_are_wanted(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "mask.tif", MOVIE[0].astype(np.int32))
    with pytest.raises(SettingsError, match="int32"):
        list_frames(tmp_path)
    with list_frames(tmp_path, dtypes=("uint16", "int32")) as source:
        assert np.array_equal(source.read(0), MOVIE[0])


def test_images_of_different_sizes_are_fine_for_a_list(tmp_path: Path) -> None:
    with list_frames(_mixed(tmp_path)) as source:
        assert [source.read(i).shape for i in range(2)] == [(20, 30), (10, 30)]


def test_the_end_is_said(tmp_path: Path) -> None:
    with rig(write_stack(tmp_path / "a.tif")) as opened:
        assert opened.info.frame_count == 6
        opened.start_sequence(None)
        seqs = []
        with pytest.raises(EndOfData, match="all 6 frames"):
            seqs.extend(opened.read(1).meta.seq for _ in range(100))
        opened.stop()
        assert seqs == list(range(6))
        with pytest.raises(EndOfData):
            opened.snap()
        opened.start_live()
        with pytest.raises(EndOfData):
            opened.latest(1)


def test_a_loop_has_no_end(tmp_path: Path) -> None:
    with rig(write_stack(tmp_path / "a.tif"), loop=True) as opened:
        assert opened.info.frame_count is None
        frames = [opened.snap() for _ in range(13)]
        assert [frame.meta.seq for frame in frames] == list(range(13))
        assert np.array_equal(frames[12].pixels, MOVIE[0])


def test_original_timing_keeps_the_interval(tmp_path: Path) -> None:
    with rig(write_stack(tmp_path / "a.tif"), timing="original", interval_ms=30) as opened:
        before = time.monotonic()
        opened.start_sequence(None)
        captured = [opened.read(1).meta.captured_ns for _ in range(6)]
        assert time.monotonic() - before == pytest.approx(0.15, abs=0.05)
        assert np.diff(captured) == pytest.approx(np.full(5, 30e6), abs=1)


def test_a_sequence_may_have_an_interval_of_its_own(tmp_path: Path) -> None:
    with rig(write_stack(tmp_path / "a.tif"), timing="original", interval_ms=500) as opened:
        opened.start_sequence(4, interval_ms=10)
        captured = [opened.read(1).meta.captured_ns for _ in range(4)]
        assert np.diff(captured) == pytest.approx(np.full(3, 10e6), abs=1)


def test_original_timing_needs_an_interval(tmp_path: Path) -> None:
    path = write_stack(tmp_path / "a.tif")
    with pytest.raises(SettingsError, match="give interval_ms, or timing: fast"):
        rig(path, timing="original").__enter__()
    with rig(write_imagej(tmp_path / "b.tif"), timing="original") as opened:
        assert opened.image_format().pixel_size_um == pytest.approx(0.25)


def test_the_folder_of_a_run_may_change_format(tmp_path: Path) -> None:
    write_zarr(tmp_path / "raw-000.ome.zarr")
    write_zarr(tmp_path / "raw-001.ome.zarr", MOVIE[:, :10].astype(np.uint8))
    with rig(tmp_path, pixel_size_um=0.1) as opened:
        frames = [opened.snap() for _ in range(12)]
        assert [f.meta.epoch for f in frames] == [0] * 6 + [1] * 6
        assert frames[6].pixels.shape == (10, 30)
        assert (frames[6].meta.bit_depth, frames[6].meta.pixel_size_um) == (8, 0.1)


def test_moves_are_noted_and_change_nothing(tmp_path: Path) -> None:
    with rig(write_stack(tmp_path / "a.tif")) as opened:
        opened.apply(useq.MDAEvent(x_pos=5, y_pos=6, channel="DAPI", exposure=3))
        opened.apply(useq.MDAEvent(z_pos=2))
        opened.apply(useq.MDAEvent())
        meta = opened.snap().meta
        assert (meta.x_um, meta.y_um, meta.z_um) == (0, 0, 0)
        assert (meta.channel, meta.exposure_ms) == ("DAPI", 3)
        assert list(opened.moves) == [(5, 6, None), (None, None, 2)]


def test_an_roi_is_cut_out_and_bounded(tmp_path: Path) -> None:
    with rig(write_stack(tmp_path / "a.tif")) as opened:
        opened.apply(useq.MDAEvent(roi=(3, 2, 10, 5)))
        assert np.array_equal(opened.snap().pixels, MOVIE[0, 2:7, 3:13])
        with pytest.raises(RigError, match="does not lie inside"):
            opened.apply(useq.MDAEvent(roi=(25, 0, 10, 5)))


def test_names_sort_as_people_count() -> None:
    assert sorted(["t10", "t9", "T1", "a"], key=natural) == ["a", "T1", "t9", "t10"]
