"""Scores against values that other programs give for the same files."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from rich.console import Console

from drivers import SettingsError
from live.ctc import TABLE
from live.score import score
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
    for name in ("TRA", "DET", "LNK", "division_f1"):
        assert report[name] == 1.0
    assert report["SEG"] is None
    assert report["divisions"] == {"tp": 19, "fp": 0, "fn": 0}
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
    with pytest.raises(SettingsError, match="no result for"):
        score(tmp_path / "empty", DATA / "nuclei")
