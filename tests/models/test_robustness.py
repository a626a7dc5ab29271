"""The whole pipeline with the shipped network on images that break such programs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models import ImageContext, Pipeline, PipelineResult, load_pipeline
from models.catalog import weights_path
from models.engines import open_engine
from models.result import MORE_COLUMNS, OBJECT_DTYPE
from models.scoring.instances import agreement
from models.tasks.light import limits_beneath, without_hot_pixels
from models.tasks.network import NetworkSegmenter
from models.tasks.resize import resize_image, resize_labels

SAMPLES = Path(__file__).parents[1] / "data" / "nuclei"
NUCLEI = Path(__file__).parents[3] / "shared" / "data" / "seg" / "dsb"
SETTINGS = {"name": "robust", "segment": {"kind": "network", "model": "nuclei"}, "track": {}}
MATRIX = np.array([[0.5, 0.0, 10.0], [0.0, 0.5, 20.0]])
GRID = [(y, x) for y in range(40, 240, 50) for x in range(40, 240, 50)]
Counts = NDArray[np.uint8] | NDArray[np.uint16]


@pytest.fixture(scope="module")
def opened() -> Iterator[Pipeline]:
    with load_pipeline(SETTINGS) as pipeline:
        yield pipeline


@pytest.fixture
def pipeline(opened: Pipeline) -> Pipeline:
    opened.reset()
    return opened


@pytest.fixture(scope="module")
def segmenter() -> Iterator[NetworkSegmenter]:
    with NetworkSegmenter("nuclei") as opened:
        yield opened


def real(name: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(SAMPLES / f"{name}_img.png"))


def truth(name: str) -> NDArray[np.int32]:
    return labels_at(SAMPLES / f"{name}_lab.png")


def labels_at(path: Path) -> NDArray[np.int32]:
    return np.asarray(Image.open(path)).astype(np.int32)


def drawn(
    shape: tuple[int, int],
    places: list[tuple[float, float]],
    radius: float = 12.0,
    height: float = 1500.0,
) -> NDArray[np.uint16]:
    """Round soft-edged nuclei over a camera background with read noise."""
    counts = np.random.default_rng(3).normal(200.0, 4.0, shape)
    reach = int(radius + 8)
    for cy, cx in places:
        rows = slice(max(int(cy) - reach, 0), max(int(cy) + reach, 0))
        columns = slice(max(int(cx) - reach, 0), max(int(cx) + reach, 0))
        y, x = np.ogrid[rows, columns]
        y, x = y[: shape[0] - rows.start], x[:, : shape[1] - columns.start]
        counts[rows, columns] += height / (1.0 + np.exp(np.hypot(y - cy, x - cx) - radius))
    return counts.clip(0, 65535).astype(np.uint16)


def analysed(pipeline: Pipeline, image: Counts) -> PipelineResult:
    """Run, and check all that holds of every result."""
    before = image.copy()
    result = pipeline.run(image, ImageContext(0, 0.0, 0.5, MATRIX))
    np.testing.assert_array_equal(image, before)
    assert result.labels.shape == image.shape
    assert result.labels.dtype == np.int32
    found = np.unique(result.labels)
    np.testing.assert_array_equal(found[found > 0], np.arange(1, len(result.objects) + 1))
    assert OBJECT_DTYPE.names is not None
    for column in set(OBJECT_DTYPE.names) - set(MORE_COLUMNS):
        assert np.isfinite(result.objects[column]).all(), column
    assert ((result.objects["confidence"] >= 0) & (result.objects["confidence"] <= 1)).all()
    return result


def seen(result: PipelineResult, places: list[tuple[float, float]]) -> int:
    return sum(bool(result.labels[int(y), int(x)]) for y, x in places)


@pytest.mark.parametrize(
    ("image", "count"),
    [
        pytest.param(np.zeros((128, 128), np.uint16), 0, id="zeros"),
        pytest.param(np.full((128, 128), 65535, np.uint16), 0, id="saturated"),
        pytest.param(np.full((97, 131), 255, np.uint8), 0, id="saturated-8-odd"),
        pytest.param(drawn((128, 128), []), 0, id="empty"),
        pytest.param(drawn((128, 128), [(60, 70)]), 1, id="one-object"),
        pytest.param(drawn((64, 64), [(30, 30)]), 1, id="64x64"),
        pytest.param(drawn((97, 131), [(30, 30), (60, 100)]), 2, id="97x131"),
        pytest.param(drawn((128, 128), [(0, 40), (60, 0), (127, 127), (60, 70)]), 4, id="border"),
        pytest.param(drawn((1, 300), []), 0, id="one-row"),
        pytest.param(drawn((300, 1), []), 0, id="one-column"),
        pytest.param(np.full((1, 1), 7, np.uint8), 0, id="one-pixel"),
    ],
)
def test_odd_images_are_labelled_without_a_nan(
    pipeline: Pipeline, image: Counts, count: int
) -> None:
    assert len(analysed(pipeline, image).objects) == count


@pytest.mark.parametrize("mean", [0.05, 3.0, 400.0])
def test_nothing_is_found_in_noise(pipeline: Pipeline, mean: float) -> None:
    image = np.random.default_rng(1).poisson(mean, (160, 160)).astype(np.uint16)
    assert len(analysed(pipeline, image).objects) == 0


@pytest.mark.parametrize("share", [0.001, 0.01, 0.03])
def test_hot_pixels_change_nothing(pipeline: Pipeline, share: float) -> None:
    image = drawn((256, 256), GRID)
    wanted = analysed(pipeline, image).labels
    hot = np.random.default_rng(5).random(image.shape) < share
    image[hot] = 65535
    pipeline.reset()
    labels = analysed(pipeline, image).labels
    assert agreement([(labels, wanted)], (0.9,))[0].ap == 1.0


def test_hot_pixels_at_the_border_are_mended_and_points_of_light_are_not() -> None:
    image = drawn((64, 64), [(30, 30)])
    spot = image.copy()
    y, x = np.indices(image.shape)
    spot += (40_000 * np.exp(-((y - 50) ** 2 + (x - 12) ** 2) / 2)).astype(np.uint16)
    assert without_hot_pixels(spot) is spot
    hot = image.copy()
    hot[0, 0] = hot[63, 20] = hot[10, 10] = hot[10, 11] = 60_000
    mended = without_hot_pixels(hot)
    assert mended is not hot
    assert mended.max() <= image.max()
    assert np.count_nonzero(mended != image) <= 4


def test_real_images_have_no_hot_pixel_and_no_bead() -> None:
    for path in sorted(SAMPLES.glob("*_img.png")):
        image = np.asarray(Image.open(path))
        assert without_hot_pixels(image) is image
        assert limits_beneath(image) is None


@pytest.mark.parametrize("radius", [2.0, 6.0, 12.0, 20.0])
@pytest.mark.parametrize("height", [300.0, 650.0])
def test_a_bead_a_hundred_times_brighter_leaves_the_cells(
    pipeline: Pipeline, radius: float, height: float
) -> None:
    image = drawn((256, 256), GRID, height=height).astype(np.float64)
    y, x = np.indices(image.shape)
    image += 100 * height / (1 + np.exp(np.hypot(y - 65, x - 65) - radius))
    result = analysed(pipeline, image.clip(0, 65535).astype(np.uint16))
    # four cells stand in the glow of the bead; one of them may go under in it
    assert seen(result, GRID) >= len(GRID) - 1
    assert len(result.objects) <= len(GRID) + 2


def test_a_field_with_few_bright_cells_is_not_taken_for_one_with_beads(
    pipeline: Pipeline,
) -> None:
    image = drawn((384, 384), [(100, 100), (300, 200)], height=60_000)
    assert len(analysed(pipeline, image).objects) == 2


@pytest.mark.parametrize(("gain", "offset"), [(3, 500), (257, 0), (1, 40_000)])
def test_gain_offset_and_depth_give_the_same_labels(
    pipeline: Pipeline, gain: int, offset: int
) -> None:
    for name in ("016", "060"):
        image = real(name)
        pipeline.reset()
        wanted = analysed(pipeline, image).labels
        pipeline.reset()
        labels = analysed(pipeline, image.astype(np.uint16) * gain + offset).labels
        assert labels.max() == wanted.max()
        assert agreement([(labels, wanted)], (0.95,))[0].ap >= 0.98


def test_the_same_image_gives_the_same_bits_whatever_came_between(pipeline: Pipeline) -> None:
    image = real("216")
    first = analysed(pipeline, image)
    pipeline.reset()
    second = analysed(pipeline, image)
    analysed(pipeline, real("016"))
    analysed(pipeline, np.zeros((64, 64), np.uint16))
    pipeline.reset()
    third = analysed(pipeline, image)
    for other in (second, third):
        np.testing.assert_array_equal(first.labels, other.labels)
        assert first.objects.tobytes() == other.objects.tobytes()


def test_a_restarted_process_labels_the_next_image_alike(pipeline: Pipeline) -> None:
    large, image = real("216"), real("060")
    analysed(pipeline, large)
    state = pipeline.export_state()
    wanted = analysed(pipeline, image)
    pipeline.reset()
    fresh = analysed(pipeline, image)
    with load_pipeline(SETTINGS) as other:
        other.warm_up((64, 64), "uint16")
        other.restore_state(state)
        result = analysed(other, image)
    np.testing.assert_array_equal(result.labels, wanted.labels)
    # the size that was remembered does make a difference here, or the test would show nothing
    assert not np.array_equal(fresh.labels, wanted.labels)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_agreement_holds_from_half_to_double_the_size(
    segmenter: NetworkSegmenter, factor: float
) -> None:
    names = [path.name[:3] for path in sorted(SAMPLES.glob("*_img.png"))]
    pairs = [(real(name), truth(name)) for name in names]
    # 151 objects, one is 0.007: the test with more of them below holds 0.03
    assert lost_by_scale(segmenter, pairs, factor) <= 0.05


@pytest.mark.slow
@pytest.mark.skipif(not NUCLEI.is_dir(), reason="needs the development data")
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_agreement_holds_on_more_images(segmenter: NetworkSegmenter, factor: float) -> None:
    """Images whose objects stay 8 px wide; below that some are lost with the pixels."""
    pairs = []
    for path in sorted(NUCLEI.glob("*_img.png"))[::6]:
        image = np.asarray(Image.open(path))
        wanted = labels_at(path.with_name(path.name.replace("_img", "_lab")))
        if wanted.any() and np.median(np.bincount(wanted.ravel())[1:]) >= np.pi / 4 * 16**2:
            pairs.append((image, wanted))
    assert len(pairs) >= 12
    assert lost_by_scale(segmenter, pairs, factor) <= 0.03


def lost_by_scale(
    segmenter: NetworkSegmenter, pairs: list[tuple[np.ndarray, np.ndarray]], factor: float
) -> float:
    """AP@0.5 less where the same images are shown at ``factor`` times their size."""
    usual, scaled = [], []
    for image, wanted in pairs:
        segmenter.reset()
        usual.append((segmenter.segment(image)[0], wanted))
        shape = (round(image.shape[0] * factor), round(image.shape[1] * factor))
        segmenter.reset()
        labels, _ = segmenter.segment(resize_image(image, shape).round().astype(np.uint8))
        scaled.append((labels, resize_labels(wanted, shape)))
    return agreement(usual, (0.5,))[0].ap - agreement(scaled, (0.5,))[0].ap


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkSegmenter]:
    """The shipped network with a card that knows its pixel size, 0.5 um."""
    path = tmp_path_factory.mktemp("card") / "nuclei.onnx"
    shutil.copy(weights_path("nuclei"), path)
    card = weights_path("nuclei").with_suffix(".md").read_text(encoding="utf-8")
    path.with_suffix(".md").write_text(
        card.replace("task: segment", "task: segment\npixel_size_um: 0.5", 1), encoding="utf-8"
    )
    with NetworkSegmenter(str(path)) as opened:
        yield opened


def test_pixel_size_tells_the_scale_where_objects_cannot(calibrated: NetworkSegmenter) -> None:
    one = drawn((128, 128), [(60, 60)], radius=24.0)  # too few objects to measure
    calibrated.reset()
    labels, confidence = calibrated.segment(one, pixel_size_um=0.25)
    assert calibrated.scale == 0.5
    assert len(confidence) == 1
    assert abs(np.count_nonzero(labels) - np.pi * 24**2) < 0.15 * np.pi * 24**2


def test_the_size_found_has_the_last_word(calibrated: NetworkSegmenter) -> None:
    image, wanted = real("016"), truth("016")
    calibrated.reset()
    usual = agreement([(calibrated.segment(image)[0], wanted)], (0.5,))[0].ap
    for wrong in (0.125, 1.5):  # a typing error: four times off, three times off
        calibrated.reset()
        labels, _ = calibrated.segment(image, pixel_size_um=wrong)
        # 67 objects, one is 0.013
        assert agreement([(labels, wanted)], (0.5,))[0].ap >= usual - 0.055


def test_another_objective_moves_the_scale_with_it(segmenter: NetworkSegmenter) -> None:
    image = real("016")
    segmenter.reset()
    segmenter.segment(image, pixel_size_um=0.5)
    kept = segmenter.scale
    empty = np.full((128, 128), 100, np.uint16)
    segmenter.segment(empty, pixel_size_um=0.25)
    assert segmenter.scale == pytest.approx(kept / 2)
    segmenter.segment(empty)  # not told: as before
    assert segmenter.scale == pytest.approx(kept / 2)


def test_a_graph_given_its_own_limits_answers_alike() -> None:
    image = real("016").astype(np.float32)
    counts = np.sort(image[::4, ::4].ravel())
    last = len(counts) - 1
    own = counts[[(last * 10 + 500) // 1000, (last * 998 + 500) // 1000]]
    with open_engine(weights_path("nuclei")) as engine:
        assert engine.inputs == ("image", "limits", "centre")
        plain = engine.run({"image": image})
        given = engine.run({"image": image, "limits": own})
        other = engine.run({"image": image, "limits": own * 3})
    np.testing.assert_array_equal(plain["labels"], given["labels"])
    np.testing.assert_array_equal(plain["probability"], given["probability"])
    assert not np.array_equal(plain["probability"], other["probability"])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_large_camera_frame_with_ten_thousand_objects(pipeline: Pipeline) -> None:
    step = 40
    places = [(float(y), float(x)) for y in range(20, 4090, step) for x in range(20, 4090, step)]
    result = analysed(pipeline, drawn((4096, 4096), places))
    assert len(places) >= 10_000
    assert seen(result, places) >= 0.999 * len(places)
    assert abs(len(result.objects) - len(places)) <= 0.001 * len(places)
