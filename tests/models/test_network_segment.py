"""Segmentation by the shipped network: real nuclei, and the images that break such programs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from models.catalog import WEIGHTS, models_available, weights_path
from models.errors import EngineError, ImageError, PipelineError
from models.scoring.instances import agreement
from models.tasks.network import NetworkSegmenter
from models.tasks.resize import pad_to_multiple, resize_image, resize_labels

NUCLEI = Path(__file__).parents[1] / "data" / "nuclei"


@pytest.fixture(scope="module")
def opened() -> Iterator[NetworkSegmenter]:
    with NetworkSegmenter("nuclei") as segmenter:
        yield segmenter


@pytest.fixture
def segmenter(opened: NetworkSegmenter) -> NetworkSegmenter:
    opened.reset()
    return opened


def real(name: str) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    image = np.asarray(Image.open(NUCLEI / f"{name}_img.png"))
    return image, np.asarray(Image.open(NUCLEI / f"{name}_lab.png")).astype(np.int32)


def nuclei(
    shape: tuple[int, int], places: list[tuple[float, float]], radius: float = 12.0
) -> NDArray[np.uint16]:
    """Round soft-edged nuclei over a camera background with read noise."""
    y, x = np.indices(shape)
    counts = np.random.default_rng(3).normal(200.0, 4.0, shape)
    for cy, cx in places:
        counts += 1500.0 / (1.0 + np.exp(np.hypot(y - cy, x - cx) - radius))
    return counts.clip(0, 65535).astype(np.uint16)


@pytest.mark.parametrize(("least", "left"), [(0.0, 2), (0.9, 1)])
def test_what_the_card_calls_unlikely_is_left_out(tmp_path: Path, least: float, left: int) -> None:
    path = tmp_path / "nuclei.onnx"
    shutil.copy(weights_path("nuclei"), path)
    card = weights_path("nuclei").with_suffix(".md").read_text(encoding="utf-8")
    # where the areas differ, both are odd
    card = re.sub(r"calibration: .*", "calibration: [4.0, 0.1, -4.0]", card)
    card = card.replace("task: segment", f"task: segment\nleast_confidence: {least}", 1)
    path.with_suffix(".md").write_text(card, encoding="utf-8")
    image = nuclei((96, 160), [(48, 40), (48, 80), (48, 120)])
    image[:, 100:] = nuclei((96, 60), [(48, 30)], radius=7.0)
    with NetworkSegmenter(str(path)) as segmenter:
        labels, confidence = segmenter.segment(image)
    check_form(labels, confidence)
    assert (labels[48, 130] > 0) == (left == 2)
    assert labels[48, 40] > 0


def test_a_mean_probability_is_not_taken_for_what_is_likely(tmp_path: Path) -> None:
    path = tmp_path / "nuclei.onnx"
    shutil.copy(weights_path("nuclei"), path)
    card = weights_path("nuclei").with_suffix(".md").read_text(encoding="utf-8")
    card = re.sub(r"calibration: .*", "least_confidence: 0.999", card)
    path.with_suffix(".md").write_text(card, encoding="utf-8")
    with NetworkSegmenter(str(path)) as segmenter:
        assert len(segmenter.segment(nuclei((96, 96), [(48, 48)]))[1]) == 1


def check_form(labels: NDArray[np.int32], confidence: NDArray[np.float32]) -> None:
    assert labels.dtype == np.int32
    assert confidence.dtype == np.float32
    found = np.unique(labels)
    np.testing.assert_array_equal(found[found > 0], np.arange(1, len(confidence) + 1))
    assert np.isfinite(confidence).all()
    assert ((confidence >= 0) & (confidence <= 1)).all()


def test_real_nuclei_are_found(segmenter: NetworkSegmenter) -> None:
    pairs = []
    for path in sorted(NUCLEI.glob("*_img.png")):
        image, truth = real(path.name[:3])
        segmenter.reset()
        labels, confidence = segmenter.segment(image)
        check_form(labels, confidence)
        pairs.append((labels, truth))
    assert agreement(pairs, (0.5,))[0].ap >= 0.75


def test_same_image_same_labels(segmenter: NetworkSegmenter) -> None:
    image, _ = real("216")
    first = segmenter.segment(image)
    second = segmenter.segment(image)
    segmenter.reset()
    third = segmenter.segment(image)
    for other in (second, third):
        np.testing.assert_array_equal(first[0], other[0])
        np.testing.assert_array_equal(first[1], other[1])


@pytest.mark.parametrize(("gain", "offset"), [(1, 0), (50, 100), (200, 3000)])
def test_gain_and_offset_of_the_camera_do_not_matter(
    segmenter: NetworkSegmenter, gain: int, offset: int
) -> None:
    image, _ = real("016")
    wanted, _ = segmenter.segment(image)
    segmenter.reset()
    counts = image.astype(np.uint16) * gain + offset
    labels, _ = segmenter.segment(counts)
    assert agreement([(labels, wanted)], (0.9,))[0].ap >= 0.98


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_size_of_objects_is_fitted(segmenter: NetworkSegmenter, factor: float) -> None:
    image, truth = real("016")
    labels, _ = segmenter.segment(image)
    usual = agreement([(labels, truth)], (0.5,))[0].ap
    shape = (int(image.shape[0] * factor), int(image.shape[1] * factor))
    segmenter.reset()
    labels, _ = segmenter.segment(resize_image(image, shape).round().astype(np.uint8))
    scaled = agreement([(labels, resize_labels(truth, shape))], (0.5,))[0].ap
    assert scaled >= usual - 0.08


def test_size_is_remembered_and_forgotten(segmenter: NetworkSegmenter) -> None:
    image, _ = real("216")
    segmenter.segment(image)
    assert segmenter.scale < 0.75  # these nuclei are twice as wide as those trained on
    kept = segmenter.scale
    segmenter.segment(image)
    assert segmenter.scale == kept
    segmenter.warm_up((64, 64), "uint16")
    assert segmenter.scale == kept
    segmenter.reset()
    assert segmenter.scale == 1.0


def test_single_nucleus_where_it_is(segmenter: NetworkSegmenter) -> None:
    labels, confidence = segmenter.segment(nuclei((256, 256), [(100, 150)]))
    assert len(confidence) == 1
    y, x = np.nonzero(labels)
    assert abs(y.mean() - 100) < 1.5
    assert abs(x.mean() - 150) < 1.5
    assert confidence[0] > 0.7


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.zeros((128, 128), np.uint16), id="zeros"),
        pytest.param(np.full((128, 128), 65535, np.uint16), id="saturated"),
        pytest.param(np.full((128, 128), 255, np.uint8), id="saturated-8"),
        pytest.param(np.full((50, 70), 1000, np.uint16), id="flat-odd"),
    ],
)
def test_nothing_is_found_in_flat_images(
    segmenter: NetworkSegmenter, image: NDArray[np.uint16]
) -> None:
    labels, confidence = segmenter.segment(image)
    assert labels.shape == image.shape
    assert not labels.any()
    assert confidence.shape == (0,)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (64, 64), (33, 47), (511, 257)])
def test_any_size(segmenter: NetworkSegmenter, shape: tuple[int, int]) -> None:
    labels, confidence = segmenter.segment(nuclei(shape, [(shape[0] / 2, shape[1] / 2)]))
    assert labels.shape == shape
    check_form(labels, confidence)


def test_objects_at_the_border(segmenter: NetworkSegmenter) -> None:
    places = [(0, 40), (60, 0), (127, 127), (60, 70)]
    labels, confidence = segmenter.segment(nuclei((128, 128), places))
    check_form(labels, confidence)
    for y, x in places:
        assert labels[min(y + 3, 124), min(x + 3, 124)] > 0, (y, x)
    assert len(confidence) == 4


def test_hot_pixels_are_not_objects(segmenter: NetworkSegmenter) -> None:
    places = [(y, x) for y in range(40, 240, 50) for x in range(40, 240, 50)]
    image = nuclei((256, 256), places)
    wanted, _ = segmenter.segment(image)
    rng = np.random.default_rng(5)
    image[rng.integers(0, 256, 20), rng.integers(0, 256, 20)] = 65535
    labels, _ = segmenter.segment(image)
    assert agreement([(labels, wanted)], (0.5,))[0].ap >= 0.9


def test_bright_bead_leaves_the_cells(segmenter: NetworkSegmenter) -> None:
    places = [(y, x) for y in range(40, 240, 50) for x in range(40, 240, 50)]
    image = nuclei((256, 256), places).astype(np.float64)
    y, x = np.indices(image.shape)
    image += 150_000 * np.exp(-((y - 65) ** 2 + (x - 65) ** 2) / (2 * 2.0**2))
    labels, _ = segmenter.segment(image.clip(0, 65535).astype(np.uint16))
    seen = sum(labels[y, x] > 0 for y, x in places)
    assert seen >= 14  # of 16


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    height=st.integers(2, 90),
    width=st.integers(2, 90),
    top=st.integers(1, 65535),
    seed=st.integers(0, 99),
)
def test_labels_are_always_well_formed(
    segmenter: NetworkSegmenter, height: int, width: int, top: int, seed: int
) -> None:
    image = np.random.default_rng(seed).integers(0, top, (height, width), np.uint16, endpoint=True)
    before = image.copy()
    labels, confidence = segmenter.segment(image)
    check_form(labels, confidence)
    assert labels.shape == (height, width)
    np.testing.assert_array_equal(image, before)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_large_image_with_thousands_of_objects(segmenter: NetworkSegmenter) -> None:
    tile = nuclei((40, 40), [(20, 20)])
    labels, confidence = segmenter.segment(np.tile(tile, (102, 102)))
    check_form(labels, confidence)
    assert abs(len(confidence) - 102 * 102) <= 0.01 * 102 * 102


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.zeros((4, 4), np.float32), id="float"),
        pytest.param(np.zeros((4, 4, 3), np.uint8), id="colour"),
        pytest.param(np.zeros((0, 4), np.uint8), id="no-pixels"),
    ],
)
def test_other_images_are_refused(segmenter: NetworkSegmenter, image: NDArray[np.uint8]) -> None:
    with pytest.raises(ImageError, match="need"):
        segmenter.segment(image)


def test_outside_its_block_it_says_so() -> None:
    segmenter = NetworkSegmenter("nuclei")
    with pytest.raises(EngineError, match="not open"):
        segmenter.segment(np.zeros((64, 64), np.uint8))
    with segmenter:
        info = segmenter.warm_up((64, 64), "uint8")
    assert (info.name, info.precision) == ("onnxruntime", "fp32")
    segmenter.__exit__(None, None, None)
    with pytest.raises(EngineError, match="not open"):
        _ = segmenter.info


def test_every_shipped_network_has_a_whole_card() -> None:
    cards = models_available()
    assert "nuclei" in [card.name for card in cards]
    for card in cards:
        shown = card.to_json()
        assert shown["name"] == card.name
        assert shown["task"] in {"segment", "denoise", "classify"}
        assert shown["summary"]
        assert shown["licence"]
        assert len(shown["sha256"]) == 64
        assert shown["bytes"] < 5_000_000


def test_model_by_name_or_file() -> None:
    path = weights_path("nuclei")
    assert path.parent == WEIGHTS
    assert weights_path(str(path)) == path
    with pytest.raises(PipelineError, match="did you mean 'nuclei'"):
        weights_path("nucleii")
    with pytest.raises(PipelineError, match="no model file at"):
        weights_path("nowhere.onnx")


@pytest.mark.parametrize(
    ("card", "message"),
    [
        pytest.param(None, "no model card", id="missing"),
        pytest.param("# Just a title\n", "between two ---", id="no-front-matter"),
        pytest.param("---\nname: mine\ntask: segmnt\n---\n", "task", id="unknown-task"),
        pytest.param("---\nname: other\ntask: segment\n---\n", "need 'mine'", id="other-name"),
        pytest.param("---\nname: mine\ntask: segment\nsize: 3\n---\n", "size", id="unknown-key"),
        pytest.param("---\nname: [\n---\n", "not YAML", id="not-yaml"),
        pytest.param("---\nname: mine\ntask: denoise\n---\n", "is for denoise", id="other-task"),
    ],
)
def test_a_bad_card_is_refused(tmp_path: Path, card: str | None, message: str) -> None:
    path = tmp_path / "mine.onnx"
    shutil.copy(weights_path("nuclei"), path)
    if card is not None:
        path.with_suffix(".md").write_text(card, encoding="utf-8")
    with pytest.raises(PipelineError, match=message):
        NetworkSegmenter(str(path))


@given(
    old=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    new=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_resizing_keeps_range_and_names(old: tuple[int, int], new: tuple[int, int]) -> None:
    labels = np.random.default_rng(1).integers(0, 50, old).astype(np.int32)
    there = resize_labels(labels, new)
    assert there.shape == new
    assert set(np.unique(there)) <= set(np.unique(labels))
    image = resize_image(labels, new)
    assert image.shape == new
    assert labels.min() - 1e-3 <= image.min() <= image.max() <= labels.max() + 1e-3


@given(shape=st.tuples(st.integers(1, 70), st.integers(1, 70)))
def test_padding_adds_behind_only(shape: tuple[int, int]) -> None:
    image = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
    padded = pad_to_multiple(image, 16)
    assert padded.shape[0] % 16 == padded.shape[1] % 16 == 0
    assert min(padded.shape) >= 32
    np.testing.assert_array_equal(padded[: shape[0], : shape[1]], image)


def test_shipped_files_do_not_tell_where_they_were_made() -> None:
    for path in weights_path("nuclei").parent.glob("*.onnx"):
        assert b"stack_trace" not in path.read_bytes(), path.name
