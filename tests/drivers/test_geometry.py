"""From pixels to the stage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import FrameMeta, px_to_um, to_stage

place = st.floats(-1e5, 1e5)
size = st.floats(0.01, 10)
sides = st.tuples(st.integers(1, 4096), st.integers(1, 4096))


def meta(x_um: float = 0, y_um: float = 0, pixel_size_um: float = 0.5) -> FrameMeta:
    return FrameMeta(
        seq=0,
        captured_ns=0,
        popped_ns=0,
        exposure_ms=1,
        x_um=x_um,
        y_um=y_um,
        pixel_size_um=pixel_size_um,
    )


def test_uncalibrated_gives_none() -> None:
    assert px_to_um(meta(pixel_size_um=0), (10, 10)) is None


@given(x=place, y=place, px=size, shape=sides)
def test_the_centre_is_the_optical_axis(
    x: float, y: float, px: float, shape: tuple[int, int]
) -> None:
    matrix = px_to_um(meta(x, y, px), shape)
    assert matrix is not None
    centre = np.array([[(shape[0] - 1) / 2, (shape[1] - 1) / 2]])
    assert to_stage(centre, matrix)[0] == pytest.approx([x, y], abs=1e-6)


def test_right_is_plus_x_and_down_is_plus_y() -> None:
    matrix = px_to_um(meta(100, 200, 0.5), (11, 21))
    assert matrix is not None
    # Points are (y, x); the centre is row 5, column 10.
    moved = to_stage(np.array([[5.0, 12.0], [9.0, 10.0]]), matrix)
    assert moved == pytest.approx(np.array([[101.0, 200.0], [100.0, 202.0]]))


@given(turn=st.floats(-math.pi, math.pi), px=size, x=place, y=place)
def test_a_turned_camera_turns_about_the_axis(turn: float, px: float, x: float, y: float) -> None:
    c, s = px * math.cos(turn), px * math.sin(turn)
    matrix = px_to_um(meta(x, y, px), (100, 200), affine=(c, -s, 7.0, s, c, 9.0))
    assert matrix is not None
    points = np.array([[49.5, 99.5], [49.5, 100.5]])
    centre, right = to_stage(points, matrix)
    assert centre == pytest.approx([x, y], abs=1e-6)
    assert right - centre == pytest.approx([c, s], abs=1e-6)


def test_the_identity_of_an_uncalibrated_affine_is_not_believed() -> None:
    plain = px_to_um(meta(), (8, 8))
    assert np.array_equal(plain, px_to_um(meta(), (8, 8), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)))


def test_no_points_are_no_places() -> None:
    matrix = px_to_um(meta(), (8, 8))
    assert matrix is not None
    assert to_stage(np.empty((0, 2)), matrix).shape == (0, 2)
