"""The pipeline as a whole: every stage, odd images, and going on after a restart."""

import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from models import (
    EngineError,
    ImageContext,
    ImageError,
    PipelineError,
    PipelineResult,
    PipelineSettings,
    load_pipeline,
)
from models.result import MORE_COLUMNS, OBJECT_DTYPE

FULL = {"name": "full", "denoise": {}, "segment": {"kind": "threshold"}, "track": {}}
MOVIE = Path(__file__).parents[1] / "data" / "ecoli"
MATRIX = np.array([[0.5, 0.0, 10.0], [0.0, 0.5, 20.0]])


def movie() -> list[np.ndarray]:
    return [tifffile.imread(file) for file in sorted((MOVIE / "01").glob("t*.tif"))]


def masks() -> list[np.ndarray]:
    return [tifffile.imread(f) for f in sorted((MOVIE / "01_GT" / "TRA").glob("*.tif"))]


def cells(shape: tuple[int, int] = (120, 150), dtype: str = "uint16", top: int = 900) -> np.ndarray:
    y, x = np.indices(shape)
    image = np.full(shape, top * 0.1)
    for cy, cx, radius in ((20, 30, 9), (60, 70, 12), (0, 100, 10), (119, 149, 14)):
        image[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] = top * 0.8
    noisy = np.random.default_rng(0).poisson(image)
    return noisy.clip(0, np.iinfo(dtype).max).astype(dtype)


def test_all_stages_answer() -> None:
    with load_pipeline(FULL) as pipeline:
        engine = pipeline.warm_up((120, 150), "uint16")
        assert (engine.name, engine.device) == ("classical", "cpu")
        image = cells()
        before = image.copy()
        result = pipeline.run(image, ImageContext(7, 0.0, 0.5, MATRIX))
    assert (image == before).all()
    assert result.seq == 7
    assert list(result.stage_ms) == ["denoise", "segment", "measure", "track"]
    assert all(ms >= 0 for ms in result.stage_ms.values())
    assert result.labels.dtype == np.int32
    assert result.objects.dtype == OBJECT_DTYPE
    assert result.objects["label"].tolist() == [1, 2, 3, 4]
    # the made-up cells of the warm-up have left no tracks
    assert sorted(result.objects["track_id"]) == [1, 2, 3, 4]
    middle = result.objects[np.argmax(result.objects["label"] == result.labels[60, 70])]
    assert middle["y_um"] == pytest.approx(20 + 0.5 * middle["y_px"])
    assert middle["x_um"] == pytest.approx(10 + 0.5 * middle["x_px"])


def odd_images() -> dict[str, np.ndarray]:
    one = np.full((65, 31), 20, dtype=np.uint8)
    one[20:40, 10:22] = 200
    return {
        "zeros": np.zeros((64, 64), dtype=np.uint16),
        "saturated 8 bit": np.full((64, 64), 255, dtype=np.uint8),
        "saturated 16 bit": np.full((63, 65), 65_535, dtype=np.uint16),
        "one pixel": np.ones((1, 1), dtype=np.uint16),
        "one row": np.arange(40, dtype=np.uint16)[None],
        "one column": np.arange(40, dtype=np.uint8)[:, None],
        "one object": one,
        "odd size": cells((121, 151)),
        "8 bit": cells(dtype="uint8", top=200),
        "16 bit": cells(top=60_000),
        "hot pixel": np.where(np.indices((99, 99)).sum(0) == 98, 65_535, 100).astype(np.uint16),
        "all object": np.full((50, 50), 7, dtype=np.uint8),
    }


@pytest.mark.parametrize("name", list(odd_images()))
def test_odd_images_give_finite_values(name: str) -> None:
    image = odd_images()[name]
    with load_pipeline(FULL) as pipeline:
        for seq in range(3):
            result = pipeline.run(image, ImageContext(seq, float(seq), 0.5, MATRIX))
            assert result.labels.shape == image.shape
            assert result.denoised is not None
            assert (result.denoised.dtype, result.denoised.shape) == (image.dtype, image.shape)
            assert int(result.labels.max()) == len(result.objects)
            for column in set(OBJECT_DTYPE.names) - set(MORE_COLUMNS):
                assert np.isfinite(result.objects[column]).all(), column


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.zeros((4, 4), np.float32), id="float"),
        pytest.param(np.zeros((2, 4, 4), np.uint16), id="stack"),
        pytest.param(np.zeros((0, 4), np.uint16), id="no pixel"),
    ],
)
def test_what_is_no_image_is_refused(image: np.ndarray) -> None:
    with load_pipeline(FULL) as pipeline, pytest.raises(ImageError, match="need"):
        pipeline.run(image, ImageContext(0, 0.0))


def test_denoise_alone_has_no_objects() -> None:
    with load_pipeline({"name": "denoise", "denoise": {}}) as pipeline:
        image = cells()
        result = pipeline.run(image, ImageContext(0, 0.0))
    assert result.labels.max() == 0
    assert len(result.objects) == 0
    assert list(result.stage_ms) == ["denoise"]
    assert result.denoised is not None


def test_denoising_brings_a_noisy_image_nearer_to_the_truth_and_keeps_the_mean() -> None:
    y, x = np.indices((128, 128))
    clean = 400 + 300 * np.sin(y / 9) * np.sin(x / 11)
    noisy = np.random.default_rng(1).poisson(clean).astype(np.uint16)
    with load_pipeline({"name": "denoise", "denoise": {}}) as pipeline:
        out = pipeline.run(noisy, ImageContext(0, 0.0)).denoised
    assert out is not None
    error = [float(np.mean((image - clean) ** 2)) for image in (noisy.astype(float), out)]
    assert error[1] < 0.2 * error[0]
    assert out.mean() == pytest.approx(noisy.mean(), rel=1e-3)


def test_an_image_without_noise_is_left_as_it_is() -> None:
    image = np.repeat(np.arange(64, dtype=np.uint16)[None] * 100, 64, axis=0)
    with load_pipeline({"name": "denoise", "denoise": {}}) as pipeline:
        assert (pipeline.run(image, ImageContext(0, 0.0)).denoised == image).all()


def ids(results: list[PipelineResult]) -> list[list[int]]:
    return [result.objects["track_id"].tolist() for result in results]


def test_a_restarted_process_goes_on_with_the_same_tracks() -> None:
    with load_pipeline(FULL) as pipeline:
        frames = [(m, ImageContext(t, float(t))) for t, m in enumerate(masks())]
        images = [np.zeros(m.shape, np.uint8) for m, _ in frames]
        whole = [pipeline.run(i, c, labels=m) for i, (m, c) in zip(images, frames, strict=True)]
    with load_pipeline(FULL) as first:
        for image, (mask, context) in zip(images[:5], frames[:5], strict=True):
            first.run(image, context, labels=mask)
        state = first.export_state()
    with load_pipeline(FULL) as second:
        second.warm_up(images[0].shape, "uint8")
        second.restore_state(state)
        rest = [
            second.run(i, c, labels=m) for i, (m, c) in zip(images[5:], frames[5:], strict=True)
        ]
    assert ids(rest) == ids(whole[5:])


def test_foreign_or_damaged_states_are_refused() -> None:
    with load_pipeline(FULL) as one:
        state = one.export_state()
    other = {**FULL, "track": {"max_gap_frames": 9}}
    with load_pipeline(other) as pipeline:
        with pytest.raises(PipelineError, match="start without them"):
            pipeline.restore_state(state)
        with pytest.raises(PipelineError, match="cannot be read"):
            pipeline.restore_state(b"\x81")


def test_real_masks_give_the_true_lineage() -> None:
    table = np.loadtxt(MOVIE / "01_GT" / "TRA" / "man_track.txt", dtype=int)
    mother_of = {row[0]: row[3] for row in table}
    track_of: dict[int, int] = {}
    switched, divisions = 0, 0
    with load_pipeline({"name": "tracks", "track": {}}) as pipeline:
        for t, mask in enumerate(masks()):
            result = pipeline.run(
                np.zeros(mask.shape, np.uint8), ImageContext(t, float(t)), labels=mask
            )
            cells = np.unique(mask[mask > 0])  # objects are in order of label
            for cell, row in zip(cells, result.objects, strict=True):
                switched += track_of.setdefault(int(cell), int(row["track_id"])) != row["track_id"]
                if row["divided"]:
                    divisions += 1
                    assert track_of[mother_of[int(cell)]] == row["parent_id"]
    assert switched == 0
    assert divisions == sum(mother > 0 for mother in mother_of.values())


def test_the_same_movie_twice_gives_the_same_labels_and_ids() -> None:
    runs = []
    for _ in range(2):
        with load_pipeline(FULL) as pipeline:
            runs.append(
                [
                    pipeline.run(image, ImageContext(t, float(t)))
                    for t, image in enumerate(movie()[:4])
                ]
            )
    assert ids(runs[0]) == ids(runs[1])
    assert all((a.labels == b.labels).all() for a, b in zip(*runs, strict=True))
    assert all(len(one) > 0 for one in ids(runs[0]))


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        pytest.param({"name": "x"}, "does nothing", id="empty"),
        pytest.param({"name": "x", "segmnt": {}}, "segmnt", id="unknown key"),
        pytest.param({"name": "x", "segment": {"kind": "magic"}}, "segment", id="unknown kind"),
        pytest.param({"name": "x", "denoise": {"sigma_px": -1}}, "sigma_px", id="below zero"),
        pytest.param({"segment": {"kind": "threshold"}}, "name", id="no name"),
    ],
)
def test_wrong_settings_name_the_key(settings: dict[str, object], word: str) -> None:
    with pytest.raises(PipelineError, match=word):
        load_pipeline(settings)


def test_outside_its_block_it_says_so() -> None:
    pipeline = load_pipeline(PipelineSettings.model_validate(FULL))
    for call in (
        lambda: pipeline.run(cells(), ImageContext(0, 0.0)),
        lambda: pipeline.info,
        pipeline.export_state,
        lambda: pipeline.warm_up((8, 8), "uint8"),
    ):
        with pytest.raises(EngineError, match="with"):
            call()
    with pipeline:
        pass
    pipeline.__exit__()
    with pytest.raises(EngineError):
        pipeline.export_state()


def test_loading_the_package_loads_no_engine() -> None:
    import subprocess

    heavy = ("torch", "onnxruntime", "mahotas", "lap")
    code = f"import sys, models; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("segment_on", ["raw", "denoised"])
def test_what_is_segmented_can_be_chosen(segment_on: str) -> None:
    image = np.random.default_rng(0).poisson(4, (96, 96)).astype(np.uint16)
    image[30:50, 30:50] += 60
    settings = {
        "name": "chosen",
        "denoise": {"sigma_px": 6.0},
        "segment": {"kind": "threshold", "polarity": "bright"},
        "segment_on": segment_on,
    }
    with load_pipeline(settings) as pipeline:
        result = pipeline.run(image, ImageContext(0, 0.0))
    assert result.denoised is not None
    largest = int(result.objects["area_px"].max())
    # A Gaussian of 6 px washes the 20 px square out; the raw one keeps its size.
    assert (abs(largest - 400) < 60) == (segment_on == "raw")
