"""Drawn colonies and crowded crops: what is drawn is labelled, and nothing is cut or lost."""

from __future__ import annotations

import mahotas
import numpy as np
import pytest

from models.training.segment.colony import draw_colony, draw_rods
from models.training.segment.crowding import box_blur, pale, paste


@pytest.mark.parametrize("seed", range(6))
def test_a_drawn_colony_is_dark_rods_on_bright(seed: int) -> None:
    image, labels = draw_colony(160, 24.0, np.random.default_rng(seed))
    assert image.shape == labels.shape == (160, 160)
    assert np.isfinite(image).all()
    if (labels > 0).sum() > 500:
        assert image[labels > 0].mean() < image[labels == 0].mean()


def test_rods_have_about_the_size_asked_for() -> None:
    sizes = []
    for seed in range(8):
        labels = draw_rods(256, 24.0, np.random.default_rng(seed))
        area = np.bincount(labels.ravel())[1:]
        sizes.append(2 * np.sqrt(np.median(area[area > 50]) / np.pi))
    assert 17 < np.median(sizes) < 31


def test_the_same_seed_draws_the_same_colony() -> None:
    first, second = (draw_colony(96, 20.0, np.random.default_rng(11)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_pasting_keeps_what_was_there() -> None:
    rng = np.random.default_rng(2)
    a, b = draw_colony(128, 20.0, rng), draw_colony(128, 20.0, rng)
    labels = np.where(np.isin(a[1], np.unique(a[1])[:6]), a[1], 0).astype(np.int32)
    image, mixed = paste(a[0], labels, b[0], b[1], rng)
    np.testing.assert_array_equal(mixed[labels > 0], labels[labels > 0])
    np.testing.assert_array_equal(image[labels > 0], a[0][labels > 0])


def test_paling_lifts_bodies_alone() -> None:
    rng = np.random.default_rng(4)
    image, labels = draw_colony(128, 24.0, rng)
    lifted = pale(image, labels, rng)
    np.testing.assert_array_equal(lifted[labels == 0], image[labels == 0])
    assert lifted[labels > 0].mean() >= image[labels > 0].mean()


def test_box_blur_keeps_a_level_and_the_total() -> None:
    level = np.full((20, 30), 3.0, np.float32)
    np.testing.assert_allclose(box_blur(level, 4), level, rtol=1e-6)
    spot = np.zeros((41, 41), np.float32)
    spot[20, 20] = 1.0
    assert box_blur(spot, 3).sum() == pytest.approx(1.0, abs=1e-5)
    assert mahotas.label(box_blur(spot, 3) > 1e-6)[1] == 1
