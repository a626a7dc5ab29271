"""One engine for several pipelines and threads, with real networks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile

from models import ImageContext, load_pipeline
from models.catalog import weights_path
from models.engines import open_engine
from models.engines.base import Arrays
from models.engines.members import Member
from models.engines.onnxruntime import OnnxRuntimeEngine
from models.engines.shared import CAPACITY, SharedEngine
from models.errors import EngineDeviceLost, EngineError
from models.settings import ShareSettings

CPU = ("onnxruntime", "fp32", 1)
SHARE = ShareSettings(most=4, budget_ms=200)
MOVIE = Path(__file__).parents[1] / "data" / "ecoli" / "01"
RNG = np.random.default_rng(5)


def crops(count: int) -> dict[str, np.ndarray]:
    windows = RNG.normal(size=(count, 3, 32, 32)).astype(np.float32)
    return {"windows": windows, "context": RNG.normal(size=(count, 3)).astype(np.float32)}


def image(side: int = 64) -> dict[str, np.ndarray]:
    return {"image": RNG.poisson(100, (side, side)).astype(np.float32)}


class Slow(OnnxRuntimeEngine):
    """ONNX Runtime that waits to be let go, tells its calls and can lose its device."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gate = threading.Event()
        self.seen: list[tuple[int, ...]] = []
        self.threads: set[int] = set()
        self.lost = False

    def run(self, inputs) -> Arrays:
        assert self.gate.wait(10)
        self.threads.add(threading.get_ident())
        self.seen.append(next(iter(inputs.values())).shape)
        if self.lost:
            raise EngineDeviceLost("the device is gone")
        return super().run(inputs)


def test_requests_of_several_members_run_as_one_and_go_back_to_the_right_one() -> None:
    engine = Slow(weights_path("phases"))
    asked = [crops(n) for n in (16, 3, 32)]
    with OnnxRuntimeEngine(weights_path("phases")) as bare:
        alone = [bare.run(one)["probability"] for one in asked]
    with SharedEngine(engine, SHARE, stacked=True) as shared:
        assert "up to 4 requests together within 200 ms" in shared.info.device
        first = shared.ask(shared.join(), crops(2))  # keeps the engine busy meanwhile
        pending = [shared.ask(shared.join(), one) for one in asked]
        engine.gate.set()
        assert len(shared.result(first)["probability"]) == 2
        for one, expected in zip(pending, alone, strict=True):
            found = shared.result(one)["probability"]
            assert found.base is None
            np.testing.assert_allclose(found, expected, atol=1e-5)
    assert sorted(n for n, *_ in engine.seen) in ([2, 51], [53])
    assert len(engine.threads) == 1
    assert engine.threads != {threading.get_ident()}


def test_networks_of_one_image_run_one_after_another_and_wait_for_nobody() -> None:
    engine = Slow(weights_path("nuclei"))
    asked = [image(64), image(48), image(64)]
    with OnnxRuntimeEngine(weights_path("nuclei")) as bare:
        alone = [bare.run(one)["labels"] for one in asked]
    with SharedEngine(engine, ShareSettings(budget_ms=1000), stacked=True) as shared:
        assert "one after another" in shared.info.device
        pending = [shared.ask(shared.join(), one) for one in asked]
        engine.gate.set()
        for one, expected in zip(pending, alone, strict=True):
            np.testing.assert_array_equal(shared.result(one)["labels"], expected)
    assert sorted(engine.seen) == [(48, 48), (64, 64), (64, 64)]


def test_what_one_asks_wrongly_is_that_ones_error() -> None:
    engine = Slow(weights_path("phases"))
    wrong = {**crops(4), "context": np.zeros((3, 3), np.float32)}
    with SharedEngine(engine, SHARE, stacked=True) as shared:
        pending = [shared.ask(shared.join(), one) for one in (crops(2), wrong, crops(5))]
        pending.append(shared.ask(shared.join(), {"windows": crops(1)["windows"]}))
        engine.gate.set()
        assert len(shared.result(pending[0])["probability"]) == 2
        assert len(shared.result(pending[2])["probability"]) == 5
        for one in (pending[1], pending[3]):
            with pytest.raises(EngineError, match="failed"):
                shared.result(one)


def test_a_stream_that_asks_too_often_loses_its_own_oldest() -> None:
    engine = Slow(weights_path("phases"))
    with SharedEngine(engine, SHARE, stacked=True) as shared:
        busy, quiet = shared.join(), shared.join()
        last = shared.ask(quiet, crops(1))
        flood = [shared.ask(busy, crops(1)) for _ in range(CAPACITY + 8)]
        assert 0 < shared.dropped <= 10
        lost = shared.dropped
        engine.gate.set()
        assert len(shared.result(last)["probability"]) == 1
        gave_way = 0
        for one in flood:
            try:
                shared.result(one)
            except EngineError as error:
                gave_way += "gave way" in str(error)
        assert gave_way == lost


def test_a_lost_device_is_told_to_all_and_nobody_joins_it() -> None:
    engine = Slow(weights_path("phases"))
    engine.lost = True
    with SharedEngine(engine, SHARE, stacked=True) as shared:
        pending = [shared.ask(shared.join(), crops(n)) for n in (1, 2)]
        engine.gate.set()
        for one in pending:
            with pytest.raises(EngineDeviceLost):
                shared.result(one)
        assert shared.lost
        with pytest.raises(EngineDeviceLost):
            shared.ask(1, crops(1))


def test_closing_answers_those_who_wait_with_an_error() -> None:
    engine = Slow(weights_path("phases"))
    with SharedEngine(engine, SHARE, stacked=True) as shared:
        running, waiting = shared.join(), shared.join()
        held = shared.ask(running, crops(1))
        pending = shared.ask(waiting, crops(1))
        shared.leave(waiting)
        engine.gate.set()
    for one in (held, pending):
        assert one.done.is_set()
    with pytest.raises(EngineError, match="closed"):
        shared.ask(running, crops(1))


def test_members_load_a_network_once_and_the_last_one_closes_it() -> None:
    path = weights_path("nuclei")
    with Member(path, CPU, SHARE) as first:
        with Member(path, CPU, SHARE) as second:
            assert first.shared is second.shared
            told = (first.shared.info, first.shared.inputs, first.shared.shapes)
            assert (second.info, second.inputs, second.shapes) == told
        with Member(path, CPU, ShareSettings(most=2)) as other:
            assert other.shared is not first.shared
        with pytest.raises(EngineError, match="not open"):
            second.run(image())
        with pytest.raises(EngineError, match="not open"):
            _ = second.info
        assert first.run(image())["labels"].shape == (64, 64)
    assert first.__exit__() is None
    with Member(path, CPU, SHARE) as again:
        assert again.run(image())["labels"].shape == (64, 64)


def test_a_file_that_cannot_be_opened_says_so_to_each(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no network")
    for _ in range(2):
        with pytest.raises(EngineError, match="broken"), Member(broken, CPU, SHARE):
            pass


SHARED = {
    "name": "shared",
    "segment": {"kind": "network", "model": "bacteria", "share": {}},
    "classify": {"share": {"budget_ms": 5}},
    "track": {},
}


def test_two_pipelines_in_two_threads_find_what_each_finds_alone() -> None:
    images = [tifffile.imread(f)[100:356, 150:406] for f in sorted(MOVIE.glob("t*.tif"))[:3]]
    movies = {"left": images, "right": [one[:, ::-1].copy() for one in images]}
    own = {**SHARED, "segment": {**SHARED["segment"]}, "classify": {}}
    del own["segment"]["share"]

    def run(settings: dict, frames: list[np.ndarray], ready: Callable[[], object] = int) -> list:
        with load_pipeline(settings) as pipeline:
            ready()
            return [pipeline.run(f, ImageContext(t, float(t))) for t, f in enumerate(frames)]

    both = threading.Barrier(2, timeout=30)
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda frames: run(SHARED, frames, both.wait), movies.values()))
    for results, frames in zip(together, movies.values(), strict=True):
        for a, b in zip(results, run(own, frames), strict=True):
            np.testing.assert_array_equal(a.labels, b.labels)
            np.testing.assert_array_equal(a.objects["track_id"], b.objects["track_id"])
            np.testing.assert_array_equal(a.objects["class_id"], b.objects["class_id"])
            assert len(a.objects) > 3


def test_what_nobody_shares_is_opened_as_it_was() -> None:
    from models.engines.members import engine_for

    path = weights_path("phases")
    assert type(engine_for(path, CPU)) is type(open_engine(path, *CPU))
