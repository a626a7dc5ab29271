"""Drawing of cells: outlines, light and labels agree, wherever a body lies."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.simulated.bodies import Bodies, draw_labels, draw_light
from drivers.simulated.texture import BLURS, SIDE, textures

TABLE = textures()


def bodies(*at: tuple[float, float], radius: float = 10.0, aspect: float = 1.0) -> Bodies:
    n = len(at)
    place = np.asarray(at, np.float32).reshape(-1, 2)

    def all_of(value: float) -> np.ndarray:
        return np.full(n, value, np.float32)

    return Bodies(
        ids=np.arange(1, n + 1, dtype=np.int32),
        y=place[:, 0],
        x=place[:, 1],
        radius=all_of(radius),
        aspect=all_of(aspect),
        angle=all_of(0.0),
        waves=np.zeros((n, 6), np.float32),
        light=all_of(100.0),
        blur=all_of(0.8),
        grain=all_of(0.0),
        texels=all_of(2.0),
        origin=np.zeros((n, 2), np.float32),
        kind=np.zeros(n, np.int32),
    )


def light_of(shape: tuple[int, int], these: Bodies) -> np.ndarray:
    image = np.zeros(shape, np.float32)
    draw_light(image, these, TABLE)
    return image


@pytest.mark.parametrize("radius", [4.0, 10.0, 30.0])
@pytest.mark.parametrize("aspect", [1.0, 2.5])
def test_area_of_the_label_is_that_of_the_ellipse(radius: float, aspect: float) -> None:
    labels = draw_labels((160, 160), bodies((80.3, 79.6), radius=radius, aspect=aspect))
    assert (labels == 1).sum() == pytest.approx(math.pi * radius**2, rel=0.04)
    rows, columns = np.nonzero(labels)
    assert (rows.mean(), columns.mean()) == pytest.approx((80.3, 79.6), abs=0.2)
    tall = np.ptp(rows) + 1
    assert tall == pytest.approx(2 * radius / math.sqrt(aspect), abs=1.6)


def test_the_outline_is_where_the_edge_has_half_its_light() -> None:
    one = bodies((50, 50), radius=20)
    image, labels = light_of((101, 101), one), draw_labels((101, 101), one)
    # The rim is a quarter thinner than the middle, and half of its light falls there.
    assert image[50, 50] == pytest.approx(100, rel=0.01)
    assert image[50, 50 + 20] == pytest.approx(37.5, rel=0.02)
    assert labels[50, 50 + 19] == 1
    assert labels[50, 50 + 21] == 0


@pytest.mark.parametrize("blur", [2.0, 5.0])
def test_blur_keeps_the_light(blur: float) -> None:
    sharp = bodies((100, 100))
    soft = replace(sharp, blur=np.full(1, blur, np.float32))
    image, blurred = light_of((201, 201), sharp), light_of((201, 201), soft)
    assert blurred.sum() == pytest.approx(image.sum(), rel=0.15)
    assert blurred.max() < image.max()


@settings(max_examples=30, deadline=None)
@given(st.integers(-25, 85), st.integers(-25, 85), st.floats(0, 1, width=32))
def test_a_body_at_the_border_is_the_same_body_cut(row: int, column: int, part: float) -> None:
    """Also for one that lies outside: the image is a window and nothing more."""
    at = (row + part, column + part / 2)
    pad = 40
    small = light_of((64, 48), bodies(at))
    large = light_of((64 + 2 * pad, 48 + 2 * pad), bodies((at[0] + pad, at[1] + pad)))
    assert np.allclose(small, large[pad : pad + 64, pad : pad + 48], atol=0.1)
    labels = draw_labels((64, 48), bodies(at))
    assert set(np.unique(labels)) <= {0, 1}


def test_overlapping_bodies_share_the_labels_and_add_their_light() -> None:
    two = bodies((40, 32), (40, 46))
    labels = draw_labels((80, 80), two)
    assert labels[40, 38] == 1
    assert labels[40, 40] == 2
    assert (labels == 1).sum() == pytest.approx((labels == 2).sum(), rel=0.08)
    apart = light_of((80, 80), two[:1]) + light_of((80, 80), two[1:])
    assert np.allclose(light_of((80, 80), two), apart, atol=1e-3)


def test_turning_turns_the_texture_with_the_outline() -> None:
    one = replace(
        bodies((60, 60), radius=25, aspect=1.8), grain=np.ones(1, np.float32), waves=WAVES
    )
    turned = replace(one, angle=np.full(1, math.pi / 2, np.float32))
    image, other = light_of((121, 121), one), light_of((121, 121), turned)
    # +x turns towards +y; texels are picked, not interpolated, so single ones may differ.
    difference = np.abs(np.rot90(image, -1) - other)
    assert np.median(difference[other > 20]) < 1
    assert difference.mean() < 0.05 * other.mean() + 0.5


WAVES = np.asarray([[0.05, 0.03, 0.04, -0.05, 0.02, 0.01]], np.float32)


def test_no_bodies_and_no_light() -> None:
    assert not light_of((20, 30), bodies()).any()
    assert not draw_labels((20, 30), bodies()).any()
    assert not light_of((20, 30), bodies((500, 500))).any()


def test_textures_are_calm_and_blur_takes_their_grain() -> None:
    assert TABLE.shape == (3, len(BLURS), SIDE, SIDE)
    assert abs(TABLE.mean()) < 1e-3
    deviation = TABLE.std(axis=(2, 3))
    assert (np.diff(deviation, axis=1) < 0).all()
    assert (deviation[:, 0] > 0.1).all()
