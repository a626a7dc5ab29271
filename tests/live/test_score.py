"""Scores against values that other programs give for the same files."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import tifffile
from PIL import Image
from rich.console import Console

from drivers import SettingsError
from live.cli import main
from live.errors import UsageError
from live.scoring.files import stem_of
from live.scoring.picture import COLOURS, Kind, draw
from live.scoring.score import score
from live.scoring.sheet import check_target, write_pictures
from live.tracks.ctc import TABLE
from models.errors import ModelError
from models.scoring import agreement, segmentation_accuracy

DATA = Path(__file__).parents[1] / "data"
TRUTH = DATA / "ecoli" / "01_GT"
SHARED = Path(__file__).parents[3] / "shared" / "data" / "track" / "ecoli_early"


def squares(*places: tuple[int, int, int]) -> np.ndarray:
    """Label image of 10 x 10 squares at (label, y, x)."""
    image = np.zeros((60, 60), dtype=np.uint16)
    for label, y, x in places:
        image[y : y + 10, x : x + 10] = label
    return image


def test_counts_are_pooled_over_images(tmp_path: Path) -> None:
    for name in ("pred", "true"):
        (tmp_path / name).mkdir()
    truth = squares((1, 0, 0), (2, 20, 20), (3, 40, 40))
    found = squares((7, 0, 2), (9, 20, 20), (4, 40, 0))  # IoU 80/120, 1 and none
    tifffile.imwrite(tmp_path / "pred" / "a_img_labels.tif", found)
    tifffile.imwrite(tmp_path / "true" / "a_lab.tif", truth)
    tifffile.imwrite(tmp_path / "true" / "a_img.tif", truth)
    tifffile.imwrite(tmp_path / "pred" / "b_img_labels.tif", truth)
    tifffile.imwrite(tmp_path / "true" / "b_lab.tif", truth)
    report = score(tmp_path / "pred", tmp_path / "true").to_json()
    assert report["images"] == 2
    assert report["ap"]["0.5"] == pytest.approx(5 / 7, abs=1e-6)
    assert report["ap"]["0.7"] == pytest.approx(4 / 8, abs=1e-6)
    assert report["counts"]["0.5"] == {"tp": 5, "fp": 1, "fn": 1}
    assert report["f1"]["0.5"] == pytest.approx(10 / 12, abs=1e-6)
    assert "TP / (TP + FP + FN)" in report["formula"]


def test_two_files_and_the_table_on_screen(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", squares((1, 0, 0)))
    tifffile.imwrite(tmp_path / "b.tif", squares((5, 0, 0)))
    report = score(tmp_path / "a.tif", tmp_path / "b.tif")
    assert report.to_json()["ap"]["0.9"] == 1.0
    assert report.worst_table() is None
    console = Console(width=120, record=True, file=(tmp_path / "screen").open("w"))
    console.print(report.table())
    console.file.close()
    assert "1.0000" in console.export_text()


def test_agrees_with_a_plain_count() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, (40, 40)).repeat(4, 0).repeat(4, 1)
    pred = np.roll(truth, 1, axis=0)
    found = agreement([(pred, truth)], (0.5,))[0]
    hits = 0
    for label in range(1, 4):
        a, b = pred == label, truth == label
        hits += (a & b).sum() / (a | b).sum() >= 0.5
    assert (found.true, found.false, found.missed) == (hits, 3 - hits, 3 - hits)


def test_empty_images_agree_and_shapes_must_be_the_same() -> None:
    empty = np.zeros((5, 5), dtype=int)
    assert agreement([(empty, empty)])[0].ap == 1.0
    with pytest.raises(ValueError, match="shape"):
        agreement([(empty, empty[1:])])
    with pytest.raises(ValueError, match=r"0\.5"):
        agreement([(empty, empty)], (0.4,))


def test_seg_counts_only_objects_that_are_mostly_covered() -> None:
    truth = squares((1, 0, 0), (2, 20, 20))
    found = squares((1, 0, 4), (2, 20, 26))  # 60 % and 40 % of the true ones
    assert segmentation_accuracy([(found, truth)]) == pytest.approx((60 / 140) / 2)
    assert np.isnan(segmentation_accuracy([(found, truth * 0)]))


def test_seg_takes_what_covers_most_of_an_object_and_not_what_overlaps_best() -> None:
    truth, found = np.zeros((2, 40, 40), np.int32)
    truth[10:20, 10:20] = 1
    found[:16, :34] = 1  # covers 60 of its 100 px and much else
    found[16:20, 10:20] = 2  # is the other 40
    covers = 60 / (100 + 16 * 34 - 60)
    assert segmentation_accuracy([(found, truth)]) == pytest.approx(covers)


def perfect(folder: Path) -> Path:
    """The truth in the form of a result."""
    folder.mkdir()
    for file in sorted((TRUTH / "TRA").glob("*.tif")):
        shutil.copyfile(file, folder / file.name.replace("man_track", "mask"))
    shutil.copyfile(TRUTH / "TRA" / "man_track.txt", folder / TABLE)
    return folder


def test_a_perfect_result_scores_one(tmp_path: Path) -> None:
    pytest.importorskip("traccuracy", reason="needs the score extra")
    report = score(perfect(tmp_path / "res"), TRUTH).to_json()
    assert report["images"] == 12
    for name in ("TRA", "DET", "LNK", "division_f1", "division_f1_within_1"):
        assert report[name] == 1.0
    assert report["SEG"] is None
    assert report["divisions"] == {"tp": 19, "fp": 0, "fn": 0, "other_daughters": 0}
    json.dumps(report)


def test_a_lost_link_lowers_lnk_and_not_det(tmp_path: Path) -> None:
    pytest.importorskip("traccuracy", reason="needs the score extra")
    result = perfect(tmp_path / "res")
    lines = (result / TABLE).read_text().splitlines()
    cut = [line.rsplit(" ", 1)[0] + " 0" for line in lines]
    (result / TABLE).write_text("\n".join(cut) + "\n")
    report = score(result, TRUTH / "TRA").to_json()
    assert report["DET"] == 1.0
    assert report["LNK"] < 0.95
    assert report["division_f1"] in (0.0, None)


@pytest.mark.slow
def test_known_scores_of_a_plain_linker() -> None:
    pytest.importorskip("traccuracy", reason="needs the score extra")
    if not SHARED.is_dir():
        pytest.skip("needs ../shared/data/track/ecoli_early")
    known = json.loads((SHARED / "expected_scores_of_01_RES_simple_linker.json").read_text())
    report = score(SHARED / "01_RES_simple_linker", SHARED / "01_GT").to_json()
    for name in ("TRA", "DET", "LNK"):
        assert report[name] == pytest.approx(known[name], abs=1e-9)
    assert report["division_f1"] == pytest.approx(known["division_f1_frame_buffer_0"], abs=1e-9)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "traccuracy.loaders", None)
    with pytest.raises(ModelError, match=r"parfocal\[score\]"):
        score(perfect(tmp_path / "res"), TRUTH)


def test_what_cannot_be_compared_is_named(tmp_path: Path) -> None:
    result = perfect(tmp_path / "res")
    with pytest.raises(SettingsError, match="does not exist"):
        score(tmp_path / "nowhere", TRUTH)
    with pytest.raises(SettingsError, match=r"man_track\.txt"):
        score(result, DATA / "nuclei")
    with pytest.raises(SettingsError, match=r"res_track\.txt"):
        score(DATA / "nuclei", TRUTH)
    with pytest.raises(SettingsError, match="two files or two folders"):
        score(result / "mask000.tif", DATA / "nuclei")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match=r"no result for 000_lab\.png, 016_lab\.png"):
        score(tmp_path / "empty", DATA / "nuclei")


def test_real_results_are_scored_and_listed_each() -> None:
    report = score(DATA / "scores", DATA / "nuclei")
    data = report.to_json()
    known = json.loads((DATA / "scores" / "stardist.json").read_text())["pooled"]
    assert data["images"] == 4
    for limit, values in known.items():
        for key in ("ap", "precision", "recall", "f1", "mean_iou"):
            assert data[key][limit] == pytest.approx(values[key], abs=2e-6)
        assert data["pq_at"][limit] == pytest.approx(values["pq"], abs=2e-6)
    assert [one["image"] for one in data["per_image"]] == ["000", "016", "060", "216"]
    assert sum(one["counts"]["0.5"]["tp"] for one in data["per_image"]) == known["0.5"]["tp"]
    assert sum(one["merged"] for one in data["per_image"]) == data["merged"] > 0
    assert {"ap", "pq", "split", "merged"} <= set(data["definitions"])
    worst = report.worst(2)
    assert worst[0].scores.at[0].ap <= worst[1].scores.at[0].ap < report.instances[0].ap
    assert report.worst_table() is not None


def test_stacks_are_compared_frame_by_frame(tmp_path: Path) -> None:
    truth = np.stack([squares((1, 0, 0)), squares((1, 20, 20), (2, 40, 40))])
    tifffile.imwrite(tmp_path / "p.tif", truth[::-1], photometric="minisblack")
    tifffile.imwrite(tmp_path / "t.tif", truth, photometric="minisblack")
    data = score(tmp_path / "p.tif", tmp_path / "t.tif").to_json()
    assert [one["image"] for one in data["per_image"]] == ["t_0000", "t_0001"]
    assert data["counts"]["0.5"] == {"tp": 0, "fp": 3, "fn": 3}
    assert data["mean_iou"]["0.5"] is None
    tifffile.imwrite(tmp_path / "one.tif", truth[0])
    with pytest.raises(SettingsError, match=r"has 1 images, .* has 2"):
        score(tmp_path / "one.tif", tmp_path / "t.tif")


def zarr_of(folder: Path, labels: np.ndarray) -> Path:
    """OME-Zarr 0.5 of (t, y, x) labels."""
    store = {"driver": "file", "path": str(folder / "0")}
    array = {"shape": labels.shape, "data_type": labels.dtype.name}
    spec = {"driver": "zarr3", "kvstore": store, "metadata": array, "create": True}
    tensorstore.open(spec).result().write(labels).result()
    axes = [{"name": "t", "type": "time"}] + [{"name": n, "type": "space"} for n in "yx"]
    steps = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}]}
    ome = {"ome": {"version": "0.5", "multiscales": [image]}}
    group = {"zarr_format": 3, "node_type": "group", "attributes": ome}
    (folder / "zarr.json").write_text(json.dumps(group))
    return folder


def test_labels_of_a_zarr(tmp_path: Path) -> None:
    truth = np.stack([squares((1, 0, 0)), squares((1, 20, 20), (2, 40, 40))])
    pred = zarr_of(tmp_path / "p.ome.zarr", truth * 3)
    report = score(pred, zarr_of(tmp_path / "t.ome.zarr", truth))
    assert (report.images, report.instances[-1].ap) == (2, 1.0)
    assert [one.case.name for one in report.cases] == ["t_0000", "t_0001"]
    write_pictures(report, tmp_path / "p.png")


def test_results_without_truth_are_told_not_hidden(tmp_path: Path) -> None:
    for folder, names in (("p", ("a", "b", "c")), ("t", ("a",))):
        (tmp_path / folder).mkdir()
        for name in names:
            tifffile.imwrite(tmp_path / folder / f"{name}_labels.tif", squares((1, 0, 0)))
    report = score(tmp_path / "p", tmp_path / "t")
    assert report.images == 1
    assert report.notes == ["2 results have no truth and were left out: b_labels.tif, c_labels.tif"]
    assert report.to_json()["notes"] == report.notes


def test_a_mask_of_foreground_is_noticed(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "t.tif", squares((1, 0, 0), (2, 20, 20)))
    tifffile.imwrite(tmp_path / "p.tif", squares((255, 0, 0), (255, 20, 20)))
    (note,) = score(tmp_path / "p.tif", tmp_path / "t.tif").notes
    assert "1 image with one number for several separate objects" in note


@pytest.mark.parametrize(
    ("file", "stem"),
    [
        ("a_img_labels.tif", "a"), ("a_lab.png", "a"), ("a_cp_masks.png", "a"), ("a.ome.tif", "a"),
        ("a_labels.ome.tif", "a"), ("t0_gt.TIF", "t0"), ("labels.tif", "labels"),
    ],
)  # fmt: skip
def test_stems(file: str, stem: str) -> None:
    assert stem_of(Path(file)) == stem


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.full((60, 60), 0.25, np.float32), "float32 with values such as 0.25; need .* whole"),
        (np.full((60, 60), np.nan, np.float32), "float32 with values such as nan"),
        (np.full((60, 60), -1, np.int32), "negative numbers such as -1"),
        (np.random.default_rng(0).poisson(90, (60, 60)).astype("u2"), "does not look like a label"),
        (np.zeros((60, 50), np.uint16), r"is 50 x 60 and .* is 60 x 60; need one size"),
        (np.eye(60, dtype=np.uint8)[..., None] * np.uint8([9, 0, 5]), "colour picture; need a lab"),
    ],
    ids=["fractions", "nan", "negative", "camera image", "shape", "colour"],
)
def test_what_is_no_label_image_of_this_image(
    pixels: np.ndarray, message: str, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "t.tif", squares((1, 0, 0)))
    kind = "rgb" if pixels.ndim == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "p.tif", pixels, photometric=kind)
    with pytest.raises(SettingsError, match=message):
        score(tmp_path / "p.tif", tmp_path / "t.tif")
    if pixels.ndim == 3:
        Image.fromarray(pixels).save(tmp_path / "p.png")
        with pytest.raises(SettingsError, match=message):
            score(tmp_path / "p.png", tmp_path / "t.tif")


def test_whole_numbers_in_a_float_file_are_labels(tmp_path: Path) -> None:
    truth = squares((1, 0, 0), (2, 20, 20))
    tifffile.imwrite(tmp_path / "t.tif", truth)
    tifffile.imwrite(tmp_path / "p.tif", truth.astype(np.float32))
    assert score(tmp_path / "p.tif", tmp_path / "t.tif").instances[0].ap == 1.0


def test_every_fate_has_its_colour_in_the_picture() -> None:
    truth = squares((1, 0, 0), (2, 0, 30), (3, 20, 0), (4, 20, 10), (5, 45, 45))
    pred = squares((1, 0, 0), (3, 20, 0), (3, 20, 10), (6, 45, 0))
    pred[45:50, 45:55], pred[50:55, 45:55] = 7, 8

    def at(picture: np.ndarray, y: float, x: float) -> tuple[int, ...]:
        return tuple(picture[int(y * 15), int(x * 15)].tolist())

    picture = draw(pred, truth, np.zeros((60, 60), np.uint16))
    assert picture.shape == (900, 900, 3)
    assert at(picture, 0, 9.95) == COLOURS[Kind.RIGHT]
    assert at(picture, 20, 19.95) == COLOURS[Kind.MERGED]
    assert at(picture, 45, 9.95) == COLOURS[Kind.FALSE]
    assert at(picture, 45, 54.95) == COLOURS[Kind.SPLIT]
    missed = picture[: 10 * 15, 30 * 15 : 40 * 15].reshape(-1, 3)
    dashes = (missed == COLOURS[Kind.MISSED]).all(1).sum()
    assert 0.3 < dashes / (4 * 150 * 2) < 0.7
    inside = at(picture, 5, 35)
    ground = at(picture, 5, 25)
    assert len(set(ground)) == 1
    assert at(picture, 5, 5) == ground
    mixed = [0.65 * ground[0] + 0.35 * c for c in COLOURS[Kind.MISSED]]
    assert inside == pytest.approx(mixed, abs=1)


@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (3000, 10), (7, 2600)])
def test_pictures_of_any_size(shape: tuple[int, int]) -> None:
    labels = np.ones(shape, np.uint16)
    picture = draw(labels, labels, np.zeros(shape, np.float32))
    assert 900 <= max(picture.shape) <= 2400
    assert max(draw(labels, labels, side=420).shape) == 420


def test_one_picture_a_sheet_and_a_folder(tmp_path: Path) -> None:
    report = score(DATA / "scores", DATA / "nuclei")
    assert write_pictures(report, tmp_path / "all.png") == [f"picture in {tmp_path / 'all.png'}"]
    sheet = np.asarray(Image.open(tmp_path / "all.png"))
    notes = write_pictures(report, tmp_path / "each")
    assert notes == [f"4 pictures and worst.png in {tmp_path / 'each'}"]
    names = {"000.png", "016.png", "060.png", "216.png", "worst.png"}
    assert {file.name for file in (tmp_path / "each").iterdir()} == names
    single = score(DATA / "scores" / "016_labels.png", DATA / "nuclei" / "016_lab.png")
    write_pictures(single, tmp_path / "one.png")
    page = np.asarray(Image.open(tmp_path / "one.png"))
    for pixels in (sheet, page):
        for kind in (Kind.RIGHT, Kind.MISSED, Kind.MERGED):
            assert (pixels == COLOURS[kind]).all(-1).sum() > 100
    np.testing.assert_array_equal(page, np.asarray(Image.open(tmp_path / "each" / "016.png")))
    assert len(list(tmp_path.iterdir())) == 3


def test_images_are_drawn_on_where_they_are_given(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    for file in (DATA / "nuclei").glob("*_lab.png"):
        shutil.copyfile(file, tmp_path / "t" / file.name)
    report = score(DATA / "scores", tmp_path / "t")
    (_, note) = write_pictures(report, tmp_path / "without.png")
    assert note.startswith("drawn without an image: ")
    assert "--images" in note
    assert len(write_pictures(report, tmp_path / "with.png", DATA / "nuclei")) == 1
    with pytest.raises(SettingsError, match=r"--images .* has no image for 000, 016, 060, 216"):
        write_pictures(report, tmp_path / "no.png", DATA / "ecoli" / "01")
    with pytest.raises(SettingsError, match="one file for 4 label images"):
        write_pictures(report, tmp_path / "no.png", DATA / "nuclei" / "000_img.png")
    single = score(DATA / "scores" / "216_labels.png", DATA / "nuclei" / "216_lab.png")
    with pytest.raises(SettingsError, match="is 256 x 256, its label image is 360 x 360"):
        write_pictures(single, tmp_path / "no.png", DATA / "nuclei" / "000_img.png")
    assert not list(tmp_path.glob("*no*"))


def test_places_where_no_picture_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "folder.png").mkdir()
    for target, message in (
        ("a.jpg", "pictures are PNG"), ("no/a.png", "there is no folder"),
        ("full", "not empty"), ("folder.png", "need a file name"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            check_target(tmp_path / target)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ((), 0, "AP = TP / (TP + FP + FN)"),
        (("--images", "X"), 2, "--images is for pictures"),
        (("--picture", "a.jpg"), 2, "pictures are PNG"),
    ],
)
def test_the_command(
    options: tuple[str, ...], code: int, words: str, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    files = (str(DATA / "scores"), str(DATA / "nuclei"))
    extra = ("--json", str(tmp_path / "r.json"), "--picture", str(tmp_path / "p.png"))
    with pytest.raises(SystemExit) as ended:
        main(("score", *files, *(options or extra)))
    out, err = capsys.readouterr()
    assert ended.value.code == code
    assert words in (err if code else out)
    if code == 0:
        assert "the 4 worst of 4 images" in out
        assert json.loads((tmp_path / "r.json").read_text())["images"] == 4
        assert (tmp_path / "p.png").is_file()
