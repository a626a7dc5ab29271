"""Velocity of an object: said when it is sure, and not otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from live.actions.motion import Motion
from models import OBJECT_DTYPE


def seen(places: list[tuple[float, float]]) -> tuple[float, float]:
    motion = Motion()
    for number, (x, y) in enumerate(places):
        rows = np.zeros(1, OBJECT_DTYPE)
        rows["track_id"], rows["x_um"], rows["y_um"] = 7, x, y
        motion.take(rows, number * 500_000_000)
    return motion.velocity(7)


def test_steady_motion_is_told_in_um_a_second() -> None:
    assert seen([(n * 2.0, -n * 1.0) for n in range(5)]) == pytest.approx((4.0, -2.0))


@pytest.mark.parametrize(
    "places",
    [
        pytest.param([(0, 0), (40, 0)], id="two sightings"),
        pytest.param([(0, 0), (1, -1), (-1, 1), (1, 0), (0, 0.5)], id="trembling"),
        pytest.param([(0, 0), (0, 0), (0, 0), (0, 0), (140, 0)], id="one wrong link"),
    ],
)
def test_nothing_is_said_where_it_is_not_sure(places: list[tuple[float, float]]) -> None:
    assert seen(places) == (0.0, 0.0)
