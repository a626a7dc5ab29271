"""Teaching by clicks: the crop, the folder, and which picture a click means."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from display_feeds import Cells
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from live.display.errors import TeachError
from live.display.recent import NEAR_NS, RecentFrames
from live.display.scene import Scene
from live.display.taught import TaughtFolder
from live.display.teach import TaughtCrop, class_name, crop_of
from live.display.teacher import Teacher
from live.display.view_model import ShownFrame, ShownResult
from models.result import OBJECT_DTYPE

AREA = 49.0


def one_object(
    y: int, x: int, shape: tuple[int, int] = (60, 70), dtype: str = "uint16"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A square of 7 x 7 with its middle at (y, x), and another in the opposite corner."""
    pixels = np.arange(shape[0] * shape[1]).reshape(shape).astype(dtype)
    labels = np.zeros(shape, np.int32)
    far = (shape[0] - 1 - y, shape[1] - 1 - x)
    objects = np.zeros(2, OBJECT_DTYPE)
    for label, (cy, cx) in ((2, far), (1, (y, x))):
        labels[max(cy - 3, 0) : cy + 4, max(cx - 3, 0) : cx + 4] = label
        row = objects[label - 1]
        row["label"], row["track_id"] = label, label + 10
        row["y_px"], row["x_px"] = cy, cx
        row["area_px"], row["mean_intensity"] = AREA * label, 100 * label
    return pixels, labels, objects


def crop(y: int = 30, x: int = 20, seq: int = 5, dtype: str = "uint16") -> TaughtCrop:
    pixels, labels, objects = one_object(y, x, dtype=dtype)
    return crop_of(pixels, labels, objects, 1, seq=seq, pixel_size_um=0.5)


@given(st.integers(0, 59), st.integers(0, 69), st.sampled_from(["uint8", "uint16"]))
@settings(deadline=None)
def test_a_crop_is_the_picture_round_the_object_and_its_edge_beyond(
    y: int, x: int, dtype: str
) -> None:
    pixels, labels, objects = one_object(y, x, dtype=dtype)
    found = crop_of(pixels, labels, objects, 1, seq=5, pixel_size_um=0.5)
    diameter = 2 * np.sqrt(AREA / np.pi)
    side = round(3 * diameter)
    assert found.pixels.shape == found.mask.shape == (side, side)
    assert found.pixels.dtype == dtype
    pad = 3 * side
    wide = np.pad(pixels, pad, mode="edge")
    holes = np.pad(labels == 1, pad)
    top, left = (round(at - (side - 1) / 2) + pad for at in (y, x))
    np.testing.assert_array_equal(found.pixels, wide[top : top + side, left : left + side])
    np.testing.assert_array_equal(found.mask, holes[top : top + side, left : left + side])
    assert found.mask.sum() == (labels == 1).sum()
    assert found.facts.to_json() == {
        "diameter_px": pytest.approx(diameter),
        "median_diameter_px": pytest.approx(diameter * (1 + np.sqrt(2)) / 2),
        "mean_intensity": 100.0,
        "median_mean_intensity": 150.0,
        "pixel_size_um": 0.5,
        "seq": 5,
        "label": 1,
    }


def test_an_object_that_is_not_there_or_is_half_the_picture_is_refused() -> None:
    pixels, labels, objects = one_object(30, 20)
    with pytest.raises(TeachError, match="no object 9 in frame 5"):
        crop_of(pixels, labels, objects, 9, seq=5, pixel_size_um=0.0)
    objects["area_px"] = 1e6
    with pytest.raises(TeachError, match="at most 683 can be taught"):
        crop_of(pixels, labels, objects, 1, seq=5, pixel_size_um=0.0)


@pytest.mark.parametrize(
    ("typed", "becomes"),
    [("  mitotic ", "mitotic"), ("G2 -  M_1", "G2 - M_1"), ("DEAD", "dead")],
)
def test_names_become_folders(typed: str, becomes: str) -> None:
    assert class_name(typed, ["dead"]) == becomes


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("", "no name yet"),
        ("../etc", "because of '.'"),
        ("a/b", "because of '/'"),
        ("größe", "because of 'ö'"),
        ("x" * 61, "too long"),
        ("con", "Windows"),
        ("LPT1", "Windows"),
    ],
)
def test_names_that_are_no_folders_are_refused(typed: str, says: str) -> None:
    with pytest.raises(TeachError, match=says):
        class_name(typed)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_what_is_written_reads_back(tmp_path: Path, dtype: str) -> None:
    kept = crop(dtype=dtype)
    assert TaughtFolder(tmp_path).put(kept, "mitotic")
    assert files(tmp_path) == ["mitotic/5_1.json", "mitotic/5_1.tif", "mitotic/5_1_mask.png"]
    back = tifffile.imread(tmp_path / "mitotic" / "5_1.tif")
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, kept.pixels)
    mask = np.asarray(Image.open(tmp_path / "mitotic" / "5_1_mask.png"))
    np.testing.assert_array_equal(mask, kept.mask * 255)
    assert json.loads((tmp_path / "mitotic" / "5_1.json").read_text()) == kept.facts.to_json()


def test_another_class_moves_it_and_undo_goes_back_step_by_step(tmp_path: Path) -> None:
    folder = TaughtFolder(tmp_path / "taught")
    folder.put(crop(seq=1), "a")
    folder.put(crop(seq=2), "a")
    assert not folder.put(crop(seq=2), "a")
    folder.put(crop(seq=2), "b")
    assert folder.classes() == {"a": 1, "b": 1}
    assert len(files(folder.path)) == 6
    assert folder.undo() == "taken back: a again, not b"
    assert folder.classes() == {"a": 2}
    assert not (folder.path / "b").exists()
    folder.undo()
    folder.undo()
    assert folder.classes() == {}
    assert files(folder.path) == []
    with pytest.raises(TeachError, match="nothing to take back"):
        folder.undo()


def test_a_window_that_was_opened_again_counts_what_is_there(tmp_path: Path) -> None:
    TaughtFolder(tmp_path).put(crop(), "a")
    again = TaughtFolder(tmp_path)
    assert (again.classes(), again.class_of(5, 1)) == ({"a": 1}, "a")
    again.put(crop(), "b")
    assert [name.split("/")[0] for name in files(tmp_path)] == ["b"] * 3


def test_a_folder_that_cannot_be_written_is_told_and_nothing_is_counted(tmp_path: Path) -> None:
    (tmp_path / "taught").write_text("in the way")
    folder = TaughtFolder(tmp_path / "taught")
    with pytest.raises(TeachError, match="cannot be kept in"):
        folder.put(crop(), "a")
    assert folder.classes() == {}


# --- which picture a click means ----------------------------------------------------------------


def scene_at(cells: Cells, seqs: range) -> tuple[Scene, list[ShownFrame], list[ShownResult]]:
    scene = Scene()
    shown = [cells.picture(seq) for seq in seqs]
    for frame, _ in shown:
        scene.take_frame(frame, 0.0)
    return scene, [frame for frame, _ in shown], [result for _, result in shown]


def test_pixels_come_from_the_frame_of_the_outlines_not_from_the_one_on_screen(
    tmp_path: Path,
) -> None:
    scene, frames, results = scene_at(Cells(), range(10, 16))
    scene.take_result(results[2], 0.0)
    teacher = Teacher(tmp_path)
    row = results[2].objects[3]
    assert teacher.teach(scene, float(row["y_px"]), float(row["x_px"]), "mitotic") == "mitotic: 1"
    wanted = crop_of(
        frames[2].pixels, results[2].labels, results[2].objects, 4, seq=12, pixel_size_um=0.5
    )
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "mitotic" / "12_4.tif"), wanted.pixels)
    (mark,) = teacher.marks(scene)
    assert (mark.name, mark.y_px) == ("mitotic", pytest.approx(float(row["y_px"])))
    assert teacher.teach(scene, float(row["y_px"]), float(row["x_px"]), "dead") == (
        "mitotic → dead: 1"
    )
    assert teacher.counts() == {"dead": 1}
    scene.take_result(results[5], 0.0)  # the same track, later: its dot goes with it
    assert [mark.name for mark in teacher.marks(scene)] == ["dead"]
    teacher.undo()
    assert [mark.name for mark in teacher.marks(scene)] == ["mitotic"]
    teacher.undo()
    assert teacher.marks(scene) == ()


def test_a_click_after_a_stage_move_means_the_object_under_the_outline(tmp_path: Path) -> None:
    cells = Cells(count=1)
    scene, _, results = scene_at(cells, range(2))
    scene.take_result(results[1], 0.0)
    cells.x_um = 20.0  # 40 px
    scene.take_frame(cells.picture(2)[0], 0.0)
    row = results[1].objects[0]
    y, x = float(row["y_px"]), float(row["x_px"])
    teacher = Teacher(tmp_path)
    with pytest.raises(TeachError, match="no object here"):
        teacher.teach(scene, y, x, "a")
    assert teacher.teach(scene, y, x - 40, "a") == "a: 1"


def test_clicks_that_mean_nothing_say_why(tmp_path: Path) -> None:
    scene, _, results = scene_at(Cells(), range(3))
    with pytest.raises(TeachError, match="no folder"):
        Teacher(None).teach(scene, 5, 5, "a")
    with pytest.raises(TeachError, match="no outlines here"):
        Teacher(tmp_path).teach(scene, 5, 5, "a")
    scene.take_result(results[0], 0.0)
    with pytest.raises(TeachError, match="no object here"):
        Teacher(tmp_path).teach(scene, -100, 4000, "a")
    with pytest.raises(TeachError, match="because of"):
        Teacher(tmp_path).teach(scene, 5, 5, "a.b")
    late = replace(results[0], seq=-7, x_um=0.0, y_um=0.0)
    scene.take_result(late, 0.0)
    row = late.objects[0]
    with pytest.raises(TeachError, match=r"frame -7.*no longer here"):
        Teacher(tmp_path).teach(scene, float(row["y_px"]), float(row["x_px"]), "a")
    assert files(tmp_path) == []


def test_recent_frames_are_bounded_and_a_near_neighbour_serves() -> None:
    frame, result = Cells(64, count=1).picture(0)
    recent = RecentFrames(most_bytes=3 * frame.pixels.nbytes)
    for seq in range(10):
        recent.remember(replace(frame, seq=seq, captured_ns=seq * NEAR_NS))
    assert len(recent) == 3
    held = recent.of(replace(result, seq=8))
    assert held is not None
    assert held.seq == 8
    at = replace(result, seq=80, x_um=0.0, y_um=0.0, channel="DAPI")
    near = recent.of(replace(at, captured_ns=8 * NEAR_NS + 1000))
    assert near is not None
    assert near.seq == 8
    for other in (
        replace(at, captured_ns=11 * NEAR_NS),
        replace(at, captured_ns=8 * NEAR_NS, x_um=5.0),
        replace(at, captured_ns=8 * NEAR_NS, channel="FITC"),
        replace(at, captured_ns=8 * NEAR_NS, pixel_size_um=9.0),
        replace(at, captured_ns=8 * NEAR_NS, labels=np.zeros((3, 3), np.int32)),
    ):
        assert recent.of(other) is None
    big = RecentFrames(most_bytes=1)
    big.remember(frame)
    assert len(big) == 1


def test_what_is_taught_can_be_trained_on(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="training needs the extra `train`")
    from models.training.classify.examples import read_examples

    cells, teacher = Cells(), Teacher(tmp_path)
    for seq in range(5):
        scene, _, (result,) = scene_at(cells, range(seq, seq + 1))
        scene.take_result(result, 0.0)
        for number, row in enumerate(result.objects[:4]):
            name = "top row" if number < 2 else "below"
            teacher.teach(scene, float(row["y_px"]), float(row["x_px"]), name)
    examples = read_examples(tmp_path)
    assert examples.classes == ("below", "top row")
    assert [sum(counts) for _, *counts in examples.counts()] == [10, 10]
    assert (examples.masks == 1).any(axis=(1, 2)).all()
    assert np.isfinite(examples.context).all()
