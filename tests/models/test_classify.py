"""Sorting of objects: what the network sees, how it answers, and who refuses what."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from drivers.simulated.states import STATES, StateField, render_state_field
from models.catalog import WEIGHTS, read_card
from models.engines import engines_installed
from models.errors import EngineError, PipelineError
from models.pipeline import load_pipeline
from models.result import OBJECT_DTYPE, ImageContext
from models.settings import ClassifySettings
from models.tasks.classify import MOST_AT_ONCE, Classifier
from models.tasks.crops import CROP_PX, Typical, cut_crops, typical_of
from models.tasks.measure import measure

CONTEXT = ImageContext(seq=0, time_s=0.0)
SHAPE = (192, 224)


def measured(pixels: NDArray[Any], labels: NDArray[np.int32]) -> NDArray[np.void]:
    return measure(labels, pixels, np.ones(int(labels.max()), np.float32), CONTEXT)


def discs(scale: int = 1) -> NDArray[np.int32]:
    """Four discs of several sizes, one cut by the border."""
    y, x = np.indices((SHAPE[0] * scale, SHAPE[1] * scale)) / scale
    labels = np.zeros(y.shape, np.int32)
    for k, (cy, cx, r) in enumerate(((40, 50, 16), (90, 120, 30), (3, 150, 20), (160, 40, 6)), 1):
        labels[(y - cy) ** 2 + (x - cx) ** 2 <= r * r] = k
    return labels


def lit(labels: NDArray[np.int32], seed: int = 0) -> NDArray[np.uint16]:
    """Camera counts of objects with a gradient inside, so that turns would be noticed."""
    y, _ = np.indices(labels.shape) / labels.shape[0]
    light = 200 + (labels > 0) * (900 + 300 * y + 100 * labels)
    return np.random.default_rng(seed).poisson(light).astype(np.uint16)


@pytest.fixture(scope="module")
def field() -> StateField:
    return render_state_field(77, (320, 320), diameter_px=26, photons=100)


@pytest.fixture(scope="module")
def found(field: StateField) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    with Classifier(ClassifySettings()) as classifier:
        return classifier.classify(field.image, field.labels, measured(field.image, field.labels))


def test_a_window_is_linear_interpolation_and_area_mean() -> None:
    """Against Pillow's own resampling of the same box, where nothing is cut off."""
    labels = discs()
    pixels = lit(labels)
    objects = measured(pixels, labels)[[0, 1, 3]]
    windows = cut_crops(pixels, labels, objects, None).windows
    for row, window in zip(objects, windows, strict=True):
        side = 1.8 * np.sqrt(4 / np.pi * row["area_px"])
        low_y, low_x = row["y_px"] + 0.5 - side / 2, row["x_px"] + 0.5 - side / 2
        box = (low_x, low_y, low_x + side, low_y + side)
        image = Image.fromarray(pixels.astype(np.float32))
        there = np.asarray(
            image.resize((CROP_PX, CROP_PX), Image.Resampling.BILINEAR, box=box)
        ).ravel()
        agreement = np.corrcoef(there, window[0].ravel())[0, 1]
        assert agreement > 0.985, (side, agreement)
        mask = np.asarray(
            Image.fromarray((labels == row["label"]).astype(np.float32)).resize(
                (CROP_PX, CROP_PX), Image.Resampling.BILINEAR, box=box
            )
        )
        assert np.abs(mask - window[1]).mean() < 0.03


def test_gain_offset_and_magnification_do_not_matter() -> None:
    labels, big = discs(), discs(3)
    pixels, big_pixels = lit(labels), lit(big)
    plain = cut_crops(pixels, labels, measured(pixels, labels), Typical(30, 1400))
    brighter = pixels * 3 + 500
    same = cut_crops(brighter, labels, measured(brighter, labels), Typical(30, 1400 * 3 + 500))
    np.testing.assert_allclose(plain.windows, same.windows, atol=0.01)
    np.testing.assert_allclose(plain.context, same.context, atol=0.01)
    larger = cut_crops(big_pixels, big, measured(big_pixels, big), Typical(90, 1400))
    # the finer picture is smoother after it was averaged
    assert np.abs(larger.windows[:3, 0] - plain.windows[:3, 0]).mean() < 0.1
    assert np.abs(larger.windows[:3, 1] - plain.windows[:3, 1]).mean() < 0.03
    np.testing.assert_allclose(plain.context[:3], larger.context[:3], atol=0.08)


def test_the_neighbour_is_in_its_own_channel_and_outside_is_nothing() -> None:
    labels = np.zeros((60, 60), np.int32)
    labels[0:20, 10:30], labels[0:20, 31:50] = 1, 2
    pixels = lit(labels)
    window = cut_crops(pixels, labels, measured(pixels, labels), None).windows[0]
    assert window[1, CROP_PX // 2, CROP_PX // 2] == 1
    assert window[2, CROP_PX // 2, -1] == 1
    assert (window[1] * window[2]).max() == 0
    assert window[1:, 0].max() == 0  # beyond the upper border


def test_a_margin_changes_nothing_inside() -> None:
    labels = discs()
    pixels = lit(labels)
    objects = measured(pixels, labels)
    inner = cut_crops(pixels, labels, objects, typical_of(objects))
    outer = cut_crops(pixels, labels, objects, typical_of(objects), margin=8)
    np.testing.assert_array_equal(outer.windows[:, :, 8:-8, 8:-8], inner.windows)
    np.testing.assert_array_equal(outer.context, inner.context)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([np.uint8, np.uint16]),
    st.integers(0, 2**31),
)
def test_any_image_gives_finite_windows(height: int, width: int, dtype: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, np.iinfo(dtype).max + 1, (height, width), dtype=dtype)
    if seed % 3 == 0:
        pixels[:] = pixels[0, 0]
    labels = np.zeros((height, width), np.int32)
    labels[: 1 + seed % height, : 1 + seed % width] = 1
    labels[-1, -1] = 2 if labels[-1, -1] == 0 else 1
    objects = measured(pixels, labels)
    crops = cut_crops(pixels, labels, objects, Typical(5.0, float(pixels.mean())))
    assert np.isfinite(crops.windows).all()
    assert np.isfinite(crops.context).all()
    # a line one pixel wide can fall between the samples of a long window; nothing wider can
    seen = crops.windows[:, 1].sum(axis=(1, 2)) > 0
    assert seen[objects["minor_px"] > 2.5].all()
    assert set(np.unique(crops.windows[:, 1:])) <= {0.0, 1.0}


def test_few_objects_do_not_say_what_is_usual() -> None:
    assert typical_of(np.zeros(2, OBJECT_DTYPE)) is None
    three = np.zeros(3, OBJECT_DTYPE)
    three["area_px"], three["mean_intensity"] = 100 * np.pi, [1, 5, 900]
    assert typical_of(three) == Typical(pytest.approx(20.0), 5.0)


def test_the_shipped_network_knows_the_drawn_states(
    field: StateField, found: tuple[NDArray[np.int16], NDArray[np.float32]]
) -> None:
    class_id, probability = found
    assert read_card(WEIGHTS / "phases.onnx").classes == STATES
    assert class_id.dtype == np.int16
    assert probability.dtype == np.float32
    assert ((probability > 1 / 3 - 1e-6) & (probability <= 1 + 1e-6)).all()
    told = [(STATES[k], name) for k, name in zip(class_id, field.states, strict=True) if name]
    right = np.mean([mine == true for mine, true in told])
    assert len(told) > 20
    assert len({true for _, true in told}) >= 2
    assert right >= 0.9


@pytest.mark.parametrize("engine", engines_installed())
def test_the_same_crops_get_the_same_answer_in_any_company(
    field: StateField, found: tuple[NDArray[np.int16], NDArray[np.float32]], engine: Any
) -> None:
    objects = measured(field.image, field.labels)
    with Classifier(ClassifySettings(engine=engine)) as classifier:
        crops = cut_crops(field.image, field.labels, objects, typical_of(objects))
        whole = classifier.probabilities(crops)
        again, _ = classifier.classify(field.image, field.labels, objects)
        first = cut_crops(field.image, field.labels, objects[:1], typical_of(objects))
        alone = classifier.probabilities(first)
    np.testing.assert_array_equal(whole.argmax(axis=1), again)
    np.testing.assert_allclose(whole.max(axis=1), found[1], atol=1e-4)
    np.testing.assert_allclose(alone[0], whole[0], atol=1e-5)
    np.testing.assert_allclose(whole.sum(axis=1), 1, atol=1e-5)


def test_more_objects_than_one_run_takes() -> None:
    y, x = np.indices((20 * 8, 20 * 8))
    labels = np.where((y % 8 < 5) & (x % 8 < 5), y // 8 * 20 + x // 8 + 1, 0).astype(np.int32)
    pixels = lit(np.minimum(labels, 1))
    objects = measured(pixels, labels)
    assert len(objects) == 400 > MOST_AT_ONCE
    with Classifier(ClassifySettings()) as classifier:
        class_id, probability = classifier.classify(pixels, labels, objects)
    assert len(class_id) == len(probability) == 400
    assert (probability > 0).all()


def test_no_object_no_answer() -> None:
    with Classifier(ClassifySettings()) as classifier:
        none = np.zeros(SHAPE, np.int32)
        class_id, probability = classifier.classify(
            np.zeros(SHAPE, np.uint16), none, np.zeros(0, OBJECT_DTYPE)
        )
    assert class_id.shape == probability.shape == (0,)
    assert (class_id.dtype, probability.dtype) == (np.int16, np.float32)


def test_outside_the_block_it_says_so() -> None:
    classifier = Classifier(ClassifySettings())
    with pytest.raises(EngineError, match="with"):
        classifier.classify(
            np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.int32), np.zeros(0, OBJECT_DTYPE)
        )
    with classifier:
        pass
    classifier.__exit__()
    with pytest.raises(EngineError, match="with"):
        _ = classifier.info


def test_networks_that_do_not_sort_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="'nuclei' is a network to segment"):
        Classifier(ClassifySettings(model="nuclei")).__enter__()
    with pytest.raises(PipelineError, match="did you mean 'phases'"):
        Classifier(ClassifySettings(model="phase")).__enter__()
    shutil.copy(WEIGHTS / "phases.onnx", tmp_path / "mine.onnx")
    front = "---\nname: mine\ntask: classify\nclasses: [{}]\ncrop_px: 32\n---\n"
    (tmp_path / "mine.md").write_text(front.format("only"))
    with pytest.raises(PipelineError, match="names 1 classes"):
        Classifier(ClassifySettings(model=str(tmp_path / "mine.onnx"))).__enter__()


def test_a_card_of_other_classes_is_noticed(tmp_path: Path, field: StateField) -> None:
    shutil.copy(WEIGHTS / "phases.onnx", tmp_path / "mine.onnx")
    (tmp_path / "mine.md").write_text(
        "---\nname: mine\ntask: classify\nclasses: [a, b]\ncrop_px: 32\n---\n"
    )
    objects = measured(field.image, field.labels)
    with (
        Classifier(ClassifySettings(model=str(tmp_path / "mine.onnx"))) as classifier,
        pytest.raises(EngineError, match="its card names 2 classes"),
    ):
        classifier.classify(field.image, field.labels, objects)


def test_a_pipeline_gives_classes(field: StateField) -> None:
    with load_pipeline(
        {"name": "p", "segment": {"kind": "threshold", "polarity": "bright"}, "classify": {}}
    ) as pipeline:
        result = pipeline.run(field.image, CONTEXT)
        given = pipeline.run(field.image, CONTEXT, labels=field.labels)
    assert result.classes == STATES
    assert "classify" in result.stage_ms
    assert (result.objects["class_id"] >= 0).all()
    assert (result.objects["class_probability"] > 0).all()
    assert len(given.objects) == field.labels.max()
