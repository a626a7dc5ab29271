"""Denoising by a network: what it remembers, when it forgets, and what it never changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from denoise_nets import NETS, WEIGHT
from denoise_scenes import discs, exposed
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models import EngineError, ImageContext, PipelineError, load_pipeline
from models.tasks.denoiser import NetworkDenoiser
from models.tasks.denoiser_memory import MOST_BYTES, MOST_PLACES, Memories, why_afresh
from models.tasks.filters import smooth
from models.tasks.rounding import to_counts

SHAPE = (48, 56)


def context(seq: int, **more: Any) -> ImageContext:
    given: dict[str, Any] = {"seq": seq, "time_s": float(seq), "pixel_size_um": 0.5, **more}
    return ImageContext(**given)


def frame(seed: int, level: float = 200.0, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(level, 20, shape).clip(0, 65535).astype(np.uint16)


@pytest.fixture
def average() -> Iterator[NetworkDenoiser]:
    with NetworkDenoiser(str(NETS / "average.onnx")) as denoiser:
        yield denoiser


def test_earlier_frames_are_used_and_later_ones_are_not(average: NetworkDenoiser) -> None:
    frames = [frame(k) for k in range(4)]
    kept = None
    for k, pixels in enumerate(frames):
        found = average.denoise(pixels, context(k))
        kept = pixels if kept is None else WEIGHT * pixels + (1 - WEIGHT) * kept
        np.testing.assert_allclose(found.exact, kept, rtol=1e-5)
        assert found.report is not None
        assert found.report.fresh == (k == 0)
        assert (found.image.dtype, found.image.shape) == (pixels.dtype, pixels.shape)
        np.testing.assert_array_equal(found.image, np.rint(found.exact))


def test_frames_are_not_written_to_and_results_are_the_callers(average: NetworkDenoiser) -> None:
    first = frame(0)
    first.setflags(write=False)
    found = average.denoise(first, context(0))
    assert found.exact is not None
    kept = found.exact.copy()
    found.image[:], found.exact[:] = 0, 0
    again = average.denoise(frame(1), context(1))
    np.testing.assert_allclose(again.exact, WEIGHT * frame(1) + (1 - WEIGHT) * kept, rtol=1e-5)


def test_same_frames_same_bits() -> None:
    def run() -> list[bytes]:
        out = []
        with NetworkDenoiser(str(NETS / "average.onnx")) as denoiser:
            for k in range(12):
                found = denoiser.denoise(exposed(discs(64, k) * 30, rng), context(k))
                assert found.exact is not None
                out += [found.image.tobytes(), found.exact.tobytes(), repr(found.report).encode()]
        return out

    rng = np.random.default_rng(1)
    once = run()
    rng = np.random.default_rng(1)
    assert run() == once


CHANGES = [
    pytest.param({"x_um": 0.3}, "stage moved", id="stage-x"),
    pytest.param({"y_um": -0.3}, "stage moved", id="stage-y"),
    pytest.param({"x_um": 0.2}, "", id="stage-jitters"),
    pytest.param({"z_um": 1.0}, "focus moved", id="focus"),
    pytest.param({"z_um": 0.05}, "", id="focus-creeps"),
    pytest.param({"exposure_ms": 20.0}, "exposure changed", id="exposure"),
    pytest.param({"pixel_size_um": 0.25}, "pixel size changed", id="objective"),
    pytest.param({"seq": 3}, "frame numbers went back", id="same-number"),
    pytest.param({"seq": 0}, "frame numbers went back", id="number-back"),
    pytest.param({"time_s": 1.0}, "clock went back", id="clock-back"),
    pytest.param({"seq": 40, "time_s": 4.0}, "", id="frames-lost-on-the-way"),
    pytest.param({"time_s": 8.0}, "", id="five-intervals"),
    pytest.param({"time_s": 8.1}, "pause since the frame before", id="pause"),
    pytest.param({"channel": "other"}, "first frame", id="channel"),
    pytest.param({"position": "p1"}, "first frame", id="position"),
    pytest.param({"epoch": 1}, "first frame", id="epoch"),
]


@pytest.mark.parametrize(("change", "why"), CHANGES)
def test_state_is_put_aside_when_the_place_or_the_light_is_another(
    average: NetworkDenoiser, change: dict[str, Any], why: str
) -> None:
    for k in range(4):
        average.denoise(frame(k), context(k, exposure_ms=10.0))
    new = frame(9)
    found = average.denoise(new, context(**{"seq": 4, "exposure_ms": 10.0, **change}))
    assert found.report is not None
    assert found.report.fresh == bool(why)
    assert found.report.fresh_because.startswith(why)
    assert np.array_equal(found.image, new) == bool(why)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [pytest.param((56, 48), np.uint16, id="shape"), pytest.param(SHAPE, np.uint8, id="dtype")],
)
def test_another_form_of_image_starts_afresh(
    average: NetworkDenoiser, shape: tuple[int, int], dtype: type
) -> None:
    average.denoise(frame(0), context(0))
    new = frame(1, 100.0, shape).astype(dtype)
    found = average.denoise(new, context(1))
    np.testing.assert_array_equal(found.image, new)


def test_places_visited_in_turn_keep_their_own_memory(average: NetworkDenoiser) -> None:
    places = [("a", 0.0, 100.0), ("b", 500.0, 900.0)]
    for turn in range(3):
        for number, (name, x_um, level) in enumerate(places):
            seq = 2 * turn + number
            found = average.denoise(frame(seq, level), context(seq, position=name, x_um=x_um))
            assert found.report is not None
            assert found.report.fresh == (turn == 0)
            assert found.image.mean() == pytest.approx(level, rel=0.05)


def test_after_a_pause_a_new_rhythm_is_learned(average: NetworkDenoiser) -> None:
    times = [0, 1, 2, 3, 63, 123, 183]
    fresh = []
    for seq, time_s in enumerate(times):
        report = average.denoise(frame(seq), context(seq, time_s=float(time_s))).report
        assert report is not None
        fresh.append(report.fresh)
    assert fresh == [True, False, False, False, True, False, False]


def test_without_time_each_frame_is_by_itself() -> None:
    with NetworkDenoiser(str(NETS / "average.onnx"), temporal=False) as denoiser:
        for k in range(3):
            found = denoiser.denoise(frame(k), context(k))
            np.testing.assert_array_equal(found.image, frame(k))
            assert found.report is not None
            assert found.report.fresh_because == "each frame by itself, as set"


def test_memory_is_bounded_in_number_and_bytes() -> None:
    memories = Memories()
    small = np.zeros((1, 1, 4, 4), np.float32)
    for k in range(3 * MOST_PLACES):
        memories.keep((4, 4), "<u2", context(k, position=str(k)), small, fresh=True)
    assert len(memories) == MOST_PLACES
    last = context(99, position=str(3 * MOST_PLACES - 1))
    assert memories.recall((4, 4), "<u2", last)[0] is small
    # not touched, so it takes no memory
    large = np.zeros((1, 1, 1, MOST_BYTES // 8 + 1), np.float32)
    for k in range(4):
        memories.keep((1, 1), "<u2", context(k, position=f"large {k}"), large, fresh=True)
    assert len(memories) == 1


def test_a_state_of_no_numbers_does_not_last() -> None:
    with NetworkDenoiser(str(NETS / "broken.onnx")) as denoiser:
        for k in range(3):
            found = denoiser.denoise(frame(k), context(k))
            np.testing.assert_array_equal(found.image, frame(k))
        assert found.report is not None
        assert found.report.fresh_because == "state held no numbers"


@pytest.mark.parametrize("shape", [(1, 1), (3, 17), (8, 8), (61, 130)])
def test_any_size_is_taken(shape: tuple[int, int]) -> None:
    pixels = frame(0, 200.0, shape)
    with NetworkDenoiser(str(NETS / "blur.onnx")) as denoiser:
        for k in range(2):
            found = denoiser.denoise(pixels, context(k))
            assert found.image.shape == shape
            assert found.image.mean() == pytest.approx(pixels.mean(), rel=0.1)


def test_large_images_in_tiles_are_as_in_one_piece() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 4000, (2056, 2064), np.uint16)
    with NetworkDenoiser(str(NETS / "blur.onnx")) as denoiser:
        found = denoiser.denoise(pixels, context(0)).exact
    assert found is not None
    line = np.exp(-0.5 * (np.arange(-12, 13) / 4.0) ** 2)
    line /= line.sum()
    rows = np.pad(pixels[:, 1000:1060].astype(float), ((12, 12), (0, 0)), mode="edge")
    rows = sum(w * rows[k : k + 2056] for k, w in enumerate(line))
    inner = sum(w * rows[:, k : k + 36] for k, w in enumerate(line))
    np.testing.assert_allclose(found[:2040, 1012:1048], inner[:2040], rtol=1e-4)


def test_weights_are_swapped_between_frames_and_what_was_seen_is_kept() -> None:
    with NetworkDenoiser(str(NETS / "average.onnx")) as denoiser:
        denoiser.denoise(frame(0), context(0))
        before = denoiser.info.model
        after = denoiser.swap(NETS / "steady.onnx").model
        assert before.startswith("average@")
        assert after.startswith("steady@")
        found = denoiser.denoise(frame(1), context(1))
        np.testing.assert_allclose(found.exact, 0.5 * frame(1) + 0.5 * frame(0), rtol=1e-5)
        assert found.report is not None
        assert found.report.model == denoiser.info.model == after


def test_a_network_with_another_state_starts_afresh() -> None:
    with NetworkDenoiser(str(NETS / "average.onnx")) as denoiser:
        denoiser.denoise(frame(0), context(0))
        denoiser.swap(NETS / "deep.onnx")
        np.testing.assert_array_equal(denoiser.denoise(frame(1), context(1)).image, frame(1))
        third = denoiser.denoise(frame(2), context(2)).exact
        expected = WEIGHT * frame(2) + (1 - WEIGHT) * frame(1)
        np.testing.assert_allclose(third, expected, rtol=1e-5)


def test_what_cannot_be_used_is_refused_and_the_old_weights_go_on(tmp_path: Any) -> None:
    from models.catalog import weights_path

    odd = tmp_path / "odd.onnx"
    odd.write_bytes(weights_path("nuclei").read_bytes())
    odd.with_suffix(".md").write_text("---\nname: odd\ntask: denoise\n---\n", encoding="utf-8")
    torn = tmp_path / "torn.onnx"
    torn.write_bytes((NETS / "average.onnx").read_bytes()[:200])
    torn.with_suffix(".md").write_text("---\nname: torn\ntask: denoise\n---\n", encoding="utf-8")
    with NetworkDenoiser(str(NETS / "average.onnx")) as denoiser:
        denoiser.denoise(frame(0), context(0))
        with pytest.raises(PipelineError, match="is a network to segment, need one to denoise"):
            denoiser.swap(weights_path("nuclei"))
        with pytest.raises(PipelineError, match="need image, state, noise, fresh"):
            denoiser.swap(odd)
        with pytest.raises(EngineError, match=r"cannot load .*torn"):
            denoiser.swap(torn)
        with pytest.raises(PipelineError, match="no model card"):
            denoiser.swap(tmp_path / "none.onnx")
        found = denoiser.denoise(frame(1), context(1))
        expected = WEIGHT * frame(1) + (1 - WEIGHT) * frame(0)
        np.testing.assert_allclose(found.exact, expected, rtol=1e-5)


def test_outside_its_block_it_says_so() -> None:
    denoiser = NetworkDenoiser(str(NETS / "average.onnx"))
    for call in (
        lambda: denoiser.denoise(frame(0), context(0)),
        lambda: denoiser.swap(NETS / "steady.onnx"),
        lambda: denoiser.info,
    ):
        with pytest.raises(EngineError, match="inside a `with` block"):
            call()
    with denoiser:
        denoiser.denoise(frame(0), context(0))
    denoiser.__exit__()
    with pytest.raises(EngineError, match="inside a `with` block"):
        denoiser.denoise(frame(0), context(0))


# in a pipeline

NETWORK = {"kind": "network", "model": str(NETS / "blur.onnx")}
THRESHOLD = {"kind": "threshold", "background": False, "min_area_px": 20, "split": False}


def cell(level: int = 2000) -> np.ndarray:
    image = np.full((64, 64), 100, np.uint16)
    image[20:44, 20:44] = level
    return image


@pytest.mark.parametrize("segment_on", ["raw", "denoised"])
def test_objects_may_be_found_in_either_image_but_counts_are_raw(segment_on: str) -> None:
    settings = {
        "name": "x", "denoise": NETWORK, "segment": THRESHOLD, "segment_on": segment_on,
    }  # fmt: skip
    two = cell()
    two[:, 30:34] = 100  # a gap that a blur of 4 px closes
    with load_pipeline(settings) as pipeline:
        found = pipeline.run(two, context(0))
    assert len(found.objects) == (1 if segment_on == "denoised" else 2)
    assert found.objects["max_intensity"].tolist() == [2000.0] * len(found.objects)
    inside = [two[found.labels == label].mean() for label in found.objects["label"]]
    np.testing.assert_allclose(found.objects["mean_intensity"], inside, rtol=1e-5)
    assert found.denoise is not None
    assert list(found.stage_ms) == ["denoise", "segment", "measure"]


def test_pipeline_names_both_networks_resets_and_swaps() -> None:
    average = {"kind": "network", "model": str(NETS / "average.onnx")}
    both = {"name": "x", "denoise": average, "segment": {"kind": "network", "model": "nuclei"}}
    with load_pipeline(both) as pipeline:
        assert [part.split("@")[0] for part in pipeline.info.model.split(" + ")] == [
            "average", "nuclei",
        ]  # fmt: skip
        assert pipeline.info.name == "onnxruntime"
    with load_pipeline({"name": "x", "denoise": average}) as pipeline:
        assert pipeline.warm_up(SHAPE, "uint16").model.startswith("average@")
        for seq, fresh in enumerate([True, False]):
            report = pipeline.run(frame(seq), context(seq)).denoise
            assert report is not None
            assert report.fresh == fresh
        assert pipeline.swap_denoiser(NETS / "steady.onnx").model.startswith("steady@")
        pipeline.reset()
        report = pipeline.run(frame(2), context(2)).denoise
        assert report is not None
        assert report.fresh_because == "first frame of this place, channel and size"


def test_a_restarted_process_starts_afresh_with_the_image_but_keeps_tracks() -> None:
    settings = {
        "name": "x",
        "denoise": {"kind": "network", "model": str(NETS / "average.onnx")},
        "segment": THRESHOLD,
        "track": {},
    }
    with load_pipeline(settings) as first:
        ids = [first.run(cell(), context(k)).objects["track_id"][0] for k in range(3)]
        state = first.export_state()
    with load_pipeline(settings) as second:
        second.restore_state(state)
        found = second.run(cell(), context(3))
    assert {*ids, found.objects["track_id"][0]} == {1}
    assert found.denoise is not None
    assert found.denoise.fresh


def test_pipelines_without_a_network_have_nothing_to_swap() -> None:
    with load_pipeline({"name": "x", "denoise": {}}) as pipeline:
        with pytest.raises(PipelineError, match="Gaussian, which has no weights"):
            pipeline.swap_denoiser(NETS / "average.onnx")
        assert pipeline.run(frame(0), context(0)).denoise is None
    with (
        load_pipeline({"name": "x", "segment": THRESHOLD}) as pipeline,
        pytest.raises(PipelineError, match="does not denoise"),
    ):
        pipeline.swap_denoiser(NETS / "average.onnx")


@pytest.mark.parametrize(
    ("denoise", "says"),
    [
        pytest.param({"kind": "netwerk"}, "netwerk", id="kind"),
        pytest.param({"kind": "network", "sigma_px": 2}, "sigma_px", id="key-of-the-other"),
        pytest.param({"kind": "network", "max_gap_intervals": 0}, "max_gap_intervals", id="gap"),
        pytest.param(3, "denoise", id="number"),
        pytest.param({"kind": "network", "model": "nuclei"}, "need one to denoise", id="task"),
        pytest.param({"kind": "network", "model": "denoize"}, "no model named", id="name"),
    ],
)
def test_wrong_settings_are_told(denoise: object, says: str) -> None:
    def run() -> None:
        with load_pipeline({"name": "x", "denoise": denoise}):
            raise AssertionError("must not open")

    with pytest.raises(PipelineError, match=says):
        run()


# whole counts


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 30), st.integers(1, 30)),
        elements=st.floats(-5, 70, width=32),
    ),
    st.sampled_from([np.uint8, np.uint16]),
)
@settings(max_examples=60, deadline=None)
def test_whole_counts_are_never_far_off(image: np.ndarray, dtype: type) -> None:
    whole = to_counts(image, np.dtype(dtype))
    assert whole.dtype == dtype
    assert (np.abs(whole - np.maximum(image, 0)) < 1.0 + 1e-4).all()


@pytest.mark.parametrize("level", [0.3, 1.4, 2.49, 5.2, 40.6])
def test_dim_smooth_areas_keep_their_mean(level: float) -> None:
    rng = np.random.default_rng(0)
    image = smooth(rng.normal(level, 0.3, (128, 128)).astype(np.float32), 2.0)
    whole = to_counts(image, np.dtype(np.uint8))
    blocks = (whole - image).reshape(16, 8, 16, 8).sum(axis=(1, 3))
    assert np.abs(blocks).max() <= 0.5 + 1e-3
    assert abs(np.rint(image).mean() - level) > 0.05, "rounding alone would not do"


def test_why_afresh_looks_at_every_field_that_says_what_is_seen() -> None:
    known = {
        "seq", "time_s", "pixel_size_um", "x_um", "y_um", "z_um", "exposure_ms",
        # kept apart by these
        "channel", "position", "epoch",
        # follows from the others
        "px_to_um",
    }  # fmt: skip
    assert {field.name for field in dataclasses.fields(ImageContext)} == known
    assert why_afresh(context(0), context(1)) == ""
