"""The guard round engines, the steps that follow a fault, and smaller tiles."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models import ImageContext, PipelineSettings, load_pipeline
from models.catalog import weights_path
from models.engines import open_engine
from models.engines.faults import IN_A_ROW, REOPENINGS, Ladder, Step, fault_name, typed
from models.engines.guarded import ROWS_EACH, SEGMENTS, WHOLE_VALUES, guarded, is_finite
from models.engines.onnxruntime import OnnxRuntimeEngine
from models.errors import (
    EngineDeviceLost,
    EngineError,
    EngineFileError,
    EngineOutOfMemory,
    EngineShapeError,
    EngineValueError,
    EngineVersionError,
    ImageError,
)
from models.fallback import on_fallback
from models.settings import NetworkSettings
from models.tasks.tilesize import TileSize
from tests import faulty_engine

IMAGE = {"image": np.random.default_rng(1).poisson(100, (64, 64)).astype(np.float32)}


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Installs the plug-in and gives a function that writes its plan."""
    monkeypatch.syspath_prepend(str(faulty_engine.install(tmp_path)))
    monkeypatch.setenv(faulty_engine.VARIABLE, str(tmp_path))
    return lambda **plan: (tmp_path / "FAULTS.json").write_text(json.dumps(plan))


def opened():
    return guarded(open_engine(weights_path("nuclei"), "plugin:faulty"), SEGMENTS)


@pytest.mark.parametrize(
    ("plan", "error"),
    [
        pytest.param({"nan": [1]}, EngineValueError, id="no numbers"),
        pytest.param({"shape": [1]}, EngineShapeError, id="another shape"),
        pytest.param({"missing": [1]}, EngineShapeError, id="an output less"),
        pytest.param({"too_large": 100}, EngineOutOfMemory, id="out of memory"),
        pytest.param({"lost": [1]}, EngineDeviceLost, id="device lost"),
        pytest.param({"foreign": [1]}, EngineError, id="something of its own"),
    ],
)
def test_a_fault_is_named(faulty, plan: dict, error: type[EngineError]) -> None:
    faulty(**plan)
    with opened() as engine:
        with pytest.raises(error) as caught:
            engine.run(IMAGE)
        assert type(caught.value) is error
        if error is EngineDeviceLost:
            with pytest.raises(EngineDeviceLost):
                engine.run(IMAGE)
        elif "too_large" not in plan:
            assert engine.run(IMAGE)["labels"].shape == (64, 64)


def test_a_good_answer_comes_through_as_it_is(faulty) -> None:
    faulty()
    path = weights_path("nuclei")
    with opened() as engine, OnnxRuntimeEngine(path) as bare:
        for name, array in bare.run(IMAGE).items():
            np.testing.assert_array_equal(engine.run(IMAGE)[name], array)
        assert engine.info == bare.info
        assert engine.inputs == bare.inputs
        assert engine.shapes == bare.shapes


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        pytest.param(lambda data: data[: len(data) // 2], EngineFileError, id="cut short"),
        pytest.param(lambda data: b"not a model" * 100, EngineFileError, id="no model"),
        pytest.param(lambda data: data[:1] + b"\x7f" + data[2:], EngineVersionError, id="version"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, damage, error: type[EngineError]) -> None:
    whole = weights_path("nuclei").read_bytes()
    assert whole[0] == 8  # the version of the format comes first
    (tmp_path / "nuclei.onnx").write_bytes(damage(whole))
    with pytest.raises(error), guarded(OnnxRuntimeEngine(tmp_path / "nuclei.onnx"), SEGMENTS):
        pass


def test_an_image_of_another_rank_is_a_wrong_shape() -> None:
    with (
        guarded(OnnxRuntimeEngine(weights_path("nuclei")), SEGMENTS) as engine,
        pytest.raises(EngineShapeError),
    ):
        engine.run({"image": np.zeros((1, 2, 64, 64), np.float32)})


def test_an_engine_that_is_not_installed_says_how() -> None:
    with pytest.raises(EngineError, match=r"no engine plug-in named 'absent'.*parfocal\.engines"):
        open_engine(weights_path("nuclei"), "plugin:absent")


def test_settings_take_plug_ins_by_their_prefix_alone() -> None:
    assert NetworkSettings(model="nuclei", engine="plugin:mine").engine == "plugin:mine"
    for wrong in ("mine", "plugin:", "plugin:a b", 3):
        with pytest.raises(ValidationError, match="onnxruntime"):
            NetworkSettings(model="nuclei", engine=wrong)


@settings(max_examples=30)
@given(st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(0, 999), st.integers(0, 999))
def test_one_value_that_is_no_number_is_seen(value: float, y: int, x: int) -> None:
    small = np.ones((100, 100), np.float32)
    small[y % 100, x % 100] = value
    assert not is_finite(small)


def test_of_a_large_answer_every_row_is_seen_within_some_frames() -> None:
    large = np.ones((1100, 1000), np.float32)
    assert large.size > WHOLE_VALUES
    assert all(is_finite(large, turn) for turn in range(ROWS_EACH))
    large[517, 3] = np.nan
    assert [is_finite(large, turn) for turn in range(ROWS_EACH)].count(False) == 1


def test_large_numbers_are_numbers() -> None:
    assert is_finite(np.full((10, 10), 3e38, np.float32))
    assert is_finite(np.full((10, 10), 6e4, np.float16))


def test_words_of_other_engines_are_understood() -> None:
    assert fault_name(typed(RuntimeError("CUDA out of memory. Tried"), "x")) == "out_of_memory"
    assert fault_name(typed(MemoryError(), "x")) == "out_of_memory"
    assert fault_name(typed(RuntimeError("an illegal memory access"), "x")) == "device_lost"
    assert fault_name(typed(RuntimeError("why not"), "x")) == "engine"
    assert fault_name(ImageError("not ours")) == ""


@settings(max_examples=50)
@given(st.lists(st.booleans(), max_size=60))
def test_the_ladder_ends_only_after_all_its_steps(frames: list[bool]) -> None:
    ladder, steps, row = Ladder(), [], 0
    for good in frames:
        if good:
            ladder.answered()
            row = 0
            continue
        row += 1
        step = ladder.failed(EngineValueError("nan"))
        assert (step is Step.SKIP) == (row % IN_A_ROW != 0)
        steps.append(step)
        if step is Step.END:
            assert steps.count(Step.REOPEN) == REOPENINGS
            return
    assert steps.count(Step.REOPEN) <= REOPENINGS


def test_a_lost_device_needs_a_new_process_at_once_and_an_odd_image_nothing() -> None:
    assert Ladder().failed(EngineDeviceLost("gone")) is Step.END
    ladder = Ladder()
    assert {ladder.failed(ImageError("float")) for _ in range(50)} == {Step.SKIP}


@settings(max_examples=50)
@given(st.integers(16, 8192))
def test_tiles_shrink_until_they_fit_and_then_say_so(side: int) -> None:
    sizes = [TileSize()]

    def shrink() -> None:
        while len(sizes) < 20:
            sizes.append(sizes[-1].smaller(EngineOutOfMemory("full"), side * side))

    with pytest.raises(EngineOutOfMemory, match="close what else"):
        shrink()
    above = [side * side, *(size.above_px for size in sizes[1:])]
    assert above == sorted(set(above), reverse=True)
    assert all(math.isqrt(size.above_px) > size.core_px >= 128 for size in sizes[1:])


def test_labels_in_smaller_tiles_are_those_of_the_whole_image(faulty) -> None:
    y, x = np.indices((448, 448))
    cells = ((y % 56 - 28) ** 2 + (x % 56 - 28) ** 2 < 160) * 400
    pixels = np.random.default_rng(3).poisson(cells + 60).astype(np.uint16)

    def labels(engine: str) -> tuple[np.ndarray, str]:
        segment = {"kind": "network", "model": "nuclei", "engine": engine}
        with load_pipeline({"name": "n", "segment": segment}) as pipeline:
            found = pipeline.run(pixels, ImageContext(seq=0, time_s=0.0)).labels
            return found, pipeline.info.device

    faulty(too_large=350**2)
    (tiled, device), (whole, plain) = labels("plugin:faulty"), labels("onnxruntime")
    assert "tiles of 128 px" in device
    assert "tiles" not in plain
    assert tiled.max() == whole.max() >= 60
    assert np.mean((tiled > 0) != (whole > 0)) < 0.005


def test_the_fallback_changes_engines_and_nothing_else() -> None:
    asked = PipelineSettings.model_validate(
        {
            "name": "n",
            "denoise": {"kind": "network", "engine": "openvino", "precision": "bf16"},
            "segment": {"kind": "network", "model": "nuclei", "engine": "tensorrt"},
            "fallback": "onnxruntime",
        }
    )
    found = on_fallback(asked)
    assert found.denoise.engine == found.segment.engine == "onnxruntime"
    assert found.denoise.precision == "fp32"
    assert found.segment.model == "nuclei"
    alone = asked.model_copy(update={"fallback": None})
    assert on_fallback(alone) is alone
