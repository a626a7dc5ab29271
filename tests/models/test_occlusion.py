"""Occlusion maps: they find what an answer rests on, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.errors import ImageError
from models.tasks.explain import (
    best_match,
    best_overlap,
    class_occlusion,
    object_occlusion,
    patches_of,
)


def spot_detector(crops: NDArray[np.float32]) -> NDArray[np.float64]:
    """Class 1 by the light of one place in the first channel."""
    seen = crops[:, 0, 20:24, 8:12].mean(axis=(1, 2))
    return np.stack([1 - seen, seen], axis=1)


def test_the_map_of_a_class_points_at_what_it_rests_on() -> None:
    crop = np.ones((2, 32, 32), np.float32)
    loss = class_occlusion(crop, spot_detector, 1, patch_px=4, step_px=2)
    y, x = np.unravel_index(loss.argmax(), loss.shape)
    assert 20 <= y < 24
    assert 8 <= x < 12
    assert loss[:16].max() == 0
    # what speaks for one class speaks against the other
    other = class_occlusion(crop, spot_detector, 0, patch_px=4, step_px=2)
    np.testing.assert_allclose(other, -loss, atol=1e-6)


def test_a_channel_can_be_left_alone() -> None:
    crop = np.ones((2, 32, 32), np.float32)
    assert class_occlusion(crop, spot_detector, 1, np.array([np.nan, 0.0])).max() == 0
    assert class_occlusion(crop, spot_detector, 1, np.array([0.0, np.nan])).max() > 0


def test_the_crop_itself_is_not_changed() -> None:
    crop = np.ones((1, 16, 16), np.float32)
    class_occlusion(crop, lambda crops: crops.mean(axis=(2, 3)), 0)
    assert (crop == 1).all()


def two_discs() -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    y, x = np.indices((64, 64))
    first = (y - 20) ** 2 + (x - 20) ** 2 < 64
    second = (y - 48) ** 2 + (x - 48) ** 2 < 64
    return (first | second).astype(np.float32) * 100, first


def by_halves(image: NDArray[np.float32]) -> NDArray[np.int32]:
    labels = (image > 50).astype(np.int32)
    labels[32:] *= 2
    return labels


def test_the_map_of_an_object_lies_on_it() -> None:
    image, mask = two_discs()
    loss = object_occlusion(image, by_halves, mask, 0.0, patch_px=8, step_px=4)
    assert loss[mask].mean() > 0.2
    assert loss[40:, 40:].max() == 0
    assert 0 <= loss.min() <= loss.max() <= 1


def test_overlaps_with_a_mask() -> None:
    _, mask = two_discs()
    labels = np.where(mask, 3, 0).astype(np.int32)
    assert best_overlap(labels, mask) == 1.0
    assert best_match(labels, mask) == 3
    assert best_overlap(np.zeros_like(labels), mask) == 0.0
    assert best_match(np.zeros_like(labels), mask) == 0


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 12), st.integers(1, 12))
def test_patches_cover_everything(height: int, width: int, patch: int, step: int) -> None:
    seen = np.zeros((height, width), bool)
    for place in patches_of((height, width), max(patch, step), step):
        assert seen[place].size
        seen[place] = True
    assert seen.all()


def test_what_cannot_be_covered_is_refused() -> None:
    with pytest.raises(ImageError, match="step_px is 9"):
        list(patches_of((8, 8), 4, 9))
    with pytest.raises(ImageError, match="channels"):
        class_occlusion(np.zeros((8, 8), np.float32), spot_detector, 0)
    with pytest.raises(ImageError, match="both be one"):
        object_occlusion(np.zeros((8, 8), np.float32), by_halves, np.zeros((4, 4), bool), 0.0)
