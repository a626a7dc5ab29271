"""The second look: uncertainty of objects, the flag for unlike images, calibrated confidence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from models import ImageContext, load_pipeline
from models.pipeline import Pipeline
from models.result import OBJECT_DTYPE
from models.scoring.instances import matches
from models.tasks.calibration import calibrated, likely
from models.tasks.filters import smooth
from models.tasks.network import NetworkSegmenter
from models.tasks.second_look import accord, look_again
from models.tasks.strangeness import WORDS, judge
from models.tasks.trust import MAX_PIXELS, part_of
from models.training.cardfile import with_front, with_section
from models.training.reliability import auroc, reliability, save_reliability

DATA = Path(__file__).parents[1] / "data"
NUCLEI = ("000", "016", "060", "216")
SETTINGS = {
    "name": "trusted",
    "segment": {"kind": "network", "model": "nuclei"},
    "trust": {"every_frames": 3},
}


def real(name: str) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    image = np.asarray(Image.open(DATA / "nuclei" / f"{name}_img.png"))
    return image, np.asarray(Image.open(DATA / "nuclei" / f"{name}_lab.png")).astype(np.int32)


@pytest.fixture(scope="module")
def opened() -> Iterator[Pipeline]:
    with load_pipeline(SETTINGS) as pipeline:
        yield pipeline


@pytest.fixture
def pipeline(opened: Pipeline) -> Pipeline:
    opened.reset()
    return opened


def at(seq: int) -> ImageContext:
    return ImageContext(seq=seq, time_s=float(seq))


def test_one_frame_in_three_is_checked_and_the_verdict_stays(pipeline: Pipeline) -> None:
    image, _ = real("060")
    checked = []
    for seq in range(7):
        result = pipeline.run(image, at(seq))
        known = result.objects["uncertainty"] >= 0
        assert known.all() or not known.any()
        assert ("trust" in result.stage_ms) is True
        checked.append(bool(known.all()))
        assert result.verdict is not None
        assert result.verdict.seq == seq - seq % 3
    assert checked == [True, False, False] * 2 + [True]
    pipeline.reset()
    assert (pipeline.run(image, at(1)).objects["uncertainty"] >= 0).all()


def test_frames_that_are_passed_over_do_not_put_off_a_check(pipeline: Pipeline) -> None:
    image, _ = real("216")
    checked = [
        seq
        for seq in (5, 7, 11, 12, 17)
        if (pipeline.run(image, at(seq)).objects["uncertainty"] >= 0).all()
    ]
    assert checked == [5, 11, 17]


def test_the_same_images_give_the_same_doubts(pipeline: Pipeline) -> None:
    image, _ = real("060")
    first = pipeline.run(image, at(0))
    pipeline.reset()
    second = pipeline.run(image, at(0))
    assert first.objects.tobytes() == second.objects.tobytes()
    assert first.verdict == second.verdict


def test_uncertain_objects_are_more_often_wrong(pipeline: Pipeline) -> None:
    doubt, wrong = [], []
    for name in NUCLEI:
        image, truth = real(name)
        pipeline.reset()
        result = pipeline.run(image, at(0))
        assert ((result.objects["uncertainty"] >= 0) & (result.objects["uncertainty"] <= 1)).all()
        doubt.append(result.objects["uncertainty"])
        wrong.append(~matches(result.labels, truth, 0.75))
    # a coin gives 0.5
    assert auroc(np.concatenate(doubt), np.concatenate(wrong)) > 0.65


@pytest.mark.parametrize("name", NUCLEI)
def test_nuclei_are_of_a_known_kind(pipeline: Pipeline, name: str) -> None:
    verdict = pipeline.run(real(name)[0], at(0)).verdict
    assert verdict is not None
    assert not verdict.unlike, verdict.reason
    assert verdict.reason == ""


def spoilt(kind: str) -> NDArray[np.uint16]:
    image, truth = real("060")
    rng = np.random.default_rng(4)
    wide = image.astype(np.float32) * 40
    if kind == "inverted":
        return (wide.max() - wide).astype(np.uint16)
    if kind == "saturated":
        top = 0.3 * np.median(wide[truth > 0])
        return (np.minimum(wide, top) * 65_535 / top).clip(0, 65_535).astype(np.uint16)
    if kind == "defocused":
        blurred = smooth(wide, 9.0)
        return (blurred + 500 + rng.normal(0, 0.01 * np.ptp(blurred), wide.shape)).astype(np.uint16)
    if kind == "noise":
        return rng.poisson(200, (256, 256)).astype(np.uint16)
    if kind == "checkerboard":
        y, x = np.indices((256, 256))
        return np.asarray(((y // 12 + x // 12) % 2) * 1000 + 100, np.uint16)
    assert kind == "empty"
    return np.full((128, 128), 300, np.uint16)


@pytest.mark.parametrize(
    "kind", ["inverted", "saturated", "defocused", "noise", "checkerboard", "empty"]
)
def test_foreign_images_are_flagged_with_a_reason(pipeline: Pipeline, kind: str) -> None:
    verdict = pipeline.run(spoilt(kind), at(0)).verdict
    assert verdict is not None
    assert verdict.unlike
    assert verdict.reason


def test_bacteria_are_not_what_the_nuclei_network_knows(pipeline: Pipeline) -> None:
    frame = tifffile.imread(DATA / "ecoli" / "01" / "t005.tif")[150:300, 200:400]
    verdict = pipeline.run(np.ascontiguousarray(frame), at(0)).verdict
    assert verdict is not None
    assert verdict.unlike, verdict


@given(st.integers(1, 20_000), st.integers(1, 20_000), st.floats(0.2, 4.0), st.integers(0, 10_000))
def test_parts_are_bounded_and_inside(height: int, width: int, scale: float, turn: int) -> None:
    rows, columns = part_of((height, width), scale, turn)
    assert 0 <= rows.start < rows.stop <= height
    assert 0 <= columns.start < columns.stop <= width
    area = (rows.stop - rows.start) * (columns.stop - columns.start) * scale**2
    slack = (height + width + 1) * scale**2  # whole pixels
    assert area <= MAX_PIXELS + slack


def test_the_parts_of_a_large_image_cover_it_in_turn() -> None:
    seen = np.zeros((3000, 5000), np.int32)
    for turn in range(6):
        seen[part_of(seen.shape, 1.0, turn)] += 1
    assert (seen == 1).all()


def test_a_flip_and_back_is_in_place() -> None:
    image, _ = real("216")
    with NetworkSegmenter("nuclei") as segmenter:
        labels, _ = segmenter.segment(image)
        overlap = {
            flip: accord(labels, look_again(segmenter, image, segmenter.scale, flip)).first.mean()
            for flip in ("none", "left-right", "up-down")
        }
    assert overlap["none"] > 0.95
    assert min(overlap.values()) > 0.8


LIMITS = dict.fromkeys(WORDS, (-1.0, 0.0, 2.0))


@given(st.lists(st.floats(-0.99, 1.99), min_size=len(WORDS), max_size=len(WORDS)))
def test_inside_all_limits_nothing_is_strange(values: list[float]) -> None:
    found = judge(dict(zip(WORDS, values, strict=True)), LIMITS)
    assert found.value <= 1
    assert found.reason == ""


def test_the_strangest_measure_gives_the_reason() -> None:
    found = judge({"size": 3.0, "elongation": -4.0, "doubt": -9.0}, LIMITS)
    assert (found.value, found.measure) == (4.0, "elongation")
    assert found.reason.startswith("objects are too round")
    # to be surer than usual is no fault
    assert judge({"doubt": -9.0}, LIMITS).value == 0
    assert judge({}, LIMITS).value > 1


@given(
    st.lists(st.floats(0, 1, width=32), min_size=2, max_size=20),
    st.floats(-3, 3),
    st.floats(0, 5),
    st.floats(-5, 0),
)
def test_calibration_keeps_the_order_of_objects_of_one_size(
    mean: list[float], bias: float, slope: float, odd: float
) -> None:
    ordered = np.sort(np.array(mean, np.float32))
    out = calibrated(ordered, np.full(len(mean), 50.0), (bias, slope, odd))
    assert out.dtype == np.float32
    assert (np.diff(out) >= -1e-6).all()
    assert ((out >= 0) & (out <= 1)).all()


def test_calibration_without_numbers_or_objects() -> None:
    mean = np.array([0.2, 0.9], np.float32)
    np.testing.assert_array_equal(calibrated(mean, np.ones(2), ()), mean)
    assert calibrated(np.zeros(0, np.float32), np.zeros(0), (0.0, 1.0, -1.0)).shape == (0,)
    odd = calibrated(np.full(3, 0.9), np.array([100.0, 100.0, 5.0]), (0.0, 1.0, -1.0))
    assert odd[2] < odd[0]


def test_objects_that_are_likely_stay_and_are_numbered_anew() -> None:
    labels = np.array([[0, 1, 2], [3, 3, 2]], np.int32)
    confidence = np.array([0.4, 0.5, 0.9], np.float32)
    kept, sure = likely((labels, confidence), 0.5)
    np.testing.assert_array_equal(kept, [[0, 0, 1], [2, 2, 1]])
    assert kept.dtype == np.int32
    np.testing.assert_array_equal(sure, confidence[1:])
    assert likely((labels, confidence), 0.0)[0] is labels
    assert not likely((labels, confidence), 0.99)[0].any()


def test_area_under_the_curve_and_calibration_error(tmp_path: Path) -> None:
    wrong = np.array([False, False, True, True])
    assert auroc(np.array([0.1, 0.2, 0.3, 0.4]), wrong) == 1.0
    assert auroc(np.array([0.1, 0.1, 0.1, 0.1]), wrong) == 0.5
    assert auroc(np.array([0.1, 0.3, 0.2, 0.4]), wrong) == 0.75
    assert np.isnan(auroc(np.zeros(2), np.zeros(2, bool)))
    even = reliability(np.array([0.75, 0.75, 0.75, 0.75, 1.0]), np.array([1, 1, 1, 0, 1], bool))
    assert even.error == 0.0
    assert reliability(np.full(4, 0.9), np.zeros(4, bool)).error == pytest.approx(0.9)
    save_reliability({"one": even}, tmp_path / "r.png", "title")
    with Image.open(tmp_path / "r.png") as picture:
        assert picture.width > 300


def test_a_card_keeps_what_is_not_of_trust() -> None:
    card = "---\nname: x\nlimits:\n  size: [1, 2, 3]\ntask: segment\n---\n\nText.\n"
    card += "\n## Trust\n\nold\n\n## Figures\n\ntable\n"
    new = with_front(card, {"limits": {"size": (0.0, 1.0, 2.0)}, "calibration": (1.0, 2.0, 3.0)})
    new = with_section(new, "Trust", "new")
    assert new == (
        "---\nname: x\ntask: segment\nlimits:\n  size: [0.00000, 1.00000, 2.00000]\n"
        "calibration: [1.00000, 2.00000, 3.00000]\n---\n\nText.\n\n## Figures\n\ntable\n"
        "\n## Trust\n\nnew\n"
    )
    assert with_section(new, "Trust", "new") == new
    assert "limits" not in with_front(new, {"limits": None})


def test_an_empty_table_of_objects_is_checked_too(pipeline: Pipeline) -> None:
    result = pipeline.run(np.zeros((64, 64), np.uint8), at(0))
    assert result.objects.dtype == OBJECT_DTYPE
    assert len(result.objects) == 0
    assert result.verdict is not None
    assert result.verdict.reason == "no object was found"
