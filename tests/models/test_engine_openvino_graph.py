"""OpenVINO's graph, changed to be faster, gives what it gave."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.engines.openvino_graph import speed_up

ov = pytest.importorskip("openvino", reason="needs the extra parfocal[openvino]")


def compiled(model: Any) -> Any:
    return ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def run(model: Any, *given: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(compiled(model)(list(given))[0]).copy()


def pooled(channels: int, kernel: list[int]) -> Any:
    ops = ov.opset13
    image = ops.parameter([1, channels, -1, -1], np.float32)
    pads = [k // 2 for k in kernel]
    widest = ops.max_pool(image, [1, 1], [1, 1], pads, pads, kernel)
    return ov.Model([widest.output(0)], [image], "pooled")


@pytest.mark.parametrize("window", [3, 9, 11])
@pytest.mark.parametrize("shape", [(16, 48), (37, 5), (1, 1)])
def test_rows_are_widened_alike(window: int, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).normal(size=(1, 1, *shape)).astype(np.float32)
    model = pooled(1, [1, window])
    before = run(model, image)
    assert speed_up(model) == 1
    after = run(model, image)
    assert after.shape == image.shape
    np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize(("channels", "kernel"), [(1, [9, 1]), (4, [1, 9]), (1, [3, 3])])
def test_other_windows_are_left(channels: int, kernel: list[int]) -> None:
    assert speed_up(pooled(channels, kernel)) == 0


def test_values_of_a_list_are_looked_up_alike() -> None:
    ops = ov.opset13
    values = ops.parameter([-1], np.float32)
    at = ops.parameter([-1], np.int64)
    found = ops.gather_elements(values, at, 0)
    model = ov.Model([found.output(0)], [values, at], "looked up")
    dice = np.random.default_rng(0)
    listed, asked = dice.normal(size=50).astype(np.float32), dice.integers(0, 50, 200)
    assert speed_up(model) == 1
    np.testing.assert_array_equal(run(model, listed, asked), listed[asked])


def test_values_of_a_table_are_left() -> None:
    ops = ov.opset13
    values, at = ops.parameter([4, 5], np.float32), ops.parameter([4, 2], np.int64)
    model = ov.Model([ops.gather_elements(values, at, 1).output(0)], [values, at], "table")
    assert speed_up(model) == 0
