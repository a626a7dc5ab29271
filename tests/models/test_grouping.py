"""Grouping inside the graph against a plain one written independently in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="needs the extra parfocal[train]")

from models.training.segment.gather import Grouping, gather  # noqa: E402
from models.training.segment.net import OFFSET_UNIT_PX  # noqa: E402


def widest(image: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    reach = window // 2
    padded = np.pad(image, reach, constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(padded, (window, window)).max(axis=(2, 3))


def grouped(raw: NDArray[np.float32], how: Grouping) -> NDArray[np.int32]:
    """One centre a window, the last of equals; each pixel walks and takes the centre it is near."""
    heat = raw[1].astype(np.float64)
    inside = 1 / (1 + np.exp(-raw[0])) > how.foreground
    peak = inside & (heat > np.log(how.centre / (1 - how.centre)))
    peak &= heat >= widest(heat, how.window_px)
    place = np.where(peak, np.arange(1.0, heat.size + 1).reshape(heat.shape), 0.0)
    seeds = np.argwhere(peak & (place >= widest(place, how.window_px)))
    number = np.zeros(heat.shape)
    number[seeds[:, 0], seeds[:, 1]] = np.arange(1, len(seeds) + 1)
    near = widest(number, how.reach_px).astype(np.int32)
    labels = np.zeros(heat.shape, np.int32)
    unit, top = np.float32(OFFSET_UNIT_PX), np.array(heat.shape, np.float32) - 1
    for y, x in np.argwhere(inside):
        at = np.array([y, x], np.float32)
        for _ in range(how.hops):
            row, column = np.rint(at).astype(int)
            at = np.clip(at + raw[2:4, row, column] * unit, 0, top)
        row, column = np.rint(at).astype(int)
        labels[y, x] = near[row, column]
    return labels


def both(raw: NDArray[np.float32], how: Grouping) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    labels, _ = gather(torch.from_numpy(raw), how)
    return labels.numpy(), grouped(raw, how)


@pytest.mark.parametrize("seed", range(4))
def test_graph_groups_as_written_in_numpy(seed: int) -> None:
    """Random maps hold every mishap: close peaks, offsets out of the image, pixels of nobody."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(0.0, 1.5, (5, 47, 61)).astype(np.float32)
    ours, reference = both(raw, Grouping())
    assert reference.max() > 5
    np.testing.assert_array_equal(ours, reference)


def test_a_plateau_is_one_object() -> None:
    raw = np.full((5, 48, 48), -9.0, np.float32)
    raw[2:4] = 0.0
    raw[0, 20:27, 20:27] = 9.0
    raw[1, 22:25, 22:25] = 5.0  # nine equal peaks, as low precision makes them
    ours, reference = both(raw, Grouping())
    np.testing.assert_array_equal(ours, reference)
    np.testing.assert_array_equal(np.unique(ours), [0, 1])


def test_more_objects_than_half_precision_can_number() -> None:
    raw = np.full((5, 640, 640), -9.0, np.float32)
    raw[2:4] = 0.0
    raw[0, :, :] = 9.0
    raw[1, 5::12, 5::12] = 5.0
    labels = gather(torch.from_numpy(raw).half(), Grouping())[0].numpy()
    count = len(range(5, 640, 12)) ** 2
    assert count > 2048
    np.testing.assert_array_equal(np.unique(labels), np.arange(count + 1))


@pytest.mark.parametrize("shape", [(16, 2064), (32, 33), (300, 32)])
def test_halves_of_a_row_meet_without_a_seam(shape: tuple[int, int]) -> None:
    """Windows are searched in a left and a right half; centres lie on the line between them."""
    rng = np.random.default_rng(4)
    raw = np.full((5, *shape), -9.0, np.float32)
    raw[0], raw[1], raw[2:4] = 9.0, rng.normal(-2, 1, shape), rng.normal(0, 0.1, (2, *shape))
    middle = shape[1] // 2
    raw[1, :, middle - 5 : middle + 5] = rng.normal(3, 1, (shape[0], 10))
    ours, reference = both(raw, Grouping())
    assert reference.max() > 1
    np.testing.assert_array_equal(ours, reference)
