"""The analysis over files: what it writes, and what it refuses."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from drivers import SettingsError
from live.errors import UsageError
from live.experiment.loading import load_pipeline_settings
from live.infer import infer
from live.tracks.ctc import CtcTrack, CtcWriter, check, read_table
from models import OBJECT_DTYPE, PipelineSettings

DATA = Path(__file__).parents[1] / "data"
THRESHOLD = PipelineSettings.model_validate(
    {"name": "threshold", "segment": {"kind": "threshold"}, "track": {}}
)
DENOISE = PipelineSettings.model_validate({"name": "denoise", "denoise": {}})


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def masks_of(folder: Path) -> list[np.ndarray]:
    return [tifffile.imread(file) for file in sorted(folder.glob("mask*.tif"))]


def test_images_of_a_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = infer([DATA / "nuclei"], THRESHOLD, out)
    stems = [file.stem for file in sorted((DATA / "nuclei").glob("*_img.png"))]
    assert sorted(file.name for file in out.iterdir()) == sorted(
        [f"{stem}_labels.tif" for stem in stems] + ["objects.csv"]
    )
    table = rows(out / "objects.csv")
    assert list(table[0]) == ["image", *OBJECT_DTYPE.names]
    for stem in stems:
        labels = tifffile.imread(out / f"{stem}_labels.tif")
        with Image.open(DATA / "nuclei" / f"{stem}.png") as image:
            assert labels.shape == (image.height, image.width)
        assert labels.dtype == np.uint16
        found = [int(row["label"]) for row in table if row["image"] == stem]
        assert found == list(range(1, int(labels.max()) + 1))
    assert (report.frames, report.objects) == (len(stems), len(table))
    assert report.tracks == 0
    json.dumps(report.to_json())
    assert any(str(out) in line for line in report.lines())


def test_a_movie_in_the_challenge_format(tmp_path: Path) -> None:
    out = tmp_path / "out"
    truth = DATA / "ecoli" / "01_GT" / "TRA"
    report = infer([DATA / "ecoli" / "01"], THRESHOLD, out, movie=True, masks=truth)
    masks = masks_of(out)
    assert len(masks) == 12
    tracks = read_table(out / "res_track.txt")
    assert check(tracks, masks) == []
    for found, file in zip(masks, sorted(truth.glob("*.tif")), strict=True):
        assert ((found > 0) == (tifffile.imread(file) > 0)).all()
    assert report.divisions == 19
    assert report.tracks == len(tracks)
    table = rows(out / "objects.csv")
    assert {row["frame"] for row in table} == {str(k) for k in range(12)}
    assert sum(int(row["divided"]) for row in table) == 2 * report.divisions


def test_given_outlines_need_no_network_of_the_pipeline(tmp_path: Path) -> None:
    truth = DATA / "ecoli" / "01_GT" / "TRA"
    found = []
    for name in ("threshold", "bacteria"):
        out = tmp_path / name
        infer([DATA / "ecoli" / "01"], load_pipeline_settings(name), out, movie=True, masks=truth)
        found.append(rows(out / "objects.csv"))
    assert found[0] == found[1]


def test_a_movie_segmented_here(tmp_path: Path) -> None:
    out = tmp_path / "out"
    infer([DATA / "ecoli" / "01"], THRESHOLD, out, movie=True)
    masks = masks_of(out)
    assert check(read_table(out / "res_track.txt"), masks) == []
    assert all(mask.max() > 0 for mask in masks)


def test_the_same_twice(tmp_path: Path) -> None:
    for name in ("one", "two"):
        infer([DATA / "ecoli" / "01"], THRESHOLD, tmp_path / name, movie=True)
    for one, two in zip(*(masks_of(tmp_path / n) for n in ("one", "two")), strict=True):
        assert (one == two).all()
    text = [(tmp_path / name / "res_track.txt").read_text() for name in ("one", "two")]
    assert text[0] == text[1]


def test_denoised_images_and_movies(tmp_path: Path) -> None:
    source = DATA / "ecoli" / "01"
    infer([source], DENOISE, tmp_path / "images")
    infer([source], DENOISE, tmp_path / "movie", movie=True)
    assert sorted(file.name for file in (tmp_path / "movie").iterdir()) == [
        "denoised.tif",
        "objects.csv",
    ]
    stack = tifffile.imread(tmp_path / "movie" / "denoised.tif")
    first = tifffile.imread(tmp_path / "images" / "t000_denoised.tif")
    assert stack.shape == (12, *first.shape)
    assert (stack[0] == first).all()
    assert stack.dtype == np.uint8


def test_pixel_size_is_used_where_the_file_has_none(tmp_path: Path) -> None:
    infer([DATA / "nuclei" / "000_img.png"], THRESHOLD, tmp_path / "out", pixel_size_um=0.5)
    one = rows(tmp_path / "out" / "objects.csv")[0]
    assert one["x_um"] != "nan"
    infer([DATA / "nuclei" / "000_img.png"], THRESHOLD, tmp_path / "none")
    assert rows(tmp_path / "none" / "objects.csv")[0]["x_um"] == "nan"


def refused(tmp_path: Path, *args: object, **options: object) -> str:
    out = tmp_path / "out"
    with pytest.raises((SettingsError, UsageError)) as caught:
        infer(*args, out, **options)  # type: ignore[arg-type]
    assert [entry.name for entry in tmp_path.iterdir() if "out" in entry.name] == []
    return str(caught.value)


def test_an_output_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        infer([DATA / "nuclei"], THRESHOLD, out)
    assert [file.name for file in out.iterdir()] == ["precious.txt"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_an_empty_output_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    infer([DATA / "nuclei" / "000_img.png"], THRESHOLD, tmp_path / "out")
    assert (tmp_path / "out" / "objects.csv").is_file()


def test_a_broken_file_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for k in range(3):
        tifffile.imwrite(folder / f"t{k}.tif", np.zeros((20, 20), np.uint16))
    whole = (folder / "t1.tif").read_bytes()
    (folder / "t1.tif").write_bytes(whole[:-300])
    assert "t1.tif" in refused(tmp_path, [folder], THRESHOLD)


def test_sizes_may_differ_between_images_and_not_in_a_movie(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for k in range(2):
        tifffile.imwrite(folder / f"t{k}.tif", np.zeros((20 + k, 20), np.uint16))
    assert "t1.tif" in refused(tmp_path, [folder], THRESHOLD, movie=True)
    assert infer([folder], THRESHOLD, tmp_path / "out").frames == 2


def test_as_many_masks_as_frames(tmp_path: Path) -> None:
    message = refused(
        tmp_path, [DATA / "ecoli" / "01"], THRESHOLD, movie=True, masks=DATA / "nuclei"
    )
    assert "12 frames" in message


def test_names_that_come_twice(tmp_path: Path) -> None:
    one = DATA / "nuclei" / "000_img.png"
    assert "000_img" in refused(tmp_path, [one, one], THRESHOLD)


def test_float_images_and_empty_folders(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty" in refused(tmp_path, [tmp_path / "empty"], THRESHOLD)
    tifffile.imwrite(tmp_path / "float.tif", np.zeros((9, 9), np.float32))
    assert "float" in refused(tmp_path, [tmp_path / "float.tif"], THRESHOLD)


def table_of(*tracks: tuple[int, int, int, bool]) -> np.ndarray:
    objects = np.zeros(len(tracks), dtype=OBJECT_DTYPE)
    for row, (label, track, parent, divided) in zip(objects, tracks, strict=True):
        row["label"], row["track_id"], row["parent_id"], row["divided"] = (
            label, track, parent, divided,
        )  # fmt: skip
    return objects


def test_a_gap_splits_a_track_and_the_daughter_follows_the_last_part(tmp_path: Path) -> None:
    writer = CtcWriter(tmp_path)
    one = np.array([[0, 1]], dtype=np.int32)
    two = np.array([[1, 2]], dtype=np.int32)
    frames = [
        (one, table_of((1, 70_000, 0, False))),
        (np.zeros_like(one), table_of()),
        (one, table_of((1, 70_000, 0, False))),
        (two, table_of((1, 70_001, 70_000, True), (2, 70_002, 70_000, True))),
        (two, table_of((1, 70_001, 70_000, False), (2, 70_002, 70_000, False))),
    ]
    for labels, objects in frames:
        writer.add(labels, objects)
    writer.close()
    assert read_table(tmp_path / "res_track.txt") == [
        CtcTrack(1, 0, 0, 0),
        CtcTrack(2, 2, 2, 1),
        CtcTrack(3, 3, 4, 2),
        CtcTrack(4, 3, 4, 2),
    ]
    assert check(read_table(tmp_path / "res_track.txt"), masks_of(tmp_path)) == []


def test_the_checker_finds_broken_results() -> None:
    mask = np.array([[0, 1]])
    assert check([CtcTrack(1, 0, 1, 0)], [mask, mask]) == []
    assert check([CtcTrack(1, 0, 1, 0)], [mask, mask * 0])
    assert check([], [mask])
    assert check([CtcTrack(1, 0, 0, 5)], [mask])


def test_a_damaged_table_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "res_track.txt").write_text("1 0 0 0\n2 x 0 0\n")
    with pytest.raises(SettingsError, match="line 2"):
        read_table(tmp_path / "res_track.txt")
