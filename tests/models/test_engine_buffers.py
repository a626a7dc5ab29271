"""Memory of results is used again, and never under the hands of somebody who holds a result."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.catalog import weights_path
from models.engines import engines_installed, open_engine
from models.engines.buffers import MOST_FREE, ResultBuffers

ENGINES = [name for name in ("onnxruntime", "openvino") if name in engines_installed()]
SHAPE = (192, 256)
"""Of images whose results are large enough to be worth it."""


def test_memory_comes_back_when_the_last_view_goes() -> None:
    buffers = ResultBuffers()
    first = buffers.take((4, 6), np.int32)
    first[:] = 7
    part = first[1:3, ::2].T.view(np.uint32)
    where = first.ctypes.data
    del first
    other = buffers.take((4, 6), np.int32)
    other[:] = 1
    assert (part == 7).all(), "a view lost what it showed"
    assert buffers.allocated == 2
    del part
    gc.collect()
    assert buffers.take((6, 4), np.float32).ctypes.data == where
    assert buffers.allocated == 2


def test_other_ways_to_hold_memory_count_too() -> None:
    buffers = ResultBuffers()
    held = memoryview(buffers.take((8,), np.uint8))
    buffers.take((8,), np.uint8)[:] = 9
    assert buffers.allocated == 2
    del held
    gc.collect()
    buffers.take((8,), np.uint8)
    assert buffers.allocated == 2


def test_memory_of_sizes_that_are_gone_goes_too() -> None:
    buffers = ResultBuffers()
    for side in range(10, 60):
        buffers.take((side, side), np.float32)
        assert len(buffers._free) == 1


@settings(max_examples=20)
@given(st.lists(st.tuples(st.sampled_from([0, 1, 5, 64]), st.booleans()), max_size=24))
def test_no_two_results_share_memory(steps: list[tuple[int, bool]]) -> None:
    buffers = ResultBuffers()
    held: list[np.ndarray] = []
    for number, (length, keep) in enumerate(steps):
        array = buffers.take((length, 2), np.int64)
        array[:] = number
        held.append(array)
        del array
        if not keep:
            held.pop(len(held) // 2)
        assert all(np.unique(one).size <= 1 for one in held), "two results lie over each other"
    assert len({one.ctypes.data for one in held if one.size}) == sum(one.size > 0 for one in held)
    held.clear()
    assert len(buffers._free) <= MOST_FREE
    assert not buffers._held, "what nobody holds is still counted as held"


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_gives_each_result_memory_of_its_own(name: str) -> None:
    rng = np.random.default_rng(0)
    images = [rng.random(SHAPE, np.float32) * (k + 1) for k in range(4)]
    with open_engine(weights_path("nuclei"), name) as engine:
        results = [engine.run({"image": image}) for image in images]
        arrays = [array for result in results for array in result.values()]
        for place, one in enumerate(arrays):
            assert not any(np.shares_memory(one, other) for other in arrays[place + 1 :])
        kept = [{key: value.copy() for key, value in result.items()} for result in results]
        for image in reversed(images):
            engine.run({"image": image})
        for result, copy in zip(results, kept, strict=True):
            for key, value in copy.items():
                np.testing.assert_array_equal(result[key], value)
    # a result outlives its engine
    np.testing.assert_array_equal(results[0]["labels"], kept[0]["labels"])


@pytest.mark.parametrize("name", ENGINES)
def test_frames_of_one_size_allocate_once(name: str) -> None:
    image = np.random.default_rng(1).random(SHAPE, np.float32)
    with open_engine(weights_path("nuclei"), name) as engine:
        for _ in range(5):
            engine.run({"image": image})
        assert engine._buffers.allocated == 2, "labels and probability, once each"
        held = [engine.run({"image": image}) for _ in range(3)]
        assert engine._buffers.allocated == 6
        del held
        engine.run({"image": image})
        assert engine._buffers.allocated == 6


@pytest.mark.parametrize("name", ENGINES)
def test_the_size_of_a_frame_may_change(name: str) -> None:
    rng = np.random.default_rng(2)
    with open_engine(weights_path("nuclei"), name) as engine:
        for shape in (SHAPE, (32, 32), SHAPE, (128, 512)):
            found = engine.run({"image": rng.random(shape, np.float32)})
            assert found["labels"].shape == found["probability"].shape == shape
            assert found["labels"].flags.writeable
