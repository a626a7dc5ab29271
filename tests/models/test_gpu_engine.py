"""The adapter and the hot path of TensorRT, on a device that is as late as CUDA may be.

These show that frames get their own results whatever the order, that memory comes back, and that
faults end as the errors they are. That CUDA and TensorRT take the calls they cannot show; see
`late_gpu`.
"""

from __future__ import annotations

import gc
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from late_gpu import LateGpu, OrtPlan

from models.catalog import weights_path
from models.engines import Engine, open_engine
from models.engines.trt.build import Built, Layer
from models.engines.trt.cache import EngineCache, EngineKey
from models.engines.trt.engine import TensorRtEngine, write_ahead
from models.engines.trt.flavours import RTX, Flavour
from models.engines.trt.hotpath import LANES, HotPath
from models.engines.trt.lending import MOST_OF_A_SIZE
from models.engines.trt.sizes import Sizes
from models.errors import (
    EngineDeviceLost,
    EngineError,
    EngineOutOfMemory,
    EngineShapeError,
    EngineValueError,
    EngineVersionError,
)

PHASES, NUCLEI = weights_path("phases"), weights_path("nuclei")


class Rig:
    """An engine on a late GPU, and counts of what it did to get there."""

    def __init__(self, folder: Path, path: Path = PHASES) -> None:
        self.path, self.gpu = path, LateGpu()
        self.cache = EngineCache(folder / "cache")
        self.built: list[Any] = []
        self.loaded: list[bytes] = []
        self.jit: list[bytes | None] = []
        self.scale, self.can_capture, self.refuse = 1.0, True, 0
        self.precision, self.version = "float32", "1.0"

    def engine(self, precision: str = "fp32") -> TensorRtEngine:
        return TensorRtEngine(
            self.path,
            precision,
            RTX,
            cache=self.cache,
            open_gpu=lambda: self.gpu,
            load=self._load,
            build=self._build,
            version=lambda _: self.version,
        )

    def _load(self, _: Flavour, content: bytes, jit: bytes | None) -> OrtPlan:
        self.loaded.append(content)
        self.jit.append(jit)
        if self.refuse:
            self.refuse -= 1
            raise EngineVersionError("made elsewhere")
        plan = OrtPlan(self.gpu, self.path)
        plan.scale, plan.can_capture = self.scale, self.can_capture
        return plan

    def _build(self, _: Path, **how: Any) -> Built:
        self.built.append(how)
        layers = (Layer("one", "convolution", self.precision),)
        sizes, targets = how["shapes"], how["capabilities"]
        name = b"engine %d" % len(self.built)
        return Built(name, (), (), layers, how["flavour"], "1.0", targets, sizes)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def crops(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    return {
        "windows": draw.random((n, 3, 32, 32), np.float32),
        "context": draw.random((n, 3), np.float32),
    }


@cache
def reference(path: Path) -> Engine:
    return open_engine(path).__enter__()


def expected(feeds: dict[str, np.ndarray], path: Path = PHASES) -> dict[str, np.ndarray]:
    return reference(path).run(feeds)


def same(found: dict[str, np.ndarray], feeds: dict[str, np.ndarray]) -> None:
    for name, array in expected(feeds).items():
        np.testing.assert_allclose(found[name], array, atol=1e-6)


def test_results_are_those_of_the_network(rig: Rig) -> None:
    with rig.engine() as engine:
        assert engine.info.name == "tensorrt-rtx"
        assert engine.info.precision == "fp32"
        assert engine.info.device == "Test board, cc 8.6, driver 1.0"
        assert engine.info.model.startswith("phases@")
        assert engine.inputs == ("windows", "context")
        for seed, n in enumerate((4, 7, 4, 1, 7)):
            same(engine.run(crops(n, seed)), crops(n, seed))
    with pytest.raises(EngineError, match="not open"):
        engine.run(crops(4))
    engine.__exit__()
    assert rig.gpu.used == 0, "memory was not given back"
    assert rig.gpu.open["stream"] == rig.gpu.open["event"] == rig.gpu.open["graph"] == 0


def test_an_image_goes_through_with_the_input_left_out(tmp_path: Path) -> None:
    rig = Rig(tmp_path, NUCLEI)
    image = np.random.default_rng(1).random((48, 64), np.float32)
    with rig.engine() as engine:
        found = engine.run({"image": image})
    for name, array in expected({"image": image}, NUCLEI).items():
        np.testing.assert_array_equal(found[name], array)


def test_an_image_of_too_many_pixels_to_sort_is_refused(tmp_path: Path) -> None:
    refused = pytest.raises(EngineShapeError, match=r"nuclei\.onnx.*at most 6100000 pixels")
    with Rig(tmp_path, NUCLEI).engine() as engine, refused:
        engine.run({"image": np.zeros((2480, 2480), np.float32)})


def test_two_frames_under_way_do_not_mix(rig: Rig) -> None:
    with rig.engine() as engine:
        first = engine.submit(crops(4, 1))
        for seed in range(2, 8):
            second = engine.submit(crops(4, seed))
            same(engine.collect(first), crops(4, seed - 1))
            first = second
        third = engine.submit(crops(4, 99))
        with pytest.raises(EngineError, match="under way"):
            engine.submit(crops(4, 100))
        other = engine.submit(crops(5, 3))  # of another size there is room
        same(engine.collect(third), crops(4, 99))
        same(engine.collect(first), crops(4, 7))
        same(engine.collect(other), crops(5, 3))
        with pytest.raises(EngineError, match="collected before"):
            engine.collect(other)


def test_inputs_may_change_once_submitted(rig: Rig) -> None:
    with rig.engine() as engine:
        feeds = crops(4, 1)
        ticket = engine.submit(feeds)
        feeds["windows"][:] = -1
        same(engine.collect(ticket), crops(4, 1))


def test_results_belong_to_the_caller_however_many_are_kept(rig: Rig) -> None:
    with rig.engine() as engine:
        kept = [engine.run(crops(3, seed)) for seed in range(MOST_OF_A_SIZE + 6)]
        views = [found["probability"][1:] for found in kept]
        copies = [found["probability"].copy() for found in kept]
        del kept
        gc.collect()
        for seed in range(50, 70):
            engine.run(crops(3, seed))
        for part, copy in zip(views, copies, strict=True):
            np.testing.assert_array_equal(part, copy[1:])
    for part, copy in zip(views, copies, strict=True):
        np.testing.assert_array_equal(part, copy[1:], "closing took a result away")
    del views, part
    gc.collect()
    assert rig.gpu.used == 0


def test_a_frame_allocates_nothing_and_replays_a_graph(rig: Rig) -> None:
    with rig.engine() as engine:
        for seed in range(3):
            engine.run(crops(4, seed))
        before = dict(rig.gpu.calls)
        for seed in range(10):
            engine.run(crops(4, seed))
        after = rig.gpu.calls
    assert after["memory"] == before["memory"]
    assert after["host_memory"] == before["host_memory"]
    assert after["enqueue"] == before["enqueue"], "a graph holds the run"
    assert after["launch"] == before["launch"] + 10


@pytest.mark.parametrize("how", ["refused", "fails"])
def test_where_nothing_can_be_captured_it_runs_and_says_so(rig: Rig, how: str) -> None:
    if how == "refused":
        rig.can_capture = False
    else:
        for n in range(1, 9):
            rig.gpu.faults["end_capture", n] = EngineError("the stream may not be captured")
    with rig.engine() as engine:
        same(engine.run(crops(4)), crops(4))
        assert "no CUDA graph: the" in engine.info.device
        assert not rig.gpu.calls["launch"]
    rig.gpu.faults.clear()  # an error that was raised holds what its frames held
    gc.collect()
    assert rig.gpu.used == 0


def test_many_sizes_do_not_pile_up(rig: Rig) -> None:
    with rig.engine() as engine:
        engine.run(crops(1))
        used = []
        for n in range(1, 4 * LANES):
            same(engine.run(crops(n, n)), crops(n, n))
            used.append(rig.gpu.used / n)
        assert used[-1] < LANES * used[0]
    assert rig.gpu.used == 0


def test_no_memory_is_said_and_smaller_goes_on(rig: Rig) -> None:
    rig.gpu = LateGpu(most_bytes=3_000_000)
    with rig.engine() as engine:
        same(engine.run(crops(8)), crops(8))
        with pytest.raises(EngineOutOfMemory, match=r"phases\.onnx"):
            engine.run(crops(200))
        same(engine.run(crops(8)), crops(8))
    assert rig.gpu.used == 0


def test_other_sizes_make_room_first(rig: Rig) -> None:
    rig.gpu = LateGpu(most_bytes=3_000_000)
    with rig.engine() as engine:
        for n in (20, 21, 22, 23, 24, 25):  # each takes about a million
            same(engine.run(crops(n, n)), crops(n, n))
    assert rig.gpu.used == 0


@pytest.mark.parametrize("where", ["finish", "launch", "copy"])
def test_a_lost_gpu_is_named_and_left(rig: Rig, where: str) -> None:
    with rig.engine() as engine:
        engine.run(crops(4))
        rig.gpu.faults[where, rig.gpu.calls[where] + 1] = EngineDeviceLost("fell off the bus")
        with pytest.raises(EngineDeviceLost, match=r"phases\.onnx.*fell off the bus"):
            engine.run(crops(4))
    assert rig.gpu.used == 0


def test_values_that_are_not_numbers_do_not_start(rig: Rig) -> None:
    rig.scale = float("nan")
    with pytest.raises(EngineValueError, match="not numbers"), rig.engine():
        pass
    assert rig.gpu.used == 0


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"windows": crops(4)["windows"]}, "'context' is missing"),
        ({**crops(4), "limits": np.zeros(2, np.float32)}, "no input named 'limits'"),
        (crops(300), r"built for \(1, 3, 32, 32\) to \(256, 3, 32, 32\)"),
    ],
    ids=["missing", "unknown", "too many"],
)
def test_wrong_inputs_are_named(rig: Rig, feeds: dict[str, np.ndarray], message: str) -> None:
    with rig.engine() as engine:
        with pytest.raises(EngineShapeError, match=message):
            engine.run(feeds)
        same(engine.run(crops(4)), crops(4))


def test_state_that_stays_on_the_gpu_is_the_state(tmp_path: Path) -> None:
    gpu = LateGpu()
    plan = OrtPlan(gpu, weights_path("denoise"))
    draw = np.random.default_rng(3)
    images = draw.random((4, 1, 1, 32, 40), np.float32) * 100
    fixed = {"noise": np.array([1, 5, 0], np.float32), "fresh": np.zeros(1, np.float32)}
    state = np.zeros((1, 3, 32, 40), np.float32)
    carried: list[np.ndarray] = []
    hot = HotPath(gpu, plan, {"state": "state_out"})
    for index, image in enumerate(images):
        feeds = {"image": image, **fixed} | ({} if index else {"state": state})
        ticket = hot.submit(feeds, wanted=("denoised",))
        carried.append(hot.collect(ticket)["denoised"].copy())
    hot.close()
    with open_engine(weights_path("denoise")) as engine:
        for image, got in zip(images, carried, strict=True):
            found = engine.run({"image": image, "state": state, **fixed})
            state = found["state_out"]
            np.testing.assert_allclose(got, found["denoised"], rtol=1e-5, atol=1e-4)


def test_the_second_start_takes_what_was_kept(rig: Rig) -> None:
    with rig.engine() as engine:
        assert "not built yet" in engine.origin
        engine.run(crops(5))
    with rig.engine() as engine:
        assert engine.origin == "kept"
        same(engine.run(crops(5)), crops(5))
    assert len(rig.built) == 1
    assert rig.built[0]["capabilities"] == ("8.6",)
    assert rig.jit == [None, b"compiled for 2 shapes"]


@pytest.mark.parametrize("what", ["version", "damage", "refused"])
def test_what_was_kept_is_built_again_where_it_does_not_fit(rig: Rig, what: str) -> None:
    with rig.engine():
        pass
    (path,) = rig.cache.folder.glob("*.engine")
    if what == "version":
        rig.version = "2.0"
        reason = "flavour_version '1.0', here it is '2.0'"
    elif what == "damage":
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        reason = "damaged"
    else:
        rig.refuse, reason = 1, "made elsewhere"
    with rig.engine() as engine:
        assert reason in engine.origin
    assert len(rig.built) == 2
    assert rig.loaded[-1] == b"engine 2"


def test_an_engine_beside_the_model_goes_first(rig: Rig, tmp_path: Path) -> None:
    rig.path = tmp_path / "phases.onnx"
    rig.path.write_bytes(PHASES.read_bytes())
    layers = (Layer("one", "convolution", "float32"),)
    built = Built(b"ahead", (), (), layers, "tensorrt-rtx", "1.0", ("8.6", "8.9"), Sizes())
    assert write_ahead(rig.path, built) == tmp_path / "phases.tensorrt-rtx.engine"
    with rig.engine() as engine:
        assert engine.origin == "beside the model"
    assert rig.loaded == [b"ahead"]
    rig.gpu.info = LateGpu(capability="12.0").info  # it is not for this GPU
    with rig.engine() as engine:
        assert engine.origin.startswith("built")


def test_a_file_of_another_precision_is_refused_with_the_command(rig: Rig) -> None:
    with pytest.raises(EngineError, match=r"parfocal models build phases .*--precision fp16"):
        rig.engine("fp16").__enter__()
    with pytest.raises(EngineError, match="fp32 or fp16 or bf16 or int8"):
        rig.engine("fp64")
    rig.precision = "float16"
    with rig.engine("fp16") as engine:
        assert engine.info.precision == "fp16"


def test_a_gpu_of_another_kind_is_refused_with_what_to_install(rig: Rig) -> None:
    rig.gpu = LateGpu(capability="9.0")
    with pytest.raises(EngineError, match=r"9\.0.*tensorrt-cu13.*set engine to tensorrt$"):
        rig.engine().__enter__()
    assert rig.gpu.open["closed"] == 1


def test_a_disk_that_is_full_costs_only_the_next_start(
    rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with rig.engine() as engine:
        same(engine.run(crops(4)), crops(4))
    assert "PARFOCAL_CACHE" in caplog.text


def test_no_gpu_is_said_in_words() -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs the extra parfocal[gpu]")
    from models.engines.trt.cuda import driver_present

    if driver_present():
        pytest.skip("this machine has a GPU's driver")
    with pytest.raises(EngineError, match=r"no NVIDIA GPU driver.*set engine"):
        open_engine(PHASES, "tensorrt-rtx").__enter__()


def test_the_key_of_the_cache_is_what_the_engine_depends_on(rig: Rig) -> None:
    with rig.engine():
        pass
    from models.engines.trt.cache import key_of

    (path,) = rig.cache.folder.glob("*.engine")
    key = key_of(path)
    assert isinstance(key, EngineKey)
    assert (key.flavour, key.flavour_version, key.precision) == ("tensorrt-rtx", "1.0", "fp32")
    assert (key.gpu, key.capability, key.driver) == ("Test board", "8.6", "1.0")
